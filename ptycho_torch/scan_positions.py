"""Where the beam goes, and how a scan falls into a training half and a test half.

A position is (y, x) in pixels of the object grid, and its patch covers floor(y + 1/2) - N/2 .. + N/2. Two positions on either
side of a line, each at least N/2 from it, share no object pixel, wherever the line lies: that is the default guard band. A
split on time knows no line: two positions that are N apart along either axis share no pixel.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from ptycho_torch.config import DatasetRecipe, ScanConfig
from ptycho_torch.errors import ConfigError

__all__ = ["AXIS_INDEX", "count_shared_pixels", "scan_positions", "split_line", "split_rows", "split_rows_on_time"]

AXIS_INDEX = {"y": 0, "x": 1}
"""Column of a (n, 2) array of positions, and axis of an object, by the name of the split axis."""

_Floats: TypeAlias = npt.NDArray[np.float64]
_Interval: TypeAlias = tuple[float, float]


@dataclass(frozen=True)
class _Part:
    """How many positions are laid at once, in one of how many parts of the object."""

    count: int
    of: int

    @property
    def name(self) -> str:
        return "each half" if self.of == 2 else "the object"


def scan_positions(recipe: DatasetRecipe, object_shape: tuple[int, int], rng: np.random.Generator) -> _Floats:
    """Lay the scan of a simulated dataset: half of its positions on each side of the object's middle, none in the guard band.

    One that is split on time goes once over the whole object, row by row where it is a raster.

    Parameters
    ----------
    recipe
        Its scan, split, guard band and patch size decide.
    object_shape
        (H, W) [px]; every patch lies on the object.
    rng
        Draws the jitter, or the positions.

    Returns
    -------
    (n, 2) float64 (y, x) [px], n = 2 · (`positions` // 2); the half with the smaller coordinates first, or in the order of time.

    Raises
    ------
    ConfigError
        The object, patch size and guard band leave no room, or not for so many positions at the step that was asked for.
    """
    half_patch, count = recipe.patch_size_px / 2, recipe.scan.positions // 2
    if recipe.split.axis == "time":
        height, width = ((half_patch, side - half_patch) for side in object_shape)
        return _fill(recipe.scan, height, width, _Part(2 * count, 1), rng)
    axis = AXIS_INDEX[recipe.split.axis]
    along, across = object_shape[axis], object_shape[1 - axis]
    halves = [
        (half_patch, along / 2 - recipe.guard_band_px),
        (along / 2 + recipe.guard_band_px, along - half_patch),
    ]
    positions = np.concatenate(
        [_fill(recipe.scan, half, (half_patch, across - half_patch), _Part(count, 2), rng) for half in halves]
    )
    return positions if axis == 0 else positions[:, ::-1].copy()


def split_line(coordinates: _Floats) -> float:
    """The middle of a measured scan's extent along the split axis [px]."""
    return float((coordinates.min() + coordinates.max()) / 2)


def split_rows(
    coordinates: _Floats, split_line_px: float, guard_band_px: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows of the training half (below the line) and of the test half; |coordinate - line| < guard is dropped.

    Parameters
    ----------
    coordinates
        (n,) along the split axis [px].
    split_line_px, guard_band_px
        The line and the guard band's half-width [px]. With no guard band a position on the line is a test position.

    Returns
    -------
    Two arrays of row indices, ascending.
    """
    kept = np.abs(coordinates - split_line_px) >= guard_band_px
    below = coordinates < split_line_px
    return np.flatnonzero(kept & below), np.flatnonzero(kept & ~below)


def split_rows_on_time(
    positions_yx: _Floats, order: npt.NDArray[np.int64], guard_band_px: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows of what was measured first and of what was measured after; test positions too near to a training position are dropped.

    Parameters
    ----------
    positions_yx
        (n, 2) [px].
    order
        (n,) the place of each pattern in the scan. Patterns of one place, as the exposures of one trigger, stay together.
    guard_band_px
        Test positions with max(|Δy|, |Δx|) below this from any training position are dropped [px].

    Returns
    -------
    Two arrays of row indices, ascending: every place of the first comes before every place of the second.
    """
    is_early = order < np.sort(order)[len(order) // 2]
    train, test = np.flatnonzero(is_early), np.flatnonzero(~is_early)
    if guard_band_px and len(train):
        distances, _ = KDTree(positions_yx[train]).query(positions_yx[test], p=np.inf)
        test = test[distances >= guard_band_px]
    return train, test


def count_shared_pixels(first_yx: _Floats, second_yx: _Floats, patch_size_px: int) -> int:
    """How many object pixels lie under a patch of each of two sets of positions, (n, 2) and (m, 2)."""
    origin = np.floor(np.minimum(first_yx.min(axis=0), second_yx.min(axis=0)) + 0.5)
    extent = np.floor(np.maximum(first_yx.max(axis=0), second_yx.max(axis=0)) + 0.5) - origin
    shape = tuple((extent + patch_size_px).astype(int))
    covered = [_covered(positions - origin, shape, patch_size_px) for positions in (first_yx, second_yx)]
    return int((covered[0] & covered[1]).sum())


def _covered(positions_yx: _Floats, shape: tuple[int, ...], patch_size_px: int) -> npt.NDArray[np.bool_]:
    """Pixels under the patches whose first row and column are the positions' whole pixels."""
    covered = np.zeros(shape, dtype=np.bool_)
    for row, column in np.unique(np.floor(positions_yx + 0.5).astype(int), axis=0):
        covered[row : row + patch_size_px, column : column + patch_size_px] = True
    return covered


def _fill(scan: ScanConfig, along: _Interval, across: _Interval, part: _Part, rng: np.random.Generator) -> _Floats:
    """The part's positions in the rectangle of two intervals: (n, 2), the split axis first."""
    count, (low, high) = part.count, np.array([along, across]).T
    if scan.pattern == "uniform_random":
        _require_room(low, high, 0.0, part)
        return rng.uniform(low, high, size=(count, 2))
    _require_room(low, high, scan.jitter_px, part)
    inner = (low + scan.jitter_px, high - scan.jitter_px)
    raster = _even_raster(*inner, count) if scan.step_px is None else _stepped_raster(*inner, part, scan.step_px)
    jittered = raster + rng.uniform(-scan.jitter_px, scan.jitter_px, size=(count, 2))
    return np.clip(jittered, low, high)


def _require_room(low: _Floats, high: _Floats, jitter_px: float, part: _Part) -> None:
    if (high - low < 2 * jitter_px).any():
        axis = "the split axis" if part.of == 2 else "y"
        raise ConfigError(
            f"{part.name.capitalize()} leaves {high[0] - low[0]:g} px along {axis} and {high[1] - low[1]:g} px across it for "
            f"scan positions; at least {2 * jitter_px:g} px are needed.",
            hint="Enlarge the object, or take a smaller patch_size_px, guard_band_px or jitter_px.",
        )


def _even_raster(low: _Floats, high: _Floats, count: int) -> _Floats:
    """Exactly `count` points at the middles of nearly square cells; rows differ by at most one point."""
    height, width = high - low
    rows = int(np.clip(np.rint(np.sqrt(count * height / width)), 1, count)) if width > 0 else count
    row = np.arange(count) * rows // count
    per_row = np.bincount(row, minlength=rows)
    column = np.arange(count) - (np.cumsum(per_row) - per_row)[row]
    fractions = np.column_stack([(row + 0.5) / rows, (column + 0.5) / per_row[row]])
    return low + fractions * (high - low)


def _stepped_raster(low: _Floats, high: _Floats, part: _Part, step_px: float) -> _Floats:
    """The part's points a step apart, row by row, as nearly square as fits, in the middle of the rectangle."""
    count = part.count
    fit_rows, fit_columns = (np.floor((high - low) / step_px + 1e-9) + 1).astype(int)
    if fit_rows * fit_columns < count:
        raise ConfigError(
            f"At step_px {step_px:g} only {fit_rows * fit_columns} positions fit into {part.name} ({fit_rows} rows of "
            f"{fit_columns}); {count} were asked for.",
            hint=f"Ask for at most {part.of * fit_rows * fit_columns} positions, or a smaller step_px, or leave it out.",
        )
    columns = min(fit_columns, max(int(np.ceil(np.sqrt(count))), -(-count // fit_rows)))
    raster = np.column_stack(np.divmod(np.arange(count), columns)) * step_px
    margin = (high - low - raster.max(axis=0)) / 2
    positions: _Floats = low + margin + raster
    return positions
