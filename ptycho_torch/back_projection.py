"""The fixed physics layer in front of a network: photon counts become an image in real space.

    R = conj(P) · F⁻¹[ (n - I₀) / sqrt(I₀ + reg) · e^{i arg FP} ]        I₀ = |FP|²

The counts minus those of an empty field of view, taken as a change of the far field's amplitude with the empty field's phase,
are propagated back and weighted by the probe. R is linear in n, so it is unbiased however few the photons.
"""

from torch import Tensor

from ptycho_torch.physics import Illumination, amplitude_residual, back_propagate, intensity

REGULARIZATION = 0.1
"""`reg` as a share of the mean of I₀: keeps dark pixels of the empty pattern from ruling the image."""


def back_project(counts: Tensor, illumination: Illumination) -> Tensor:
    """Back-project the residual between photon counts and an empty field of view.

    Parameters
    ----------
    counts
        (..., N, N) real, photons, zero frequency at the corner.
    illumination
        (..., N, N) complex P and FP, Σ|P|² in photons of the same exposure.

    Returns
    -------
    (..., N, N) complex R, in photons per pixel.
    """
    empty_counts = intensity(illumination.far_fields)
    floor = REGULARIZATION * empty_counts.mean(dim=(-2, -1), keepdim=True)
    residual = amplitude_residual(illumination.far_fields, empty_counts, counts, floor)
    return illumination.probes.conj() * back_propagate(residual)
