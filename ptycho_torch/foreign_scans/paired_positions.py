"""Which position belongs to which pattern, and positions in pixels of the object as it will be."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from ptycho_torch.errors import DataContractError
from ptycho_torch.foreign_scans.foreign_scan import ForeignScan, Positions

SMALLEST_STEP_PX = 1e-3
"""No scan steps by less: smaller numbers are lengths."""
_DENSE = 0.02
"""A step of less than this share of a patch is worth a word."""

Coordinates = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Pairing:
    """The patterns that have a position, and where each was taken."""

    rows: npt.NDArray[np.int64]
    """(n,) ascending, into the patterns as they are in the file."""
    yx: Coordinates
    """(n, 2)."""
    scan_index: npt.NDArray[np.int64]
    """(n,)."""
    found: tuple[str, ...]


def pair_positions(scan: ForeignScan, source: Path) -> Pairing:
    """Pair patterns and positions by their numbers, where the file has them, else row by row.

    Raises
    ------
    DataContractError
        There are no positions, or not as many as patterns, or no number is common to both.
    """
    if scan.positions is None:
        raise DataContractError(f"{source}: {scan.format} without positions.", hint="Name them with --positions FILE[:KEY].")
    n_patterns = scan.patterns.shape[0]
    index = np.arange(n_patterns) if scan.pattern_index is None else scan.pattern_index
    if len(index) != n_patterns:
        raise DataContractError(
            f"{source}: {len(index)} pattern numbers for {n_patterns} patterns; lengths must be equal.", hint="Export it anew."
        )
    if scan.positions.index is None:
        return _row_by_row(scan.positions, index.astype(np.int64), source)
    return _by_index(scan.positions, scan.positions.index, index.astype(np.int64), source)


def _row_by_row(positions: Positions, index: npt.NDArray[np.int64], source: Path) -> Pairing:
    if len(positions.yx) != len(index):
        raise DataContractError(
            f"{source}: {len(positions.yx)} positions for {len(index)} patterns; allowed is a position a pattern.",
            hint="Positions with several readings a trigger need an index as the first of 3 columns, see --positions.",
        )
    return Pairing(np.arange(len(index), dtype=np.int64), positions.yx, index, ())


def _by_index(
    positions: Positions, position_index: npt.NDArray[np.int64], pattern_index: npt.NDArray[np.int64], source: Path
) -> Pairing:
    if len(position_index) != len(positions.yx):
        raise DataContractError(
            f"{source}: {len(position_index)} position numbers for {len(positions.yx)} positions; lengths must be equal.",
            hint="Export it anew.",
        )
    numbers, inverse, repeats = np.unique(position_index, return_inverse=True, return_counts=True)
    means = np.stack([np.bincount(inverse, positions.yx[:, axis]) / repeats for axis in (0, 1)], axis=1)
    rows = np.flatnonzero(np.isin(pattern_index, numbers))
    if not rows.size:
        raise DataContractError(
            f"{source}: patterns are numbered {pattern_index.min()} to {pattern_index.max()} and positions {numbers.min()} to "
            f"{numbers.max()}, and none has both.",
            hint="Are they of one scan?",
        )
    found = [f"patterns and positions paired by their numbers: {rows.size} have both"]
    if (repeats > 1).any():
        found.append(f"{int((repeats > 1).sum())} numbers have several positions (repeated triggers): their mean is taken")
    lost = len(pattern_index) - rows.size, int((~np.isin(numbers, pattern_index)).sum())
    if any(lost):
        found.append(f"left out: {lost[0]} patterns without a position, {lost[1]} positions without a pattern")
    return Pairing(rows, means[np.searchsorted(numbers, pattern_index[rows])], pattern_index[rows], tuple(found))


def metres_to_pixels(yx_m: Coordinates, pixel_size_m: float | None, source: Path) -> Coordinates:
    """Positions [m] in pixels of the object.

    Raises
    ------
    DataContractError
        The pixel's size is not known.
    """
    if pixel_size_m is None:
        raise DataContractError(
            f"{source}: positions are in metres, and the size of an object's pixel is not known: it takes the photons' energy, "
            "the detector's distance and its pixel.",
            hint="Say what is missing with --photon-energy-ev, --detector-distance-m, --detector-pixel-size-m, or "
            "--object-pixel-size-m alone.",
        )
    return yx_m / pixel_size_m


def check_steps(yx_px: Coordinates, patch_size_px: int, source: Path) -> str | None:
    """Refuse positions that cannot be in pixels; a word where they are very dense.

    Raises
    ------
    DataContractError
        Steps are far below a pixel or wider than a patch.
    """
    places = np.unique(yx_px, axis=0)
    if len(yx_px) < 3:
        return None
    if len(places) == 1:
        raise DataContractError(
            f"{source}: all {len(yx_px)} positions are the same, ({places[0, 0]:g}, {places[0, 1]:g}) px.",
            hint="Check the positions, and their unit with --position-unit.",
        )
    step_px = float(np.median(cKDTree(places).query(places, k=2)[0][:, 1]))
    if not SMALLEST_STEP_PX <= step_px <= patch_size_px:
        what = "so small that they must be lengths" if step_px < SMALLEST_STEP_PX else "so wide that no patches overlap"
        raise DataContractError(
            f"{source}: positions lie {step_px:.3g} px apart, {what}; allowed is {SMALLEST_STEP_PX:g} to {patch_size_px} px.",
            hint="Say their unit with --position-unit m, um or px, and check energy, distance and detector pixel.",
        )
    if step_px < _DENSE * patch_size_px:
        return (
            f"positions lie {step_px:.3g} px apart, {step_px / patch_size_px:.2%} of a patch: are they pixels, not micrometres?"
        )
    return None
