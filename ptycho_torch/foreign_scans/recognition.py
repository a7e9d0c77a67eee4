"""Which format a file is of, by what it holds, and the scan that is in it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ptycho_torch.errors import DataContractError
from ptycho_torch.foreign_scans.cxi import read_cxi
from ptycho_torch.foreign_scans.foreign_scan import ForeignScan
from ptycho_torch.foreign_scans.hdf5_reading import top_keys
from ptycho_torch.foreign_scans.ingest_options import IngestOptions
from ptycho_torch.foreign_scans.named_arrays import HDF5_SIGNATURE, ZIP_SIGNATURE, first_bytes
from ptycho_torch.foreign_scans.named_scan import read_arrays_alone, with_named_arrays
from ptycho_torch.foreign_scans.npz_reading import NpzFile
from ptycho_torch.foreign_scans.ptychodus_hdf5 import read_product_file, read_training_file
from ptycho_torch.foreign_scans.ptychopinn_npz import read_ptychopinn_npz
from ptycho_torch.foreign_scans.ptypy_ptyd import read_ptyd
from ptycho_torch.foreign_scans.tike_npz import read_tike_npz

Reader = Callable[[Path, IngestOptions], ForeignScan]

READERS: dict[str, Reader] = {
    "tike-npz": read_tike_npz,
    "ptychopinn-npz": read_ptychopinn_npz,
    "ptychodus-training": read_training_file,
    "ptychodus-product": read_product_file,
    "cxi": read_cxi,
    "ptypy-ptyd": read_ptyd,
    "arrays": read_arrays_alone,
}
_HDF5_KEYS = {
    "ptychodus-training": {"patterns", "probe_position_x_px", "probe_position_y_px"},
    "ptychodus-product": {"probe_position_x_m", "probe_position_y_m"},
    "cxi": {"entry_1"},
    "ptypy-ptyd": {"chunks", "meta"},
}
"""Names at the root of an HDF5 file that only its format has together."""


def read_foreign_scan(source: Path, options: IngestOptions) -> ForeignScan:
    """The scan in a file, with those arrays in place of its own that the options name.

    Raises
    ------
    DataContractError
        The file is missing or damaged, of no format that is known or of several, or lacks what its format needs.
    """
    name = _format_of(source) if options.format == "auto" else options.format
    scan = with_named_arrays(READERS[name](source, options), options)
    how = "by its content" if options.format == "auto" else "as the option says"
    return replace(scan, found=(f"{scan.format}, {how}", *scan.found))


def _format_of(source: Path) -> str:
    if source.suffix == ".bz2":
        return _format_of_npz(source)
    begin = first_bytes(source)
    if begin == HDF5_SIGNATURE:
        return _format_of_hdf5(source)
    if begin.startswith(ZIP_SIGNATURE):
        return _format_of_npz(source)
    if not begin or begin.startswith(b"\x89HD") or source.suffix == ".npz":
        raise DataContractError(
            f"{source}: not a whole NPZ (zip) archive or HDF5 file, by its first bytes.",
            hint="It may be truncated: copy it again.",
        )
    raise DataContractError(
        f"{source}: neither HDF5 nor NPZ, by its first bytes; allowed are these, or arrays that are named one by one.",
        hint="Name them with --patterns, --positions and --probe.",
    )


def _format_of_hdf5(source: Path) -> str:
    keys = top_keys(source)
    formats = [name for name, needed in _HDF5_KEYS.items() if needed <= keys]
    if len(formats) > 1:
        raise DataContractError(
            f"{source}: it holds what {' and '.join(formats)} hold, so its format cannot be told.",
            hint=f"Say it with --format {formats[0]} or --format {formats[1]}.",
        )
    if formats:
        return formats[0]
    if {"patterns", "indexes"} <= keys:
        raise DataContractError(
            f"{source}: ptychodus' diffraction HDF5, which holds no positions.",
            hint=f"Give the product as the scan, and this file with --diffraction {source}.",
        )
    raise DataContractError(
        f"{source}: HDF5 of no format that is known; it holds {', '.join(sorted(keys)) or 'nothing'}.",
        hint="Name its arrays with --patterns FILE:KEY, --positions FILE:KEY and --probe FILE:KEY.",
    )


def _format_of_npz(source: Path) -> str:
    keys = set(NpzFile(source).forms)
    if {"diffraction", "xcoords", "ycoords", "probeGuess"} <= keys:
        raise DataContractError(
            f"{source}: holds `diffraction`, `xcoords`, `ycoords` and `probeGuess`: it is DATA-001 already.",
            hint="Train on it as it is, or name its arrays with --patterns, --positions and --probe.",
        )
    return "ptychopinn-npz" if "diff3d" in keys else "tike-npz"
