"""The forward model: a shifted probe times an object patch, propagated to the far field.

    I(q) = |F[ P(r - f) O(r) ](q)|²        F unitary (norm="ortho"), so that Σ I = Σ |P O|²  (Parseval)

A scan position (y, x) [px] is split into the nearest whole pixel c, about which the patch `O[c - N/2 : c + N/2]` is cut, and a
remainder f in [-1/2, 1/2), by which the probe is moved with the Fourier shift theorem. The same operator simulates and trains.

Here the zero frequency is at the corner, `torch.fft`'s own order; files have it at the centre (DATA-001) and are rolled once
on loading.

Axes: B positions, N×N pixels of a patch or pattern, H×W pixels of the object.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

TINY = 1e-30
"""Keeps a far field of exactly 0, which has no phase, out of divisions."""


def split_positions(positions_yx: Tensor) -> tuple[Tensor, Tensor]:
    """Whole pixels and remainders of scan positions.

    Parameters
    ----------
    positions_yx
        (B, 2) float64, pixels on the object grid.

    Returns
    -------
    (B, 2) int64 whole pixels, and (B, 2) float64 remainders in [-1/2, 1/2).
    """
    whole = torch.floor(positions_yx + 0.5)
    return whole.long(), positions_yx - whole


def shift_probe(probe: Tensor, shifts_yx: Tensor) -> Tensor:
    """Move a probe by fractions of a pixel with the Fourier shift theorem; energy is conserved.

    Parameters
    ----------
    probe
        (N, N) complex.
    shifts_yx
        (B, 2) real, towards growing index [px].

    Returns
    -------
    (B, N, N) complex; the probe itself, expanded, where every shift is zero.
    """
    return illuminate(probe, shifts_yx).probes


class Illumination(NamedTuple):
    """A probe where it stood for each of some patterns, in both planes: (..., N, N) complex each."""

    probes: Tensor
    """On the object."""
    far_fields: Tensor
    """On the detector: FP."""

    @classmethod
    def of(cls, probes: Tensor) -> "Illumination":
        """By probes (..., N, N) complex, propagated."""
        return cls(probes, propagate(probes))


def illuminate(probe: Tensor, shifts_yx: Tensor) -> Illumination:
    """A probe moved as by `shift_probe`; the shift theorem gives its far fields beside: B illuminations."""
    far_field = propagate(probe)
    if not bool(shifts_yx.any()):
        every = (len(shifts_yx), *probe.shape)
        return Illumination(probe.expand(every), far_field.expand(every))
    rows, columns = _shift_ramps(shifts_yx, probe)
    far_fields = (far_field * rows[:, :, None]).mul_(columns[:, None, :])
    return Illumination(back_propagate(far_fields), far_fields)


def gather_probe(probes: Tensor, shifts_yx: Tensor) -> Tensor:
    """The adjoint of `shift_probe`: probes (B, N, N) moved back by their shifts (B, 2) and summed, (N, N)."""
    if not bool(shifts_yx.any()):
        return probes.sum(dim=0)
    rows, columns = _shift_ramps(shifts_yx, probes)
    spectra = (torch.fft.fft2(probes) * rows.conj()[:, :, None]).mul_(columns.conj()[:, None, :])
    gathered: Tensor = torch.fft.ifft2(spectra.sum(dim=0))
    return gathered


def _shift_ramps(shifts_yx: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """exp(-2πi f k) of the shifts f (B, 2) along rows and along columns: (B, N) each, of the precision of `like` (..., N, N)."""
    phases = shifts_yx.to(like.real.dtype)[:, :, None] * _phases_of_a_pixel(like.shape[-1], like.device, like.real.dtype)
    ramps = torch.polar(torch.ones_like(phases), phases)
    return ramps[:, 0], ramps[:, 1]


@lru_cache(maxsize=8)
def _phases_of_a_pixel(size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """-2π k: (N,), what a shift by a pixel does to the phases of the frequencies k [1/px]."""
    phases: Tensor = -2 * torch.pi * torch.fft.fftfreq(size, device=device, dtype=dtype)
    return phases


def patch_indices(centers_yx: Tensor, patch_size: int, object_width: int) -> Tensor:
    """Flat indices into an (H, W) object of the patches about whole-pixel centres: (B, N, N) int64."""
    rows, columns = (centers_yx - patch_size // 2).unbind(dim=1)
    pixels = torch.arange(patch_size, device=centers_yx.device)
    return (rows * object_width + columns)[:, None, None] + (pixels[:, None] * object_width + pixels)


def cut_patches(object_hw: Tensor, centers_yx: Tensor, patch_size: int) -> Tensor:
    """The patches `O[y - N/2 : y + N/2, x - N/2 : x + N/2]` of an (H, W) object: (B, N, N)."""
    patches: Tensor = _CutPatches.apply(object_hw, centers_yx, patch_size)  # type: ignore[no-untyped-call]
    return patches


class _CutPatches(torch.autograd.Function):
    """Windows of the object are copied row by row; the gradient is the adjoint, not one of every window there could be."""

    @staticmethod
    def forward(ctx: Any, object_hw: Tensor, centers_yx: Tensor, patch_size: int) -> Tensor:
        ctx.save_for_backward(centers_yx)
        ctx.object_shape = object_hw.shape
        corners = centers_yx - patch_size // 2
        windows = object_hw.unfold(0, patch_size, 1).unfold(1, patch_size, 1)
        return windows[corners[:, 0], corners[:, 1]]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (centers_yx,) = ctx.saved_tensors
        return add_patches(gradients[0], centers_yx, ctx.object_shape), None, None


def add_patches(patches: Tensor, centers_yx: Tensor, object_shape: tuple[int, int]) -> Tensor:
    """The adjoint of `cut_patches`: (B, N, N) patches summed where they lie on an (H, W) canvas."""
    canvas = torch.zeros(object_shape[0] * object_shape[1], dtype=patches.dtype, device=patches.device)
    indices = patch_indices(centers_yx, patches.shape[-1], object_shape[1])
    return canvas.scatter_add(0, indices.flatten(), patches.flatten()).view(object_shape)


def intensity(waves: Tensor) -> Tensor:
    """|wave|² of complex waves of any shape, without the root that `abs` takes and a square undoes."""
    return waves.real.square() + waves.imag.square()


def propagate(exit_waves: Tensor) -> Tensor:
    """Exit waves (..., N, N) to the far field, zero frequency at the corner; unitary."""
    far_fields: Tensor = torch.fft.fft2(exit_waves, norm="ortho")
    return far_fields


def back_propagate(far_fields: Tensor) -> Tensor:
    """The adjoint and inverse of `propagate`."""
    exit_waves: Tensor = torch.fft.ifft2(far_fields, norm="ortho")
    return exit_waves


def diffraction_intensity(patches: Tensor, probes: Tensor) -> Tensor:
    """Expected photon counts (..., N, N) of object patches under probes whose Σ|P|² is in photons."""
    expected: Tensor = _DiffractionIntensity.apply(patches, probes)  # type: ignore[no-untyped-call]
    return expected


class _DiffractionIntensity(torch.autograd.Function):
    """I = |F[P O]|², and its gradient by the adjoint: ψ = F⁻¹[2 g F[P O]] gives conj(P) ψ for O and conj(O) ψ for P.

    Written out it goes over the patterns half as often as what PyTorch makes of each operation by itself.
    """

    @staticmethod
    def forward(ctx: Any, patches: Tensor, probes: Tensor) -> Tensor:
        far_fields = propagate(patches * probes)
        ctx.save_for_backward(patches, probes, far_fields)
        return intensity(far_fields)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        patches, probes, far_fields = ctx.saved_tensors
        waves = back_propagate(2 * gradients[0] * far_fields)
        of_patches, of_probes = ctx.needs_input_grad
        return probes.conj() * waves if of_patches else None, patches.conj() * waves if of_probes else None


def amplitude_residual(far_fields: Tensor, expected: Tensor, counts: Tensor, floor: Tensor) -> Tensor:
    """What counts n ask of the amplitudes of far fields Ψ, with the phases of those: (n - I) / √(I + floor) · e^{i arg Ψ}.

    Parameters
    ----------
    far_fields
        (..., N, N) complex.
    expected
        (..., N, N) I = |Ψ|² [photons].
    counts
        (..., N, N) photons.
    floor
        Photons, of a shape that fits: dark pixels must not rule.

    Returns
    -------
    (..., N, N) complex.
    """
    weights = torch.rsqrt((expected * (expected + floor)).clamp_min(TINY))  # 1 / √I makes of Ψ its phase
    return far_fields * ((counts - expected) * weights)
