"""How well expected intensities explain photon counts."""

import torch
from torch import Tensor

DARK_SHARE = 1e-3
"""Dark counts added to expectation and counts alike, as a share of the mean count: bounds the logarithm and its gradient."""


def poisson_deviance(expected: Tensor, counts: Tensor) -> Tensor:
    """Half the Poisson deviance per photon: 0 for a perfect fit, never negative.

    Σ[ λ - n + n log(n / λ) ] / Σ counts, with the same few dark counts in λ and n. They leave the optimum where it is: the
    gradient (λ - n) / (λ + dark) still has mean zero at the true intensity.

    Parameters
    ----------
    expected
        Intensities [photons], of any shape, not negative.
    counts
        Photons, of the same shape.

    Returns
    -------
    A scalar; infinite or not a number where there are no photons at all.
    """
    dark = DARK_SHARE * counts.mean()
    fitted, measured = expected + dark, counts + dark
    deviances = fitted - measured + measured * torch.log(measured / fitted)
    return deviances.sum() / counts.sum()
