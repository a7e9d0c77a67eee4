"""Probes to begin with where none is known: the light of the mean pattern, brought back from the far field out of focus.

    P_c = F⁻¹[ √⟨n⟩ · e^{-i c |q - q₀|²} ]

A thin object scatters little, so that √⟨n⟩ is nearly |F P|, and what is unknown is its phase. A lens of any shape out of focus
has the phase c |q|²: light at the frequency q [cycles / px] lies c q / π from the axis, so that the rms radius of the probe's
shadow is |c| q_rms / π. One number c is left, its sign being the side of the focus on which the object stands.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

SMALLEST_SHARE, LARGEST_SHARE = 0.03, 0.3
"""Of N: rms radii of shadows that are tried. A larger probe does not fit into its window."""
RATIO = 1.2
"""Of one radius to the next: starts within a tenth of the right defocus find the same probe."""


def usual_radii(n_between: int = 0) -> tuple[float, ...]:
    """Signed rms radii as shares of N, 0 (in focus) first, then of both signs from the smallest to the largest."""
    radii, radius = [], SMALLEST_SHARE
    while radius <= LARGEST_SHARE:
        radii.append(round(radius, 4))
        radius *= RATIO
    return (0.0, *(sign * radius for radius in radii for sign in (1, -1)))


def nearer_radii(radius: float) -> tuple[float, ...]:
    """Four radii between one and its neighbours; none in focus."""
    return tuple(radius * RATIO**power for power in (-2 / 3, -1 / 3, 1 / 3, 2 / 3)) if radius else ()


def defocused_starts(mean_counts: Tensor, radii: Iterable[float]) -> dict[float, Tensor]:
    """Probes (N, N) complex64 by the signed rms radius of their shadow, as a share of N; Σ|P|² is Σ⟨n⟩, the centre is N/2.

    Parameters
    ----------
    mean_counts
        (N, N) ⟨n⟩, zero frequency at the corner.
    radii
        Shares of N.
    """
    size = len(mean_counts)
    rows, columns = (_from_center(mean_counts.sum(dim=1 - axis)) for axis in (0, 1))
    squares = rows[:, None].square() + columns.square()
    total = mean_counts.sum()
    q_rms = ((mean_counts * squares).sum() / total).sqrt().clamp_min(1 / size)
    curvatures = {radius: radius * size * torch.pi / q_rms for radius in radii}
    amplitude = mean_counts.sqrt()
    return {
        radius: torch.fft.fftshift(torch.fft.ifft2(torch.polar(amplitude, -curvature * squares), norm="ortho"))
        for radius, curvature in curvatures.items()
    }


def _from_center(profile: Tensor) -> Tensor:
    """Frequencies (N,) [cycles / px] about the centroid of a profile on a circle, in [-1/2, 1/2)."""
    frequencies = torch.fft.fftfreq(len(profile), device=profile.device)
    turns = torch.polar(profile, 2 * torch.pi * frequencies).sum()
    return torch.remainder(frequencies - torch.angle(turns) / (2 * torch.pi) + 0.5, 1) - 0.5
