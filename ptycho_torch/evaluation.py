"""How close a reconstructed object is to the truth, and whether it is one at all.

A reconstruction is known up to a global phase and a linear phase ramp: `align` removes both before anything is compared. The
amplitude is never rescaled and no shift is registered: the photons fix the one, the known scan positions the other. The truth
loses its own global phase and ramp first, so that its phase does not wrap and a ramp is no structure that anyone can share.
Pixels that no pattern saw are left out by a weight of zero.

Axes: images are (H, W) complex; weights (H, W) real, not negative.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho_torch import fourier_ring, similarity
from ptycho_torch.alignment import Image, Weights, align, detrended_phase, level
from ptycho_torch.fourier_ring import fourier_ring_correlation
from ptycho_torch.similarity import psnr_db, structural_similarity_over, value_range

EVALUATION_MARGIN_SHARE = 0.11
"""Of the patch: how far around the scan positions an object is scored."""
FLAT_STD_RATIO = 0.3
FLAT_CORRELATION = 0.5
NO_PHASE_RAD = 1e-9
"""A standard deviation below this is rounding."""

HEADLINE_METRICS = (
    ("nmse", "lower"),
    ("structure_nmse", "lower"),
    ("phase_mae_rad", "lower"),
    ("phase_psnr_db", "higher"),
    ("phase_ssim", "higher"),
    ("frc_crossing_cycles_per_px", "higher"),
)
"""The figures by which an empty answer, O = 1, is far behind one that resolves the object, and which way is better.

One that drowns in noise is farther from the truth than any constant, O = 1 too, and says so in every figure but the ring
correlation, which alone still tells the two apart.

The two of the amplitude are left out. Our objects shift the phase and hardly absorb: a flat amplitude is right to 20 dB and
more, and where edges are blurred, interference makes the amplitude no better than a flat one while the phase is well resolved.
"""

EVALUATION_CONSTANTS: dict[str, Any] = {
    "region": "bounding box of the scan positions, grown by the margin",
    "margin_share_of_patch": EVALUATION_MARGIN_SHARE,
    "removed_by_alignment": ["global phase", "linear phase ramp"],
    "kept_by_alignment": ["amplitude scale", "shift"],
    "psnr_peak": 1.0,
    "psnr_most_db": -10 * float(np.log10(similarity.LEAST_MSE)),
    "ssim_window": "Gaussian, about the truth's mean, data range of the truth",
    "ssim_sigma_px": similarity.SSIM_SIGMA_PX,
    "ssim_window_px": similarity.SSIM_WINDOW_PX,
    "frc_crossing_level": fourier_ring.CROSSING_LEVEL,
    "frc_crossing": "first fall below the level, outward from the highest ring",
    "frc_ring_width_cycles_per_px": fourier_ring.RING_WIDTH_CYCLES_PER_PX,
    "frc_least_ring_width_bins": fourier_ring.LEAST_RING_WIDTH_BINS,
    "frc_taper": "Hann-smoothed edge, to unseen pixels and the edges of the box",
    "frc_taper_share_of_shorter_side": fourier_ring.TAPER_SHARE,
    "flat_below_phase_std_ratio": FLAT_STD_RATIO,
    "flat_below_phase_correlation": FLAT_CORRELATION,
    "headline_metrics": dict(HEADLINE_METRICS),
}
"""How the figures were made: what a result file says besides them."""


@dataclass(frozen=True)
class Box:
    """A rectangle of object pixels, the far edges excluded."""

    top: int
    bottom: int
    left: int
    right: int

    def cut(self, image: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """The part of an (H, W) image inside the box."""
        return image[self.top : self.bottom, self.left : self.right]

    def as_dict(self) -> dict[str, int]:
        """The four edges, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class ImageScores:
    """A reconstruction against the truth, over the pixels that were seen, after alignment. All figures are finite.

    Squared and absolute errors of a weak object are small for any answer: read them beside those of O = 1. `structure_nmse`
    and the ring correlation need no such reading. Where much of an object is empty, O = 1 is right there, and similarity says so.
    """

    nmse: float
    """Σ|result - truth|² / Σ|truth|²."""
    structure_nmse: float | None
    """Σ|result - truth|² / Σ|truth - mean|²: 1 for the best constant, whatever the contrast. None for a constant truth."""
    phase_mae_rad: float
    """Mean absolute phase difference, wrapped."""
    amplitude_psnr_db: float
    """10 log10(1 / mean squared amplitude difference), at most 120. No headline: a flat amplitude is nearly right here."""
    phase_psnr_db: float
    """10 log10(1 rad² / mean squared phase difference), wrapped, at most 120."""
    amplitude_ssim: float | None
    """Structural similarity of the amplitudes about the truth's mean; None for a constant truth, or with no whole window seen."""
    amplitude_ssim_range: float
    """The truth's maximum - minimum; 0 where that is rounding."""
    phase_ssim: float | None
    """The same of the phases, the result's on the branch nearest to the truth's."""
    phase_ssim_range_rad: float
    frc_crossing_cycles_per_px: float
    """Where the Fourier ring correlation falls below 0.5: 0 for a flat result, 0.5 (Nyquist) where it stays above.

    Blind to contrast: a faint ghost of the truth passes it, and fails the gates.
    """
    phase_std_ratio: float
    phase_correlation: float
    collapse_reason: str | None
    """Why the reconstruction counts as flat; None when it does not."""

    def as_dict(self) -> dict[str, Any]:
        """The figures, for JSON."""
        return asdict(self)


def scan_box(positions_yx: npt.NDArray[np.float64], object_shape: tuple[int, int], margin_px: int = 0) -> Box:
    """The bounding box of the scan positions (n, 2), grown by `margin_px` on every side and kept on the object."""
    first = np.floor(positions_yx.min(axis=0) + 0.5).astype(int) - margin_px
    last = np.floor(positions_yx.max(axis=0) + 0.5).astype(int) + margin_px + 1
    (top, left), (bottom, right) = np.maximum(first, 0).tolist(), np.minimum(last, object_shape).tolist()
    return Box(top, bottom, left, right)


def evaluation_box(positions_yx: npt.NDArray[np.float64], object_shape: tuple[int, int], patch_size_px: int) -> Box:
    """What is scored of an object (H, W): the bounding box of the scan positions (n, 2), grown by 11 % of a patch."""
    return scan_box(positions_yx, object_shape, round(EVALUATION_MARGIN_SHARE * patch_size_px))


def score(result: Image, truth: Image, weights: Weights) -> ImageScores:
    """Align the result with the truth and compare them over the pixels that were seen.

    Parameters
    ----------
    result, truth
        (H, W) inside the evaluation box.
    weights
        (H, W) light; a pixel was seen where it is more than zero. At least one was.
    """
    seen = weights > 0
    mask = seen.astype(np.float64)
    # Zeros, so that nothing of what was not seen can leak in.
    expected = level(np.where(seen, truth, 0), mask)
    aligned = align(np.where(seen, result, 0), expected, mask)
    amplitude, true_amplitude = np.abs(aligned), np.abs(expected)
    true_phase, phase_error = np.angle(expected), np.angle(aligned * expected.conj())
    ratio, correlation = phase_agreement(aligned, expected, mask)
    return ImageScores(
        nmse=complex_nmse(aligned[seen], expected[seen]),
        structure_nmse=structure_nmse(aligned[seen], expected[seen]),
        phase_mae_rad=phase_mae_rad(aligned[seen], expected[seen]),
        amplitude_psnr_db=psnr_db((amplitude - true_amplitude)[seen]),
        phase_psnr_db=psnr_db(phase_error[seen]),
        amplitude_ssim=structural_similarity_over(amplitude, true_amplitude, seen),
        amplitude_ssim_range=value_range(true_amplitude, seen),
        phase_ssim=structural_similarity_over(true_phase + phase_error, true_phase, seen),
        phase_ssim_range_rad=value_range(true_phase, seen),
        frc_crossing_cycles_per_px=fourier_ring_correlation(aligned, expected, seen).crossing(),
        phase_std_ratio=ratio,
        phase_correlation=correlation,
        collapse_reason=flatness(ratio, correlation),
    )


def complex_nmse(result: Image, truth: Image) -> float:
    """Σ|result - truth|² / Σ|truth|², amplitude as it is."""
    return float(np.sum(np.abs(result - truth) ** 2) / np.sum(np.abs(truth) ** 2))


def structure_nmse(result: Image, truth: Image) -> float | None:
    """Σ|result - truth|² / Σ|truth - mean|²; None where the truth is constant."""
    structure = float(np.sum(np.abs(truth - truth.mean()) ** 2))
    is_constant = structure <= fourier_ring.NO_STRUCTURE_SHARE * float(np.sum(np.abs(truth) ** 2))
    return None if is_constant else float(np.sum(np.abs(result - truth) ** 2)) / structure


def phase_mae_rad(result: Image, truth: Image) -> float:
    """Mean absolute phase difference [rad], wrapped into [-π, π]."""
    return float(np.abs(np.angle(result * truth.conj())).mean())


def phase_agreement(result: Image, truth: Image, weights: Weights) -> tuple[float, float]:
    """Ratio of the phases' standard deviations (result / truth), and their Pearson correlation.

    Each phase loses its own least-squares plane first: a flat result has then no phase at all, whatever ramp the alignment
    gave it. The correlation of a constant is 0.
    """
    phases = [detrended_phase(image, weights)[weights > 0] for image in (result, truth)]
    spread, true_spread = (float(phase.std()) for phase in phases)
    if min(spread, true_spread) < NO_PHASE_RAD:
        return spread / max(true_spread, NO_PHASE_RAD), 0.0
    return spread / true_spread, float(np.corrcoef(phases[0], phases[1])[0, 1])


def flatness(phase_std_ratio: float, phase_correlation: float) -> str | None:
    """Why a reconstruction with these figures is flat, in words; None when it is not."""
    if phase_std_ratio < FLAT_STD_RATIO:
        return f"phase is flat: its standard deviation is {phase_std_ratio:.2f} of the truth's, below {FLAT_STD_RATIO}"
    if phase_correlation < FLAT_CORRELATION:
        return f"phase does not follow the truth: correlation {phase_correlation:.2f}, below {FLAT_CORRELATION}"
    return None
