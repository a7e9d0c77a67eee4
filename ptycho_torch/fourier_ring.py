"""Fourier ring correlation of a reconstruction with the truth: up to which spatial frequency the two agree.

    FRC(f) = Re Σ R(k) T*(k) / √(Σ |R(k)|² Σ |T(k)|²),   both sums over the ring |k| ≈ f

with R and T the Fourier transforms of the two images (Saxton and Baumeister, J. Microsc. 127, 1982). Noise on top of the truth
gives FRC = 1 / √(1 + 1 / SNR): against a truth without noise 0.5 means SNR = 1/3, which is the criterion C_ref = 0.5 of Rosenthal
and Henderson, J. Mol. Biol. 333, 2003.

A flat image correlates with nothing. Every image shares its complex mean with every other, so the mean is removed from both; and
an image that is constant to rounding, but for a ramp of its own, counts as zero. The correlation is blind to contrast: a ghost
of the truth on a flat image crosses late. It says up to where an image agrees, not how strongly.

Axes: images are (H, W) complex; seen (H, W) bool; frequencies in cycles per pixel, 0.5 is Nyquist.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.fft
from scipy.ndimage import convolve1d, minimum_filter

from ptycho_torch.alignment import Image, Weights, level

CROSSING_LEVEL = 0.5
RING_WIDTH_CYCLES_PER_PX = 1 / 32
LEAST_RING_WIDTH_BINS = 2
"""Fourier bins of the box's shorter side. The taper mixes neighbours, and a ring of a few pixels agrees by chance."""
TAPER_SHARE = 0.25
"""Of the box's shorter side: how far the taper reaches inwards."""
NYQUIST_CYCLES_PER_PX = 0.5
NO_STRUCTURE_SHARE = 1e-12
"""An image that has less than this share of its power besides its mean is flat: complex64 rounds to 1e-14."""


@dataclass(frozen=True, eq=False)
class FourierRings:
    """The correlation ring by ring, from the innermost."""

    frequencies: npt.NDArray[np.float64]
    """(n,) mean |k| of each ring [cycles per px]."""
    correlations: npt.NDArray[np.float64]
    """(n,) -1 to 1; 0 where either image has nothing in the ring."""

    def crossing(self) -> float:
        """The frequency [cycles per px] at which the correlation, outward from its highest ring, first falls below 0.5.

        Linear between rings; 0 where no ring reaches 0.5, and 0.5, Nyquist, where none beyond the highest is below.

        Outward from the highest, not from zero: patterns say least about the coarsest ring, and some objects, a star, have hardly
        anything in it, so that it would call an image flat that resolves its pixels. What is wrong in it, nmse and ssim see.
        """
        if not (self.correlations >= CROSSING_LEVEL).any():
            return 0.0
        highest = int(np.argmax(self.correlations))
        below = highest + np.flatnonzero(self.correlations[highest:] < CROSSING_LEVEL)
        if below.size == 0:
            return NYQUIST_CYCLES_PER_PX
        falling = [below[0], below[0] - 1]
        return float(np.interp(CROSSING_LEVEL, self.correlations[falling], self.frequencies[falling]))


def fourier_ring_correlation(result: Image, truth: Image, seen: npt.NDArray[np.bool_]) -> FourierRings:
    """Correlate two aligned images over the pixels that were seen, ring by ring up to Nyquist.

    A ring is 1/32 cycles per px wide, or two Fourier bins of a shorter side of less than 64 px.
    """
    taper = edge_taper(seen)
    first, second = (scipy.fft.fft2(_structure(image, taper)) for image in (result, truth))
    frequency = np.hypot(scipy.fft.fftfreq(seen.shape[0])[:, None], scipy.fft.fftfreq(seen.shape[1])[None, :])
    width = max(RING_WIDTH_CYCLES_PER_PX, LEAST_RING_WIDTH_BINS / min(seen.shape))
    ring, rings = (frequency / width).astype(np.int64), int(NYQUIST_CYCLES_PER_PX / width)
    cross, first_power, second_power, total_frequency, count = (
        np.bincount(ring.ravel(), weights=term.ravel(), minlength=rings)[:rings]
        for term in ((first * second.conj()).real, np.abs(first) ** 2, np.abs(second) ** 2, frequency, np.ones(ring.shape))
    )
    power = np.sqrt(first_power * second_power)
    correlations = np.divide(cross, power, out=np.zeros_like(cross), where=power > 0)
    return FourierRings(total_frequency / count, correlations)


def edge_taper(seen: npt.NDArray[np.bool_]) -> Weights:
    """A weight (H, W) that rises from 0 outside the box and at unseen pixels to 1, over a quarter of the box's shorter side.

    A sharp edge would spread the strong low frequencies over all rings, in both images alike, which would then agree everywhere.
    It is what is left of the seen pixels after erosion, smoothed by a Hann window that just reaches back.
    """
    reach_px = max(int(TAPER_SHARE * min(seen.shape) / 2), 1)
    taper: Weights = minimum_filter(seen, 2 * reach_px + 1, mode="constant", cval=False).astype(np.float64)
    window = np.hanning(2 * reach_px + 3)[1:-1]
    for axis in (0, 1):
        taper = convolve1d(taper, window / window.sum(), axis=axis, mode="constant")
    return taper


def _structure(image: Image, taper: Weights) -> Image:
    """The tapered image less its tapered mean; exactly zero for a flat one."""
    without_ramp = _less_mean(level(image, taper), taper)
    is_flat = np.sum(np.abs(without_ramp) ** 2) <= NO_STRUCTURE_SHARE * np.sum(np.abs(taper * image) ** 2)
    return np.zeros_like(image) if is_flat else _less_mean(image, taper)


def _less_mean(image: Image, taper: Weights) -> Image:
    mean = np.sum(taper * image) / max(float(taper.sum()), np.finfo(np.float64).tiny)
    structure: Image = taper * (image - mean)
    return structure
