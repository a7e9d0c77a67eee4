"""The fixed physics layer in front of a network: photon counts become an image in real space.

    R = conj(P) · F⁻¹[ (n - I₀) / sqrt(I₀ + reg) · e^{i arg FP} ]        I₀ = |FP|²

The counts minus those of an empty field of view, taken as a change of the far field's amplitude with the empty field's phase,
are propagated back and weighted by the probe. R is linear in n, so it is unbiased however few the photons.
"""

from torch import Tensor

from ptycho_torch.physics import amplitude_residual, back_propagate, intensity, propagate

REGULARIZATION = 0.1
"""`reg` as a share of the mean of I₀: keeps dark pixels of the empty pattern from ruling the image."""


def back_project(counts: Tensor, probes: Tensor, far_fields: Tensor | None = None) -> Tensor:
    """Back-project the residual between photon counts and an empty field of view.

    Parameters
    ----------
    counts
        (..., N, N) real, photons, zero frequency at the corner.
    probes
        (..., N, N) complex, Σ|P|² in photons of the same exposure.
    far_fields
        (..., N, N) complex, FP, where it is known already.

    Returns
    -------
    (..., N, N) complex R, in photons per pixel.
    """
    empty_far_fields = propagate(probes) if far_fields is None else far_fields
    empty_counts = intensity(empty_far_fields)
    floor = REGULARIZATION * empty_counts.mean(dim=(-2, -1), keepdim=True)
    return probes.conj() * back_propagate(amplitude_residual(empty_far_fields, empty_counts, counts, floor))
