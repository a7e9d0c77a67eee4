"""Objects that are computed: complex transmission, amplitude near 1, phase in radians, the same seed the same object.

Each fills its whole field with structure, so that both halves of a split scan, and the periphery, have something to resolve.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from ptycho_torch.config import ProceduralBase

EDGE_WIDTH_PX = 0.7
"""Half-width of the star's soft edges: sharp to the eye, and still sampled."""


def make_object(base: ProceduralBase) -> npt.NDArray[np.complex64]:
    """The object that `base` names.

    Returns
    -------
    (H, W) complex64 transmission, with (H, W) = `base.size`.
    """
    return _OBJECTS[base.object](base.size, np.random.default_rng(base.seed))


def siemens_star(size: tuple[int, int], rng: np.random.Generator) -> npt.NDArray[np.complex64]:
    """A Siemens star whose spokes change places from ring to ring: 36 spokes, amplitude 0.9 to 1, phase 1.2 rad.

    The signed distance to the nearest edge is close to (r / n) sin(n θ) between spokes and (w / π) sin(π r / w) between rings of
    width w; its hyperbolic tangent is the soft edge. Towards the centre the spokes grow too fine and fade to grey by themselves.
    `rng` turns the star and moves its centre by a few pixels.
    """
    spokes, ring_width_px = 36, 24.0
    y, x = _centred_grid(size, rng.uniform(-4, 4, size=2))
    radius, angle = np.hypot(y, x), np.arctan2(y, x) + rng.uniform(0, 2 * np.pi)
    spoke_edges = np.tanh(radius / spokes * np.sin(spokes * angle) / EDGE_WIDTH_PX)
    ring_edges = np.tanh(ring_width_px / np.pi * np.sin(np.pi * radius / ring_width_px) / EDGE_WIDTH_PX)
    return _transmission((1 + spoke_edges * ring_edges) / 2, absorption=0.1, phase_range_rad=1.2)


def weak_contrast(size: tuple[int, int], rng: np.random.Generator) -> npt.NDArray[np.complex64]:
    """A smooth Gaussian random field at two scales, 3 and 9 px: amplitude 0.97 to 1, phase from -0.3 to 0.3 rad."""
    white = rng.standard_normal((2, *size))
    fields = [gaussian_filter(noise, sigma_px, mode="wrap") for noise, sigma_px in zip(white, (3.0, 9.0), strict=True)]
    field = sum(field / field.std() for field in fields)
    return _transmission((field - np.min(field)) / np.ptp(field), absorption=0.03, phase_range_rad=0.6)


def random_edges(size: tuple[int, int], rng: np.random.Generator) -> npt.NDArray[np.complex64]:
    """Overlapping discs, the later above the earlier (dead leaves): amplitude 0.85 to 1, phase within 1 rad.

    Radii of 4 to 40 px follow r^-3, which gives natural images their scale-free edges (Lee, Mumford and Huang, Int. J. Comput.
    Vis. 41, 2001).
    """
    smallest_px, largest_px, layers = 4.0, 40.0, 6
    mean_area_px = 2 * np.pi * np.log(largest_px / smallest_px) / (smallest_px**-2 - largest_px**-2)
    n_discs = int(layers * size[0] * size[1] / mean_area_px)
    radii = (rng.uniform(largest_px**-2, smallest_px**-2, n_discs)) ** -0.5
    centers, levels = rng.uniform((0, 0), size, (n_discs, 2)), rng.uniform(0, 1, n_discs)
    canvas = np.full(size, 0.5)
    for center, radius, level in zip(centers, radii, levels, strict=True):
        _paint_disc(canvas, center, radius, level)
    return _transmission(canvas, absorption=0.15, phase_range_rad=1.0)


def _paint_disc(canvas: npt.NDArray[np.float64], center_yx: npt.NDArray[np.float64], radius: float, level: float) -> None:
    """Cover a part of `canvas` with `level`; the rim is one pixel soft."""
    low = np.maximum(np.floor(center_yx - radius).astype(int) - 1, 0)
    high = np.ceil(center_yx + radius).astype(int) + 2
    window = canvas[low[0] : high[0], low[1] : high[1]]
    y, x = np.ogrid[low[0] : low[0] + window.shape[0], low[1] : low[1] + window.shape[1]]
    cover = np.clip(radius + 0.5 - np.hypot(y - center_yx[0], x - center_yx[1]), 0, 1)
    window += cover * (level - window)


def _centred_grid(size: tuple[int, int], shift: npt.NDArray[np.float64]) -> list[npt.NDArray[np.float64]]:
    """Rows (H, 1) and columns (1, W) about the middle of the field moved by `shift` [px]."""
    y, x = np.ogrid[: size[0], : size[1]]
    return [y - size[0] / 2 - shift[0], x - size[1] / 2 - shift[1]]


def _transmission(thickness: npt.NDArray[np.float64], *, absorption: float, phase_range_rad: float) -> npt.NDArray[np.complex64]:
    """One material of thickness 0 to 1: amplitude 1 - absorption · t and phase from -half to +half of its range."""
    phase_rad = phase_range_rad * (thickness - 0.5)
    transmission: npt.NDArray[np.complex64] = ((1 - absorption * thickness) * np.exp(1j * phase_rad)).astype(np.complex64)
    return transmission


_OBJECTS: dict[str, Callable[[tuple[int, int], np.random.Generator], npt.NDArray[np.complex64]]] = {
    "siemens_star": siemens_star,
    "weak_contrast": weak_contrast,
    "random_edges": random_edges,
}
