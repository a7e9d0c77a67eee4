"""The part of the detector that is kept: cropped about the beam, bad pixels filled, binned, before anything is kept."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix, csr_matrix

from ptycho_torch.foreign_scans.foreign_scan import Corner, Mask, Quantity
from ptycho_torch.foreign_scans.pattern_sources import PatternSource
from ptycho_torch.foreign_scans.pattern_survey import PatternSurvey, dc_at_center

_NEIGHBOR_REACH_PX = 2

Counts = npt.NDArray[np.float32]


@dataclass(frozen=True)
class DetectorWindow:
    """A square of a pattern whose zero frequency is at the centre, and the blocks that become one pixel."""

    top: int
    left: int
    side_px: int
    """Before binning."""
    bin_px: int

    @property
    def patch_size_px(self) -> int:
        """N, after binning."""
        return self.side_px // self.bin_px

    @property
    def slices(self) -> tuple[Any, ...]:
        """Of an array (..., H, W)."""
        return (..., slice(self.top, self.top + self.side_px), slice(self.left, self.left + self.side_px))


def cut_counts(
    patterns: PatternSource, survey: PatternSurvey, quantity: Quantity, dc: Corner, window: DetectorWindow
) -> tuple[Counts, float]:
    """Counts (n, N, N) in a window, and the share of all counts that they are.

    Squares of amplitudes and means of neighbours are rounded where counts are whole numbers.

    Parameters
    ----------
    patterns
        (n, H, W), read once more.
    survey
        What is known of them.
    quantity, dc
        What they hold, and where their zero frequency lies.
    window
        What is kept.
    """
    are_whole = survey.are_whole or (quantity == "amplitude" and survey.squares_are_whole)
    bad = dc_at_center(survey.bad_pixels, dc)[window.slices]
    filling = neighbor_means(bad)
    side, counts_start = window.patch_size_px, 0
    counts = np.empty((survey.n_patterns, side, side), dtype=np.float32)
    for block in patterns.blocks():
        frames = dc_at_center(block, dc)[window.slices].astype(np.float32)
        if quantity == "amplitude":
            np.square(frames, out=frames)
        _fill(frames, bad, filling)
        if are_whole:
            np.rint(frames, out=frames)
        counts[counts_start : counts_start + len(frames)] = bin_sums(frames, window.bin_px)
        counts_start += len(frames)
    mean = dc_at_center(survey.mean_counts(quantity), dc)
    return counts, float(mean[window.slices].sum() / mean.sum())


def bin_sums(frames: Counts, bin_px: int) -> Counts:
    """The sum of each block of bin_px by bin_px pixels of (k, M, M): counts add up, means would lose them."""
    if bin_px == 1:
        return frames
    side = frames.shape[-1] // bin_px
    sums: Counts = frames.reshape(-1, side, bin_px, side, bin_px).sum(axis=(2, 4), dtype=np.float32)
    return sums


def neighbor_means(bad: Mask) -> csr_matrix:
    """The matrix (bad pixels, all pixels) that takes a pattern to the mean of each bad pixel's good neighbours within 2 px.

    A bad pixel without a good neighbour gets 0.
    """
    rows, columns = np.nonzero(bad)
    reach = range(-_NEIGHBOR_REACH_PX, _NEIGHBOR_REACH_PX + 1)
    which, flat = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for down, right in ((down, right) for down in reach for right in reach):
        y, x = rows + down, columns + right
        inside = (y >= 0) & (y < bad.shape[0]) & (x >= 0) & (x < bad.shape[1])
        good = inside.copy()
        good[inside] = ~bad[y[inside], x[inside]]
        which.append(np.flatnonzero(good))
        flat.append(y[good] * bad.shape[1] + x[good])
    every, places = np.concatenate(which), np.concatenate(flat)
    n_good = np.bincount(every, minlength=len(rows))
    return coo_matrix((1.0 / n_good[every], (every, places)), shape=(len(rows), bad.size)).tocsr()


def _fill(frames: Counts, bad: Mask, filling: csr_matrix) -> None:
    if filling.shape[0]:
        frames[:, bad] = 0  # what is there may be no number, and 0 times that is none either
        frames[:, bad] = (filling @ frames.reshape(len(frames), -1).T).T
