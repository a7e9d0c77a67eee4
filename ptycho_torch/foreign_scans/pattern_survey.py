"""A first look at all patterns, block by block: what they hold, where the zero frequency lies, where the beam falls."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho_torch.errors import DataContractError
from ptycho_torch.foreign_scans.checked_arrays import check_kind, not_finite
from ptycho_torch.foreign_scans.foreign_scan import Corner, Mask, Quantity
from ptycho_torch.foreign_scans.pattern_sources import PatternSource
from ptycho_torch.npz_archive import AnyArray

# A clear beam holds far more than this many times as much power about the zero frequency as about the opposite corner.
CLEAR_RATIO = 4.0
# Squares of float32 square roots of counts come back within this of whole numbers, up to 40,000 counts in a pixel.
ROOT_TOLERANCE = 0.01
# Detectors mark a dead pixel with the largest number of an unsigned type as wide as this or wider [bytes].
_MARK_BYTES = 2

Image = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PatternSurvey:
    """What all patterns have in common."""

    n_patterns: int
    mean: Image
    """(H, W) of the values, 0 at bad pixels."""
    mean_square: Image
    """(H, W) of their squares, 0 at bad pixels, and everywhere where they are integers by type."""
    are_whole: bool
    """Every value is a whole number."""
    squares_are_whole: bool
    bad_pixels: Mask
    """(H, W): those that were known, and those that the detector marks."""
    n_marked: int
    """How many of them the detector marks in every pattern."""

    def mean_counts(self, quantity: Quantity) -> Image:
        """The mean pattern (H, W) of counts."""
        return self.mean_square if quantity == "amplitude" else self.mean


class _Running:
    """Sums over the patterns that have been seen; integers are counts by their type, and their squares of no use."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.sum, self.sum_of_squares = np.zeros(shape), np.zeros(shape)
        self.low, self.high = np.full(shape, np.inf), np.full(shape, -np.inf)
        self.n, self.are_whole, self.squares_are_whole = 0, True, True

    def add(self, block: AnyArray) -> None:
        self.n += len(block)
        self.sum += block.sum(axis=0, dtype=np.float64)
        np.minimum(self.low, block.min(axis=0), out=self.low)
        np.maximum(self.high, block.max(axis=0), out=self.high)
        if block.dtype.kind == "f":
            self._add_fractions(block)

    def _add_fractions(self, block: Image) -> None:
        squares = np.square(block)
        self.sum_of_squares += squares.sum(axis=0)
        self.are_whole = self.are_whole and bool((block == np.rint(block)).all())
        self.squares_are_whole = self.squares_are_whole and bool((np.abs(squares - np.rint(squares)) <= ROOT_TOLERANCE).all())


def survey_patterns(patterns: PatternSource, name: str, bad_pixels: Mask | None, source: Path) -> PatternSurvey:
    """Look at all patterns once.

    Raises
    ------
    DataContractError
        They are no finite real numbers, below 0 or all 0 where pixels are good, normalized, or cut off.
    """
    check_kind(name, patterns.dtype, "fiu", source)
    shape = patterns.shape[1:]
    known = np.zeros(shape, dtype=np.bool_) if bad_pixels is None else bad_pixels
    if known.shape != shape:
        raise DataContractError(
            f"{source}: the mask of bad pixels has shape {known.shape}; allowed is that of a pattern, {shape}.",
            hint="Give the mask of the patterns as they are in the file.",
        )
    running = _Running(shape)
    for block in patterns.blocks():
        values = block.astype(np.float64) if block.dtype.kind == "f" else block
        if known.any():
            values = np.where(known, 0, values)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise not_finite(name, source)
        running.add(values)
    marked = _marked(running, patterns.dtype)
    good = ~(known | marked)
    _check_photons(running, good, name, source)
    _check_not_normalized(running, good, name, source)
    return PatternSurvey(
        n_patterns=running.n,
        mean=np.where(good, running.sum, 0) / running.n,
        mean_square=np.where(good, running.sum_of_squares, 0) / running.n,
        are_whole=running.are_whole,
        squares_are_whole=running.squares_are_whole,
        bad_pixels=~good,
        n_marked=int((marked & ~known).sum()),
    )


def _marked(running: _Running, dtype: np.dtype[Any]) -> Mask:
    """Pixels that hold the largest number of their type in every pattern."""
    if dtype.kind != "u" or dtype.itemsize < _MARK_BYTES:
        return np.zeros(running.low.shape, dtype=np.bool_)
    return np.asarray(running.low == float(np.iinfo(dtype).max))


def _check_photons(running: _Running, good: Mask, name: str, source: Path) -> None:
    low, high = (float(np.min(running.low[good])), float(np.max(running.high[good]))) if good.any() else (0.0, 0.0)
    if low < 0 or high == 0:
        raise DataContractError(
            f"{source}: `{name}` reaches from {low:g} to {high:g}; allowed are photons, at least 0 and not all 0.",
            hint="Was a background subtracted, or are bad pixels marked by negative numbers? Mask them with --bad-pixels.",
        )


def _check_not_normalized(running: _Running, good: Mask, name: str, source: Path) -> None:
    """No detector counts less than one photon at its brightest: such numbers were divided by something."""
    high = float(np.max(running.high[good]))
    if high <= 1 and not running.are_whole:
        raise DataContractError(
            f"{source}: `{name}` reaches to {high:g} at most and holds fractions, so it is normalized; allowed are photons, or "
            "square roots of photons.",
            hint="Multiply it by what it was divided by.",
        )


def decide_quantity(
    survey: PatternSurvey, name: str, told: Quantity | None, by_format: Quantity | None, source: Path
) -> tuple[Quantity, str, bool]:
    """What the patterns hold, in what words, and whether that is only assumed.

    Raises
    ------
    DataContractError
        What is told contradicts the numbers, or nothing tells.
    """
    evident: Quantity | None = "intensity" if survey.are_whole else "amplitude" if survey.squares_are_whole else None
    claimed = told or by_format
    who = "the option" if told else "the format"
    if evident is None and claimed is None:
        raise DataContractError(
            f"{source}: neither `{name}` nor its squares are whole numbers, so intensity and amplitude cannot be told apart.",
            hint="Say which with --quantity intensity or --quantity amplitude.",
        )
    if evident is not None and claimed not in (None, evident):
        which = "`{}` is whole numbers" if evident == "intensity" else "the squares of `{}` are whole numbers, itself it is not"
        raise DataContractError(
            f"{source}: {who} says that `{name}` is {claimed}, but {which.format(name)}: that is {evident}.",
            hint=f"Say --quantity {evident}." if told is None else "Leave --quantity out.",
        )
    if told is not None:
        return told, f"`{name}` is {told} (as the option says), in photons", True
    if evident == "intensity":
        return evident, f"`{name}` is intensity: photon counts, whole numbers throughout", False
    if evident == "amplitude":
        return evident, f"`{name}` is amplitude: its squares are whole numbers throughout", False
    return claimed or "intensity", f"`{name}` is {claimed} (as the format says), in photons; it is not in whole numbers", True


def decide_dc(mean: Image, told: Corner | None, by_format: Corner | None, source: Path) -> tuple[Corner, str, bool]:
    """Where the zero frequency lies, in what words, and whether that is only assumed: power is about the centre, or the corners.

    Raises
    ------
    DataContractError
        The format's place is not where the power lies, or nothing tells.
    """
    if told is not None:
        return told, f"the zero frequency is at the {told} (as the option says)", True
    center, corner = _central_power(mean), _central_power(np.fft.fftshift(mean))
    shares = center / mean.sum(), corner / mean.sum()
    evident: Corner | None = None
    if max(center, corner) >= CLEAR_RATIO * min(center, corner):
        evident = "center" if center > corner else "corner"
    if evident is None and by_format is None:
        raise DataContractError(
            f"{source}: {shares[0]:.0%} of the power lies in the centre of the patterns and {shares[1]:.0%} "
            "about their corners, so the zero frequency cannot be placed.",
            hint="Say where it is with --dc corner or --dc center.",
        )
    if evident is not None and by_format not in (None, evident):
        raise DataContractError(
            f"{source}: the format keeps the zero frequency at the {by_format}, but {max(shares):.0%} of the power lies about "
            f"the {evident}.",
            hint=f"Say where it is with --dc {evident} or --dc {by_format}.",
        )
    if evident is None:
        return by_format or "center", f"the zero frequency is at the {by_format}, as the format says", True
    return evident, f"the zero frequency is at the {evident}: {max(shares):.1%} of the power lies about it", False


def _central_power(pattern: Image) -> float:
    """The power in the central half of each side."""
    top, left = pattern.shape[0] // 4, pattern.shape[1] // 4
    return float(pattern[top : pattern.shape[0] - top, left : pattern.shape[1] - left].sum())


def beam_center(mean: Image) -> tuple[float, float]:
    """The centroid (row, column) of the mean pattern above its median."""
    beam = np.clip(mean - np.median(mean), 0, None)
    beam = beam if beam.any() else mean
    rows, columns = (np.arange(length) for length in beam.shape)
    return float(beam.sum(axis=1) @ rows / beam.sum()), float(beam.sum(axis=0) @ columns / beam.sum())


def dc_at_center(frames: AnyArray, dc: Corner) -> AnyArray:
    """Frames (..., H, W) with the zero frequency moved from the corner to the centre, where it is not there already."""
    return np.fft.fftshift(frames, axes=(-2, -1)) if dc == "corner" else frames
