"""A scan from arrays that the command line names, all of them or some in place of a file's own."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from ptycho_torch.errors import DataContractError
from ptycho_torch.foreign_scans.checked_arrays import as_mask, as_modes, check_numbers, wrong_shape
from ptycho_torch.foreign_scans.foreign_scan import ForeignScan, Positions
from ptycho_torch.foreign_scans.ingest_options import IngestOptions
from ptycho_torch.foreign_scans.named_arrays import named_patterns, read_named, split_place
from ptycho_torch.npz_archive import AnyArray

METRES_PER_MICROMETRE = 1e-6


def read_arrays_alone(source: Path, options: IngestOptions) -> ForeignScan:
    """Patterns that are named `FILE` or `FILE:KEY`, and nothing beside.

    Raises
    ------
    DataContractError
        They are missing or damaged.
    """
    axes = "nhw" if options.pattern_axes == "auto" else options.pattern_axes
    return ForeignScan(format="arrays", patterns=named_patterns(str(source), axes), positions=None)


def with_named_arrays(scan: ForeignScan, options: IngestOptions) -> ForeignScan:
    """The scan with the positions, probe and bad pixels that the options name.

    Raises
    ------
    DataContractError
        One of them is missing, damaged or of a wrong shape, or its unit or order is not told.
    """
    found, files = list(scan.found), list(scan.other_files)
    for name in ("positions", "probe", "bad_pixels"):
        place = getattr(options, name)
        if place is not None and not (name == "probe" and options.makes_probe):
            path, key = split_place(place)
            found.append(f"{name.replace('_', ' ')} of {path.name}{f':{key}' if key else ''}, as the option says")
            files.append(path)
    if options.positions is not None:
        scan = replace(scan, positions=_positions(options.positions, scan.patterns.shape[0], options))
    elif options.position_unit != "auto" or options.position_order != "auto":
        scan = replace(scan, positions=_as_told(scan.positions, options))
    if options.flip_positions not in ("auto", "none") and scan.positions is not None:
        signs = np.array([-1.0 if axis in options.flip_positions else 1.0 for axis in "yx"])
        scan = replace(scan, positions=replace(scan.positions, yx=scan.positions.yx * signs), object_hw=None)
        found.append(f"the sign of the positions' {' and '.join(options.flip_positions)} is turned, as the option says")
    if options.position_scale != 1 and scan.positions is not None:
        scan = replace(scan, positions=replace(scan.positions, yx=scan.positions.yx * options.position_scale), object_hw=None)
        found.append(f"positions are multiplied by {options.position_scale:g}, as the option says")
    if options.makes_probe:
        scan = replace(scan, probe=None)
    elif options.probe is not None:
        path, key = split_place(options.probe)
        scan = replace(scan, probe=as_modes(read_named(options.probe), key or "probe", path))
    if options.bad_pixels is not None:
        bad = as_mask(read_named(options.bad_pixels))
        both = scan.bad_pixels if bad is None else bad if scan.bad_pixels is None else bad | scan.bad_pixels
        scan = replace(scan, bad_pixels=both)
    return replace(scan, found=tuple(found), other_files=tuple(files))


def _positions(place: str, n_patterns: int, options: IngestOptions) -> Positions:
    path, key = split_place(place)
    array = read_named(place)
    check_numbers(key or "positions", array, "fiu", path)
    if array.ndim == 2 and array.shape[0] == 2 != array.shape[1]:
        array = array.T
    if array.ndim != 2 or array.shape[1] not in (2, 3):
        raise wrong_shape(path, key or "positions", array, f"({n_patterns}, 2), or 3 columns of which the first is an index")
    index = _index(array, key or "positions", path) if array.shape[1] == 3 else None
    if options.position_order == "auto" and not options.find_orientation:
        raise DataContractError(
            f"{path}: nothing says which of a position's two numbers counts rows and which columns.",
            hint="Say it with --position-order yx or xy, or have it found with --find-orientation.",
        )
    if options.position_unit == "auto":
        raise DataContractError(
            f"{path}: nothing says in which unit positions are; they reach from {array.min():g} to {array.max():g}.",
            hint="Say it with --position-unit px, m or um.",
        )
    columns = array[:, -2:].astype(np.float64)
    yx = columns[:, ::-1] if options.position_order == "xy" else columns
    is_um = options.position_unit == "um"
    return Positions(yx * METRES_PER_MICROMETRE if is_um else yx, "px" if options.position_unit == "px" else "m", index)


def _index(array: AnyArray, key: str, path: Path) -> AnyArray:
    column = array[:, 0]
    if (column != np.rint(column)).any() or (column < 0).any():
        raise DataContractError(
            f"{path}: `{key}` has 3 columns, of which the first is no index: it holds {column[0]:g}; allowed are whole numbers.",
            hint="Leave out what is neither an index nor a position in the plane.",
        )
    return column.astype(np.int64)


def _as_told(positions: Positions | None, options: IngestOptions) -> Positions | None:
    """A file's own positions, read in another unit or order than its format has."""
    if positions is None:
        return None
    yx = positions.yx[:, ::-1] if options.position_order == "xy" else positions.yx
    if options.position_unit == "auto":
        return replace(positions, yx=yx)
    yx = yx * METRES_PER_MICROMETRE if options.position_unit == "um" else yx
    return replace(positions, yx=yx, unit="px" if options.position_unit == "px" else "m")
