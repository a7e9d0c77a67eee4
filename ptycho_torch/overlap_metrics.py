"""How much a view's patterns overlap: metrics 1, 2 and 3 of specification 1.0, and nominal spacing as a diagnostic.

Each illumination is taken for a disc of diameter D. Two discs at a distance d share the fraction

    f(d) = (2 / π) (acos u - u √(1 - u²)),   u = min(d / D, 1)

of their area: f(0) = 1, f(D/2) ≈ 0.391, f = 0 from D on.
"""

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist

from ptycho_torch.errors import ViewUnavailableError

__all__ = [
    "acceptance_bound",
    "disc_overlap",
    "greedy_spaced_rows",
    "group_overlap",
    "image_overlap",
    "overlap_between_groups",
]

_CHUNK_GROUPS = 512


def disc_overlap(distances_px: npt.NDArray[np.float64], diameter_px: float) -> npt.NDArray[np.float64]:
    """The fraction of its area that a disc shares with an equal one at each distance; any shape, the same shape."""
    u = np.minimum(distances_px / diameter_px, 1.0)
    overlap: npt.NDArray[np.float64] = 2 / np.pi * (np.arccos(u) - u * np.sqrt(1 - u**2))
    return overlap


def group_overlap(
    positions_yx: npt.NDArray[np.float64], groups: npt.NDArray[np.int64], *, neighbor_count: int, diameter_px: float
) -> float:
    """Metric 1: the mean overlap of a member with its K nearest others of its group, over all members of all groups.

    Parameters
    ----------
    positions_yx
        (n, 2) [px].
    groups
        (g, C) rows of `positions_yx`, C at least 2.
    neighbor_count
        K; a group with fewer others gives all of them.
    diameter_px
        D [px].
    """
    members = positions_yx[groups]
    distances = np.linalg.norm(members[:, :, None] - members[:, None, :], axis=-1)
    others = distances[:, ~np.eye(groups.shape[1], dtype=bool)].reshape(*groups.shape, -1)
    nearest = np.sort(others, axis=-1)[..., :neighbor_count]
    return float(disc_overlap(nearest, diameter_px).mean())


def image_overlap(positions_yx: npt.NDArray[np.float64], *, neighbor_count: int, diameter_px: float) -> float:
    """Metric 2: the mean overlap of a pattern with its K nearest others, over all distinct positions (n, 2) [px].

    Raises
    ------
    ViewUnavailableError
        There are fewer than two distinct positions.
    """
    distinct = np.unique(positions_yx, axis=0)
    if len(distinct) < 2:
        raise ViewUnavailableError(
            f"{len(positions_yx)} patterns lie at {len(distinct)} distinct position; overlap needs two.",
            hint="Keep more patterns (image_fraction).",
        )
    neighbors = min(neighbor_count, len(distinct) - 1)
    distances = KDTree(distinct).query(distinct, k=neighbors + 1)[0][:, 1:]
    return float(disc_overlap(distances, diameter_px).mean())


def overlap_between_groups(positions_yx: npt.NDArray[np.float64], groups: npt.NDArray[np.int64], *, diameter_px: float) -> float:
    """Metric 3: the mean overlap of a group's centroid with those of the groups nearer than D (0 without any), over all groups.

    Parameters
    ----------
    positions_yx
        (n, 2) [px].
    groups
        (g, C) rows of `positions_yx`.
    diameter_px
        D [px].
    """
    centroids = positions_yx[groups].mean(axis=1)
    means = [
        _mean_overlap_with_others(centroids, start, min(start + _CHUNK_GROUPS, len(centroids)), diameter_px)
        for start in range(0, len(centroids), _CHUNK_GROUPS)
    ]
    return float(np.concatenate(means).mean())


def _mean_overlap_with_others(
    centroids: npt.NDArray[np.float64], start: int, stop: int, diameter_px: float
) -> npt.NDArray[np.float64]:
    """Metric 3 of each group from `start` to `stop`."""
    distances = cdist(centroids[start:stop], centroids)
    distances[np.arange(stop - start), np.arange(start, stop)] = np.inf
    touching = (distances < diameter_px).sum(axis=1)
    means: npt.NDArray[np.float64] = disc_overlap(distances, diameter_px).sum(axis=1) / np.maximum(touching, 1)
    return means


def greedy_spaced_rows(positions_yx: npt.NDArray[np.float64], spacing_px: float) -> npt.NDArray[np.int64]:
    """Rows of the positions that the greedy rule accepts: in the order of (y, x), each at least `spacing_px` from all before."""
    waiting = np.lexsort((positions_yx[:, 1], positions_yx[:, 0]))
    accepted = []
    while len(waiting):
        accepted.append(waiting[0])
        distances = np.linalg.norm(positions_yx[waiting] - positions_yx[waiting[0]], axis=1)
        waiting = waiting[1:][distances[1:] >= spacing_px]
    return np.array(accepted, dtype=np.int64)


def acceptance_bound(positions_yx: npt.NDArray[np.float64], diameter_px: float) -> float:
    """The largest share of positions that discs side by side on the scan's bounding box could accept (ACCEPTANCE-001)."""
    area = float(np.prod(np.ptp(positions_yx, axis=0)))
    return area / (len(positions_yx) * np.pi * (diameter_px / 2) ** 2)
