"""The measured scan of a Siemens star that lies beside the repository, and an ePIE reconstruction of it to hold others to."""

import numpy as np
import numpy.typing as npt
from command import REPOSITORY

from ptycho_torch.npz_archive import AnyArray

SHARED = REPOSITORY.parent / "shared"
FILES = ("siemens-star-small.npz.bz2", "siemens_epie_reconstruction.npz")


def correlation_with_the_known_star(object_hw: AnyArray) -> float:
    """Of the phase of an object (H, W), at half as many pixels as were measured, wherever its middle lies."""
    known = np.load(SHARED / "data" / FILES[1])["obj"]
    half = known[: len(known) // 2 * 2, : known.shape[1] // 2 * 2].reshape(len(known) // 2, 2, -1, 2).mean(axis=(1, 3))
    return largest_correlation(about_zero(object_hw), about_zero(half))


def about_zero(image: AnyArray) -> npt.NDArray[np.float64]:
    """The phase without its global one, so that it does not wrap."""
    return np.asarray(np.angle(image * np.exp(-1j * np.angle(image.mean()))))


def largest_correlation(image: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    """Over all shifts, of two images without their means."""
    shape = tuple(int(a + b) for a, b in zip(image.shape, other.shape, strict=True))
    a, b = (np.fft.fft2(one - one.mean(), shape) for one in (image, other))
    norms = np.sqrt(image.size * image.var() * other.size * other.var())
    return float(np.fft.ifft2(a * b.conj()).real.max() / norms)
