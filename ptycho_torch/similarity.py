"""Peak signal-to-noise ratio and structural similarity of real images over the pixels that were seen.

Axes: images are (H, W) real; seen (H, W) bool.
"""

import numpy as np
import numpy.typing as npt
from scipy.ndimage import minimum_filter
from skimage.metrics import structural_similarity

from ptycho_torch.alignment import Weights

SSIM_SIGMA_PX = 1.5
SSIM_WINDOW_PX = 11
"""The Gaussian window of Wang et al., IEEE Trans. Image Process. 13, 2004: sigma 1.5 px, cut to 11 px."""
LEAST_MSE = 1e-12
"""A smaller error is rounding: the ratio ends at 120 dB, so that it is finite for identical images as well."""
LEAST_RANGE = 1e-6
"""An image that varies less is constant: complex64 rounds an amplitude of 1 to 1e-7."""


def psnr_db(error: Weights) -> float:
    """10 log10(1 / mean error²) [dB], for a peak of 1 (amplitude: the empty beam; phase: 1 rad), at most 120."""
    return float(-10 * np.log10(max(float(np.mean(error**2)), LEAST_MSE)))


def value_range(truth: Weights, seen: npt.NDArray[np.bool_]) -> float:
    """Maximum - minimum over the seen pixels; 0 where that is no more than rounding."""
    span = float(np.ptp(truth[seen]))
    return span if span > LEAST_RANGE else 0.0


def structural_similarity_over(result: Weights, truth: Weights, seen: npt.NDArray[np.bool_]) -> float | None:
    """Mean structural similarity (1 for identical images, at most) over all windows that hold seen pixels only.

    The data range is the truth's own, and both images are taken about the truth's mean: an amplitude between 0.9 and 1 would
    else agree in luminance with any other, and a flat one with it.

    Returns
    -------
    None where the truth is constant, which leaves nothing to be similar to, or where no whole window was seen.
    """
    data_range = value_range(truth, seen)
    whole = minimum_filter(seen, SSIM_WINDOW_PX, mode="constant", cval=False)
    if data_range == 0 or not whole.any():
        return None
    mean = truth[seen].mean()
    similarity = structural_similarity(  # type: ignore[no-untyped-call]
        result - mean,
        truth - mean,
        data_range=data_range,
        gaussian_weights=True,
        sigma=SSIM_SIGMA_PX,
        use_sample_covariance=False,
        full=True,
    )[1]
    return float(similarity[whole].mean())
