"""A few patterns that stand for a scan: neighbours that overlap, from where they lie densest."""

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

CELL_SHARE = 0.15
"""Of the probe's diameter: one pattern is enough in a cell of that side, for those beside it say the same."""


def probe_diameter_px(probe: npt.NDArray[np.complex64] | npt.NDArray[np.complex128]) -> float:
    """Of the disc as large as the area that the probe (N, N) lights, (Σ|P|²)² / Σ|P|⁴ [px]."""
    light = np.abs(probe.astype(np.complex128)) ** 2
    return float(2 * np.sqrt(light.sum() ** 2 / (light**2).sum() / np.pi))


def median_step_px(positions_yx: npt.NDArray[np.float64]) -> float | None:
    """From a place of a scan (n, 2) to the nearest other one, the median over all [px]; None where there is but one place."""
    places = np.unique(positions_yx, axis=0)
    return float(np.median(KDTree(places).query(places, k=2)[0][:, 1])) if len(places) > 1 else None


def dense_neighbourhood(positions_yx: npt.NDArray[np.float64], diameter_px: float, most: int) -> npt.NDArray[np.int64]:
    """Rows (m,) ascending, m ≤ `most`: of all places the one whose nearest others are the nearest, and these others.

    Places are thinned first, so that repeated or very dense positions do not fill the neighbourhood.

    Parameters
    ----------
    positions_yx
        (n, 2) [px].
    diameter_px
        Of the probe; the cells that thin the places have `CELL_SHARE` of it as their side.
    most
        At least 1.
    """
    cells = np.floor((positions_yx - positions_yx.min(axis=0)) / (CELL_SHARE * diameter_px))
    rows = np.sort(np.unique(cells, axis=0, return_index=True)[1])
    if len(rows) > most:
        tree = KDTree(positions_yx[rows])
        furthest, _ = tree.query(positions_yx[rows], k=[most])
        _, nearest = tree.query(positions_yx[rows[furthest[:, 0].argmin()]], k=np.arange(1, most + 1))
        rows = np.sort(rows[nearest])
    return rows.astype(np.int64)
