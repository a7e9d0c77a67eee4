"""CXI, the HDF5 of the Coherent X-ray Imaging Data Bank (1.6): energy in joule, lengths in metres, the sample's translation.

The sample moves, so the beam moves over it by the negative: row and column of a position are -t · b / |b| for the detector's
basis vectors b along its rows' and columns' numbers. Their default, as cdtools has it, is (0, -1, 0) and (-1, 0, 0), with which
row = +y and column = +x of the translation; ptychodus reads it so too.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho_torch.errors import DataContractError
from ptycho_torch.foreign_scans.checked_arrays import as_mask, as_modes, check_numbers, opr_words, wrong_shape
from ptycho_torch.foreign_scans.foreign_scan import ForeignScan, Positions
from ptycho_torch.foreign_scans.hdf5_reading import number, opened, read_dataset_of
from ptycho_torch.foreign_scans.ingest_options import IngestOptions
from ptycho_torch.foreign_scans.pattern_sources import Hdf5Patterns
from ptycho_torch.npz_archive import AnyArray
from ptycho_torch.scan_geometry import PLANCK_TIMES_LIGHT_EV_M, ScanGeometry

ELEMENTARY_CHARGE_C = 1.602176634e-19
"""Joules in an electronvolt, exact since the SI of 2019."""
PIXEL_HAS_SIGNAL = 0x1000
"""The one bit of a CXI mask that does not mean a bad pixel."""
_DETECTOR = "entry_1/instrument_1/detector_1"
_SOURCE = "entry_1/instrument_1/source_1"
_DATA = ("entry_1/data_1/data", f"{_DETECTOR}/data")
_TRANSLATION = ("entry_1/sample_1/geometry_1/translation", "entry_1/data_1/translation", f"{_DETECTOR}/translation")
_DEFAULT_BASIS = np.array([[0.0, -1.0, 0.0], [-1.0, 0.0, 0.0]])
_JOULE_RANGE = (1e-18, 1e-12)
_NUMBER_AXES = ("translation", "frame", "frames", "event", "experiment_identifier")

Vector = npt.NDArray[np.float64]


def read_cxi(source: Path, options: IngestOptions) -> ForeignScan:
    """The scan of a CXI file's first entry.

    Raises
    ------
    DataContractError
        The file is damaged, lacks patterns, or its energy is none in joule.
    """
    detector_file = options.diffraction or source
    with opened(detector_file) as detector, opened(source) as file:
        key = next((key for key in _DATA if hasattr(detector.get(key), "shape")), None)
        if key is None:
            raise DataContractError(
                f"{detector_file}: has no patterns at {' or '.join(_DATA)}.",
                hint="Name the file that has them with --diffraction FILE, or the array with --patterns FILE:KEY.",
            )
        basis, pixel_m, how = _basis(detector, detector_file)
        index = read_dataset_of(file, "entry_1/ptychodus/probe_position_indexes", source)
        probe = _probe(file, source)
        return ForeignScan(
            format="CXI",
            patterns=Hdf5Patterns(detector_file, key, _pattern_axes(detector[key], options, detector_file)),
            patterns_name="data",
            positions=_positions(file, basis, index, source),
            probe=None if probe is None else as_modes(probe, "illumination", source),
            geometry=ScanGeometry(
                photon_energy_eV=None if options.geometry.photon_energy_eV else _energy_eV(file, source),
                detector_distance_m=_distance_m(detector, basis, detector_file) or _distance_m(file, basis, source),
                detector_pixel_size_m=pixel_m,
            ),
            bad_pixels=_mask(detector, detector_file),
            quantity="intensity",
            found=(f"rows and columns of positions by {how}",),
            assumed=(*_dark_words(detector), *(() if probe is None else opr_words(probe.shape))),
            other_files=() if options.diffraction is None else (detector_file,),
        )


def _dark_words(file: Any) -> tuple[str, ...]:
    return ("dark frames (data_dark) are not subtracted",) if f"{_DETECTOR}/data_dark" in file else ()


def _pattern_axes(dataset: Any, options: IngestOptions, source: Path) -> str:
    """From the attribute `axes`, e.g. translation:y:x."""
    if options.pattern_axes != "auto" or "axes" not in dataset.attrs:
        return "nhw" if options.pattern_axes == "auto" else options.pattern_axes
    text = dataset.attrs["axes"]
    names = (text.decode() if isinstance(text, bytes) else str(text)).lower().split(":")
    letters = {"y": "h", "x": "w"} | dict.fromkeys(_NUMBER_AXES, "n")
    axes = "".join(letters.get(name.strip(), "?") for name in names)
    if sorted(axes) != ["h", "n", "w"]:
        raise DataContractError(
            f"{source}: `data` has the axes {':'.join(names)}; allowed is translation:y:x, in any order.",
            hint="Say their order with --pattern-axes.",
        )
    return axes


def _basis(file: Any, source: Path) -> tuple[Vector, float | None, str]:
    """Directions along the detector's rows' and columns' numbers (2, 3), the side of a pixel [m], and where that comes from."""
    stored = read_dataset_of(file, f"{_DETECTOR}/basis_vectors", source)
    if stored is None:
        sides = [number(file, f"{_DETECTOR}/{axis}_pixel_size", source) for axis in "yx"]
        return _DEFAULT_BASIS, _one_side(sides[0], sides[1], source), "the usual basis: rows along -y, columns along -x"
    if stored.shape not in ((3, 2), (2, 3)) or not np.isfinite(stored).all():
        raise wrong_shape(source, "basis_vectors", stored, "(3, 2) or (2, 3), finite")
    vectors = (stored.T if stored.shape == (3, 2) else stored).astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=1)
    directions = vectors / np.where(lengths > 0, lengths, 1)[:, np.newaxis]
    if np.abs(directions[0] @ directions[1]) > 1e-3 or not (lengths > 0).all():
        raise DataContractError(
            f"{source}: the detector's basis vectors {vectors.tolist()} are not at right angles.", hint="Remove basis_vectors."
        )
    row, column = (", ".join(f"{part:+.3g}" for part in direction) for direction in directions)
    return directions, _one_side(lengths[0], lengths[1], source), f"basis_vectors: rows along ({row}), columns along ({column})"


def _one_side(height_m: float | None, width_m: float | None, source: Path) -> float | None:
    if height_m is not None and width_m is not None and abs(height_m - width_m) > 1e-3 * width_m:
        raise DataContractError(
            f"{source}: a detector pixel is {height_m:g} m high and {width_m:g} m wide; allowed are square pixels.",
            hint="Resample the patterns first.",
        )
    side = height_m or width_m
    return None if side is None else float(side)


def _positions(file: Any, basis: Vector, index: AnyArray | None, source: Path) -> Positions | None:
    translation = next((found for key in _TRANSLATION if (found := read_dataset_of(file, key, source)) is not None), None)
    if translation is None:
        return None
    if translation.ndim != 2 or translation.shape[1] not in (2, 3):
        raise wrong_shape(source, "translation", translation, "(n, 3)")
    check_numbers("translation", translation, "fiu", source)
    xy = translation[:, :2].astype(np.float64)
    return Positions(-xy @ basis[:, :2].T, "m", None if index is None else index.astype(np.int64))


def _energy_eV(file: Any, source: Path) -> float | None:
    joule, wavelength_m = (number(file, f"{_SOURCE}/{key}", source) for key in ("energy", "wavelength"))
    if joule is None:
        return None if wavelength_m is None else PLANCK_TIMES_LIGHT_EV_M / wavelength_m
    if not _JOULE_RANGE[0] <= joule <= _JOULE_RANGE[1]:
        raise DataContractError(
            f"{source}: {_SOURCE}/energy is {joule:g}; CXI keeps it in joule, where photons have {_JOULE_RANGE[0]:g} to "
            f"{_JOULE_RANGE[1]:g}.",
            hint="If it is in electronvolts or keV, say it with --photon-energy-ev.",
        )
    return joule / ELEMENTARY_CHARGE_C


def _distance_m(file: Any, basis: Vector, source: Path) -> float | None:
    """The stored distance, or that of the detector's plane by its corner."""
    distance_m = number(file, f"{_DETECTOR}/distance", source)
    corner = read_dataset_of(file, f"{_DETECTOR}/corner_position", source)
    if distance_m is not None or corner is None or corner.size != 3:
        return distance_m
    return abs(float(np.cross(basis[0], basis[1]) @ corner.reshape(3))) or None


def _mask(file: Any, source: Path) -> npt.NDArray[np.bool_] | None:
    mask = read_dataset_of(file, f"{_DETECTOR}/mask", source)
    if mask is None:
        return None
    if mask.dtype.kind not in "iub":
        raise DataContractError(f"{source}: `mask` has dtype {mask.dtype}; allowed are whole numbers.", hint="Convert it first.")
    bits = mask.astype(np.uint32)
    return as_mask((bits != 0) & (bits != PIXEL_HAS_SIGNAL))


def _probe(file: Any, source: Path) -> AnyArray | None:
    """The illumination; `image_1` is one only where ptychodus wrote it."""
    keys = [f"{_SOURCE}/illumination"] + (["entry_1/image_1/data"] if "entry_1/ptychodus" in file else [])
    return next((found for key in keys if (found := read_dataset_of(file, key, source)) is not None), None)
