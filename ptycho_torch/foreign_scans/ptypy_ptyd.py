"""ptypy's .ptyd: `chunks/0/data` (m, N, N), `chunks/0/positions` (m, 2) in metres, rows first, and `meta` with energy in keV."""

from pathlib import Path
from typing import Any

import numpy as np

from ptycho_torch.errors import DataContractError
from ptycho_torch.foreign_scans.checked_arrays import as_mask, check_numbers, wrong_shape
from ptycho_torch.foreign_scans.foreign_scan import ForeignScan, Mask, Positions
from ptycho_torch.foreign_scans.hdf5_reading import known, names_of, need, opened, read_dataset_of
from ptycho_torch.foreign_scans.ingest_options import IngestOptions
from ptycho_torch.foreign_scans.pattern_sources import Hdf5Patterns, JoinedPatterns
from ptycho_torch.scan_geometry import ScanGeometry

_KEV_RANGE = (0.01, 1000.0)


def read_ptyd(source: Path, options: IngestOptions) -> ForeignScan:
    """The scan of a .ptyd file, all its chunks.

    Raises
    ------
    DataContractError
        The file is damaged, holds no chunk, or its energy is none in keV.
    """
    with opened(source) as file:
        names = sorted(names_of(file["chunks"]), key=lambda name: (len(name), name))  # 2 before 10
        chunks = [f"chunks/{name}" for name in names if f"chunks/{name}/data" in file]
        if not chunks:
            raise DataContractError(f"{source}: `chunks` holds no `data`.", hint="Save the scan with its data (save='append').")
        axes = "nhw" if options.pattern_axes == "auto" else options.pattern_axes
        yx = np.concatenate([need(file, f"{chunk}/positions", source) for chunk in chunks])
        check_numbers("positions", yx, "fiu", source)
        if yx.ndim != 2 or yx.shape[1] != 2:
            raise wrong_shape(source, "positions", yx, "(n, 2)")
        parts = [Hdf5Patterns(source, f"{chunk}/data", axes) for chunk in chunks]
        return ForeignScan(
            format="ptypy's .ptyd",
            patterns=JoinedPatterns(parts),
            patterns_name="data",
            positions=Positions(yx.astype(np.float64), "m"),
            geometry=_geometry(file, options, source),
            bad_pixels=_bad_pixels(file, chunks, source),
            quantity="intensity",
        )


def _geometry(file: Any, options: IngestOptions, source: Path) -> ScanGeometry:
    energy_kev = _meta(file, "energy", source)
    is_told = options.geometry.photon_energy_eV is not None
    if energy_kev is not None and not is_told and not _KEV_RANGE[0] <= energy_kev <= _KEV_RANGE[1]:
        raise DataContractError(
            f"{source}: meta/energy is {energy_kev:g}; ptypy keeps it in keV, allowed is {_KEV_RANGE[0]:g} to {_KEV_RANGE[1]:g}.",
            hint="Say the energy with --photon-energy-ev.",
        )
    return ScanGeometry(
        photon_energy_eV=None if energy_kev is None or is_told else energy_kev * 1e3,
        detector_distance_m=_meta(file, "distance", source),
        detector_pixel_size_m=_meta(file, "psize", source),
    )


def _meta(file: Any, key: str, source: Path) -> float | None:
    """A number of `meta`, or the one that both axes share."""
    array = read_dataset_of(file, f"meta/{key}", source)
    if array is None or array.size not in (1, 2) or array.dtype.kind not in "fiu" or np.ptp(array) != 0:
        return None
    return known(array.reshape(-1)[0])


def _bad_pixels(file: Any, chunks: list[str], source: Path) -> Mask | None:
    """Where any pattern's weight is zero."""
    bad: Mask | None = None
    keys = ["meta/weight2d", *(f"{chunk}/weights" for chunk in chunks)]
    for weights in (array for key in keys if (array := read_dataset_of(file, key, source)) is not None):
        if weights.ndim in (2, 3) and weights.size > 1:
            zero = weights == 0
            zero = zero.any(axis=0) if zero.ndim == 3 else zero
            bad = zero if bad is None else bad | zero
    return as_mask(bad)
