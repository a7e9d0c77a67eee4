"""tike's NPZ: `data` (1, n, N, N), `probe` (1, 1, 1, 1, N, N) and `scan` (1, n, 2) [px], rows first."""

from pathlib import Path

from ptycho_torch.errors import DataContractError
from ptycho_torch.foreign_scans.checked_arrays import as_modes, check_kind, check_numbers, wrong_shape
from ptycho_torch.foreign_scans.foreign_scan import ForeignScan, Modes, Positions
from ptycho_torch.foreign_scans.ingest_options import IngestOptions
from ptycho_torch.foreign_scans.npz_reading import NpzFile, squeezed
from ptycho_torch.foreign_scans.pattern_sources import PatternSource
from ptycho_torch.npz_archive import AnyArray

KEYS = ("data", "scan")
"""Without which there is no scan; a probe may be elsewhere."""


def read_tike_npz(source: Path, options: IngestOptions) -> ForeignScan:
    """The scan in an NPZ file, or one inside bzip2, in the layout of `tike`.

    Raises
    ------
    DataContractError
        The file is damaged, lacks a key, or its arrays do not fit one another.
    """
    file = NpzFile(source)
    missing = [f"`{key}`" for key in KEYS if key not in file.forms]
    if missing:
        raise DataContractError(
            f"{source}: missing key {', '.join(missing)}; needed are `data` and `scan`, and mostly `probe`; it holds "
            f"{', '.join(sorted(file.forms)) or 'none'}.",
            hint="Name the arrays of a layout of your own with --patterns, --positions and --probe.",
        )
    axes = "nhw" if options.pattern_axes == "auto" else options.pattern_axes
    patterns = file.patterns("data", axes)
    arrays = file.read("scan", *(("probe",) if "probe" in file.forms else ()))
    scan = squeezed(arrays["scan"], 2)
    _check(patterns, scan, source)
    return ForeignScan(
        format="tike's NPZ",
        patterns=patterns,
        patterns_name="data",
        positions=Positions(scan.astype(float), "px"),
        probe=_modes(arrays["probe"], source) if "probe" in arrays else None,
        assumed=("positions are pixels, rows first",),
    )


def _modes(array: AnyArray, source: Path) -> Modes:
    probe = squeezed(array, 2)
    return as_modes(probe.reshape(-1, *probe.shape[-2:]), "probe", source)


def _check(patterns: PatternSource, scan: AnyArray, source: Path) -> None:
    if len(patterns.shape) != 3:
        raise DataContractError(
            f"{source}: `data` has shape {patterns.shape}; allowed is an array of 3 axes besides leading ones of length 1: one "
            "scan.",
            hint="Crop or complete it in the source file.",
        )
    check_kind("data", patterns.dtype, "fiu", source)
    check_numbers("scan", scan, "fiu", source)
    n_positions = scan.shape[0] if scan.ndim == 2 else None
    if scan.ndim != 2 or scan.shape[1] != 2 or (n_positions != patterns.shape[0] and n_positions != patterns.shape[2]):
        raise wrong_shape(source, "scan", scan, f"{(patterns.shape[0], 2)}, a row a pattern")
