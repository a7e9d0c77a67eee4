"""How close a reconstructed object is to the truth, and whether it is one at all.

A reconstruction is known up to a global phase and a linear phase ramp: `align` removes both before anything is compared. The
amplitude is never rescaled. Pixels that no pattern saw are left out by a weight of zero.

Axes: images are (H, W) complex; weights (H, W) real, not negative.
"""

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import scipy.fft

Image = npt.NDArray[np.complex128]
Weights = npt.NDArray[np.float64]

FLAT_STD_RATIO = 0.3
FLAT_CORRELATION = 0.5
NO_PHASE_RAD = 1e-9
"""A standard deviation below this is rounding."""
REFINEMENT_ROUNDS = 2
"""Noise wraps some phases in the first; hardly any is left to wrap in the second."""


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
    """A reconstruction against the truth, over the pixels that were seen."""

    nmse: float
    phase_mae_rad: float
    phase_std_ratio: float
    phase_correlation: float
    collapse_reason: str | None
    """Why the reconstruction counts as flat; None when it does not."""


def scan_box(positions_yx: npt.NDArray[np.float64], object_shape: tuple[int, int], margin_px: int = 0) -> Box:
    """The bounding box of the scan positions (n, 2), grown by `margin_px` on every side and kept on the object."""
    first = np.floor(positions_yx.min(axis=0) + 0.5).astype(int) - margin_px
    last = np.floor(positions_yx.max(axis=0) + 0.5).astype(int) + margin_px + 1
    (top, left), (bottom, right) = np.maximum(first, 0).tolist(), np.minimum(last, object_shape).tolist()
    return Box(top, bottom, left, right)


def score(result: Image, truth: Image, weights: Weights) -> ImageScores:
    """Align the result with the truth and compare them where the weights are not zero."""
    seen = weights > 0
    aligned = align(result, truth, seen.astype(np.float64))
    ratio, correlation = phase_agreement(aligned, truth, seen.astype(np.float64))
    return ImageScores(
        nmse=complex_nmse(aligned[seen], truth[seen]),
        phase_mae_rad=phase_mae_rad(aligned[seen], truth[seen]),
        phase_std_ratio=ratio,
        phase_correlation=correlation,
        collapse_reason=flatness(ratio, correlation),
    )


def align(result: Image, truth: Image, weights: Weights | None = None) -> Image:
    """The result without the global phase and the linear phase ramp by which it differs from the truth.

    The ramp is the highest peak of the Fourier transform of result * conj(truth), padded to twice its size, which is within
    a quarter of a bin; what remains is fitted by a plane, by least squares weighted with |result truth|, twice.
    """
    weights = np.ones(result.shape) if weights is None else weights
    product = result * truth.conj() * weights
    ramp = _peak_ramp(product)
    for _ in range(REFINEMENT_ROUNDS):
        remainder = product * np.exp(-1j * ramp)
        turn = np.angle(remainder.sum())
        ramp = ramp + turn + _plane(np.angle(remainder * np.exp(-1j * turn)), np.abs(product))
    aligned: Image = result * np.exp(-1j * ramp)
    return aligned


def complex_nmse(result: Image, truth: Image) -> float:
    """Σ|result - truth|² / Σ|truth|², amplitude as it is."""
    return float(np.sum(np.abs(result - truth) ** 2) / np.sum(np.abs(truth) ** 2))


def phase_mae_rad(result: Image, truth: Image) -> float:
    """Mean absolute phase difference [rad], wrapped into [-π, π]."""
    return float(np.abs(np.angle(result * truth.conj())).mean())


def phase_agreement(result: Image, truth: Image, weights: Weights) -> tuple[float, float]:
    """Ratio of the phases' standard deviations (result / truth), and their Pearson correlation.

    Each phase loses its own least-squares plane first: a flat result has then no phase at all, whatever ramp the alignment
    gave it. The correlation of a constant is 0.
    """
    phases = [_detrended_phase(image, weights)[weights > 0] for image in (result, truth)]
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


def _detrended_phase(image: Image, weights: Weights) -> Weights:
    # The ramp goes first: wrapped, it would be no plane any more.
    level = image * np.exp(-1j * _peak_ramp(image * weights))
    phase = np.angle(level * np.exp(-1j * np.angle(np.sum(level * weights))))
    detrended: Weights = phase - _plane(phase, weights)
    return detrended


def _peak_ramp(product: Image) -> Weights:
    padded = [2 * side for side in product.shape]
    spectrum = np.abs(scipy.fft.fft2(product, s=padded))
    peak = np.unravel_index(np.argmax(spectrum), spectrum.shape)
    slopes = [2 * np.pi * scipy.fft.fftfreq(side)[index] for side, index in zip(padded, peak, strict=True)]
    rows, columns = np.indices(product.shape)
    ramp: Weights = slopes[0] * rows + slopes[1] * columns
    return ramp


def _plane(phase: Weights, weights: Weights) -> Weights:
    """The plane a + b y + c x that fits `phase` best in the weighted least-squares sense, as an image."""
    rows, columns = np.indices(phase.shape)
    basis = np.stack([np.ones(phase.size), (rows - rows.mean()).ravel(), (columns - columns.mean()).ravel()])
    weighted = basis * weights.ravel()
    coefficients = np.linalg.lstsq(weighted @ basis.T, weighted @ phase.ravel(), rcond=None)[0]
    return np.asarray(coefficients @ basis).reshape(phase.shape)
