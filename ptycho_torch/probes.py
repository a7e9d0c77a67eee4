"""Probes that are computed."""

import numpy as np
import numpy.typing as npt
from scipy.special import expit


def zone_plate_probe(patch_size_px: int) -> npt.NDArray[np.complex64]:
    """The field of an annular lens a little out of focus: a ring of intensity with a curved phase.

    A zone plate with a central stop passes the spatial frequencies ε k to k. The quadratic phase of defocus, c (q/k)², sends
    each frequency q to the radius c q / (π k²), so the beam is the shadow of the lens, of outer radius R = c / (π k) = 0.22 N.
    The axis is darkest where the annulus holds a whole number m of Fresnel zone pairs, c (1 - ε²) = 2 π m. With m = N / 32
    every N has the same lens, k = 0.34 / px, and a larger window lies further out of focus.

    Parameters
    ----------
    patch_size_px
        N, even, at least 32.

    Returns
    -------
    (N, N) complex64, centred on pixel (N/2, N/2), scaled to Σ|P|² = (N/2)²: over 95 % of it lies in the central N/2 by N/2, the
    rms radius is about N/6, and at the window's edge the intensity is below a thousandth of the peak.
    """
    radius, stop, edge_softness = 0.22 * patch_size_px, 0.4, 0.08
    defocus_rad = 2 * np.pi * (patch_size_px / 32) / (1 - stop**2)
    outer_frequency = defocus_rad / (np.pi * radius)
    frequencies = np.fft.fftfreq(patch_size_px) / outer_frequency
    lens_radius = np.hypot(frequencies[:, None], frequencies)
    pupil = expit((1 - lens_radius) / edge_softness) * expit((lens_radius - stop) / edge_softness)
    field = np.fft.fftshift(np.fft.ifft2(pupil * np.exp(-1j * defocus_rad * lens_radius**2)))
    return (field * (patch_size_px / 2 / np.linalg.norm(field))).astype(np.complex64)
