"""Takes out of a reconstruction what its patterns leave open: a global phase and a linear phase ramp.

The amplitude is never rescaled and nothing is shifted: the photons fix the scale, and the scan positions are known.

Axes: images are (H, W) complex; phases (H, W) [rad]; weights (H, W) real, not negative.
"""

import numpy as np
import numpy.typing as npt
import scipy.fft

Image = npt.NDArray[np.complex128]
Weights = npt.NDArray[np.float64]

REFINEMENT_ROUNDS = 2
"""Noise wraps some phases in the first; hardly any is left to wrap in the second."""


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


def level(image: Image, weights: Weights | None = None) -> Image:
    """The image without the global phase and the ramp of its own: aligned with O = 1."""
    return align(image, np.ones_like(image), weights)


def detrended_phase(image: Image, weights: Weights) -> Weights:
    """The phase [rad] without its own least-squares plane."""
    # The ramp goes first: wrapped, it would be no plane any more.
    ramped = image * np.exp(-1j * _peak_ramp(image * weights))
    phase = np.angle(ramped * np.exp(-1j * np.angle(np.sum(ramped * weights))))
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
