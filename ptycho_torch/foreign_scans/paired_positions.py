"""Which position belongs to which pattern, and positions in pixels of the object as it will be."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ptycho_torch.dense_neighbourhood import median_step_px, probe_diameter_px
from ptycho_torch.errors import DataContractError
from ptycho_torch.foreign_scans.foreign_scan import ForeignScan, Positions

SMALLEST_STEP_PX = 1e-3
"""No scan steps by less: smaller numbers are lengths."""
SMALLEST_STEP_SHARE = 0.05
"""Of the beam's width. Smaller steps are what micrometres make that are called pixels, each of which is some ten nanometres."""

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


def check_steps(yx_px: Coordinates, patch_size_px: int, source: Path) -> None:
    """Refuse positions that cannot be in pixels.

    Raises
    ------
    DataContractError
        Steps are far below a pixel or wider than a patch.
    """
    if len(yx_px) < 3:
        return
    step_px = median_step_px(yx_px)
    if step_px is None:
        raise DataContractError(
            f"{source}: all {len(yx_px)} positions are the same, ({yx_px[0, 0]:g}, {yx_px[0, 1]:g}) px.",
            hint="Check the positions, and their unit with --position-unit.",
        )
    if not SMALLEST_STEP_PX <= step_px <= patch_size_px:
        what = "so small that they must be lengths" if step_px < SMALLEST_STEP_PX else "so wide that no patches overlap"
        raise DataContractError(
            f"{source}: positions lie {step_px:.3g} px apart, {what}; allowed is {SMALLEST_STEP_PX:g} to {patch_size_px} px.",
            hint="Say their unit with --position-unit m, um or px, and check energy, distance and detector pixel.",
        )


def check_density(
    yx_px: Coordinates, probe: npt.NDArray[np.complex64] | npt.NDArray[np.complex128], source: Path, *, is_judged: bool
) -> str | None:
    """Refuse steps that are tiny beside the beam, which is how micrometres look that are called pixels.

    Parameters
    ----------
    probe
        (N, N), on the pixels that positions count.
    is_judged
        Photons will say whether positions so dense explain the patterns: then this is a word.

    Raises
    ------
    DataContractError
        They are, and nobody judges.
    """
    step_px = median_step_px(yx_px)
    if len(yx_px) < 3 or step_px is None:
        return None
    width_px = probe_diameter_px(probe)
    if step_px >= SMALLEST_STEP_SHARE * width_px:
        return None
    seen = f"positions lie {step_px:.3g} px apart, {step_px / width_px:.2%} of the beam's width of {width_px:.3g} px"
    if is_judged:
        return f"{seen}: taken as they are, for photons judge them"
    raise DataContractError(
        f"{source}: {seen}: so dense are micrometres that are called pixels; allowed is {SMALLEST_STEP_SHARE:.0%} at least.",
        hint="Say their unit with --position-unit um or m, and check energy, distance and detector pixel. If all that is right, "
        "let photons judge with --find-orientation.",
    )
