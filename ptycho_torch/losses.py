"""How well expected intensities explain photon counts, and how to hold photons out.

A network that is scored on the counts it was fed learns their noise. Poisson counts can be split instead: of n photons each goes
to the first part with probability p, and the two parts are exactly independent Poisson counts of means p·I and (1 - p)·I.
"""

import torch
from torch import Generator, Tensor

DARK_SHARE = 1e-3
"""Dark counts added to expectation and counts alike, as a share of the mean count: bounds the logarithm and its gradient."""

DEALT_AT_ONCE = 1 << 22
"""Pixels whose photons are dealt in one call: bounds the memory, and on a CPU the same photons are dealt whatever it is."""


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


def dealing_device(device: torch.device) -> torch.device:
    """Where the photons of tensors on `device` are dealt: there, or on the CPU where torch has no binomial for it, as on MPS."""
    return device if device.type in ("cpu", "cuda") else torch.device("cpu")


def split_photons(counts: Tensor, fraction: float, generator: Generator) -> tuple[Tensor, Tensor]:
    """Deal each photon to one of two parts by chance (binomial thinning).

    Parameters
    ----------
    counts
        Photons, whole numbers in a float tensor of any shape.
    fraction
        The chance that a photon goes to the first part.
    generator
        On `dealing_device(counts.device)`, or any other that has a binomial: photons are dealt on the generator's device. The
        same state deals the same photons.

    Returns
    -------
    The two parts, on the device of `counts`; they sum to `counts`.
    """
    fed = torch.empty_like(counts, memory_format=torch.contiguous_format)
    for ours, dealt in zip(counts.reshape(-1).split(DEALT_AT_ONCE), fed.view(-1).split(DEALT_AT_ONCE), strict=True):
        photons = ours.to(generator.device)
        dealt.copy_(torch.binomial(photons, torch.full_like(photons, fraction), generator=generator))
    return fed, counts - fed
