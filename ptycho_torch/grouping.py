"""Groups of neighbouring patterns: an anchor and C - 1 of its K nearest neighbours (OVERSAMPLING-001)."""

import numpy as np
import numpy.typing as npt

from ptycho_torch.errors import GroupingError

__all__ = ["covering_groups", "draw_groups", "groups_in_force", "nearest_groups"]


def draw_groups(
    positions_yx: npt.NDArray[np.float64], *, gridsize: int, neighbor_count: int, n_groups: int | None, seed: int
) -> npt.NDArray[np.int64]:
    """Draw groups at random, each an anchor followed by C - 1 of its K nearest neighbours without replacement.

    No anchor comes twice until every pattern has been one; more groups than patterns go round the anchors again.

    Parameters
    ----------
    positions_yx
        (n, 2) scan positions [px].
    gridsize
        The root of C.
    neighbor_count
        K; a view of fewer than K + 1 patterns uses all the others.
    n_groups
        How many groups g; None means as many as give every pattern one turn, ⌈n / C⌉.
    seed
        The same seed and positions give the same groups.

    Returns
    -------
    (g, C) int64 rows of `positions_yx`, the anchor first.

    Raises
    ------
    GroupingError
        If K < C; if there are fewer than C patterns; if more groups than patterns are asked for and gridsize is 1 or K = C.
    """
    n_patterns, group_size = len(positions_yx), gridsize**2
    _require_patterns(n_patterns, group_size)
    _require_neighbors(group_size, neighbor_count)
    groups = groups_in_force(n_patterns, gridsize, n_groups)
    _require_groups(groups, n_patterns, group_size, neighbor_count)
    rng = np.random.default_rng(seed)
    anchors = np.resize(rng.permutation(n_patterns), groups)
    if group_size == 1:
        return anchors[:, None]
    neighbors = _nearest_others(positions_yx, min(neighbor_count, n_patterns - 1))[anchors]
    chosen = rng.random(neighbors.shape).argsort(axis=1)[:, : group_size - 1]
    return np.column_stack([anchors, np.take_along_axis(neighbors, chosen, axis=1)])


def nearest_groups(positions_yx: npt.NDArray[np.float64], group_size: int) -> npt.NDArray[np.int64]:
    """Every position with its C - 1 nearest others: (n, C) int64, nothing drawn; for stitching, where each pattern counts once.

    Raises
    ------
    GroupingError
        If there are fewer than C patterns.
    """
    _require_patterns(len(positions_yx), group_size)
    own_rows = np.arange(len(positions_yx))[:, None]
    return own_rows if group_size == 1 else np.hstack([own_rows, _nearest_others(positions_yx, group_size - 1)])


def covering_groups(positions_yx: npt.NDArray[np.float64], group_size: int, looks: int) -> npt.NDArray[np.int64]:
    """Of `nearest_groups` those that suffice: the group of a position that is in `looks` of those before it is left out.

    Returns
    -------
    (g, C) int64, in the order of their first positions. Every position is in one of them at least.
    """
    groups = nearest_groups(positions_yx, group_size)
    seen, chosen = [0] * len(groups), []
    for number, rows in enumerate(groups.tolist()):
        if seen[number] < looks:
            chosen.append(number)
            for row in rows:
                seen[row] += 1
    return groups[chosen]


def groups_in_force(n_patterns: int, gridsize: int, n_groups: int | None) -> int:
    """The number of groups that are drawn from `n_patterns` where a view asks for `n_groups`."""
    return -(-n_patterns // gridsize**2) if n_groups is None else n_groups


def _nearest_others(positions_yx: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.int64]:
    """The `count` nearest other rows of each row: (n, count).

    Where positions coincide, a row's own index need not come first, nor be among the count + 1 nearest at all: it is looked
    for, and where it is absent the farthest candidate goes instead.
    """
    from scipy.spatial import KDTree  # half a second, which a job that groups nothing need not wait for

    candidates = KDTree(positions_yx).query(positions_yx, k=count + 1)[1]
    is_self = candidates == np.arange(len(positions_yx))[:, None]
    is_self[~is_self.any(axis=1), -1] = True
    others: npt.NDArray[np.int64] = candidates[~is_self].reshape(-1, count)
    return others


def _require_patterns(n_patterns: int, group_size: int) -> None:
    if n_patterns < group_size:
        raise GroupingError(
            f"A group needs {group_size} patterns; there are {n_patterns}.",
            hint="Use a smaller gridsize or keep more patterns (image_fraction).",
        )


def _require_neighbors(group_size: int, neighbor_count: int) -> None:
    if group_size > 1 and neighbor_count < group_size:
        raise GroupingError(
            f"neighbor_count is {neighbor_count}; groups of {group_size} need at least {group_size} (OVERSAMPLING-001).",
            hint=f"Set neighbor_count to {group_size} or more.",
        )


def _require_groups(groups: int, n_patterns: int, group_size: int, neighbor_count: int) -> None:
    if groups <= n_patterns:
        return
    if group_size == 1:
        raise GroupingError(
            f"{groups} groups of {n_patterns} patterns were asked for; gridsize 1 cannot oversample (OVERSAMPLING-001).",
            hint=f"Lower `groups` to {n_patterns} or less.",
        )
    if neighbor_count <= group_size:
        raise GroupingError(
            f"{groups} groups of {n_patterns} patterns are oversampling, which needs neighbor_count above {group_size}; "
            f"got {neighbor_count} (OVERSAMPLING-001).",
            hint=f"Ask for at most {n_patterns} groups or raise neighbor_count.",
        )
