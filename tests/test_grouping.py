"""Groups are an anchor and some of its nearest neighbours, drawn the same for the same seed."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptycho_torch.errors import GroupingError
from ptycho_torch.grouping import covering_groups, draw_groups, nearest_groups


def _positions(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 100, (count, 2))


def _distances(positions: np.ndarray) -> np.ndarray:
    distances: np.ndarray = np.linalg.norm(positions[:, None] - positions, axis=-1)
    return distances


@given(count=st.integers(9, 60), gridsize=st.integers(1, 3), extra=st.integers(0, 4), seed=st.integers(0, 99))
def test_members_differ_and_are_among_the_nearest_of_their_anchor(count: int, gridsize: int, extra: int, seed: int) -> None:
    positions, neighbors = _positions(count, seed), gridsize**2 + extra
    groups = draw_groups(positions, gridsize=gridsize, neighbor_count=neighbors, n_groups=None, seed=seed)
    assert groups.shape == (-(-count // gridsize**2), gridsize**2)
    assert groups.dtype == np.int64
    nearest = _distances(positions).argsort(axis=1)[:, : neighbors + 1]
    for group in groups:
        assert len(set(group)) == len(group)
        assert set(group) <= set(nearest[group[0]])


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=5, max_size=40))
def test_coinciding_positions_never_pair_a_pattern_with_itself(points: list[tuple[int, int]]) -> None:
    positions = np.array(points, dtype=np.float64)
    for groups in (
        draw_groups(positions, gridsize=2, neighbor_count=5, n_groups=len(points), seed=0),
        nearest_groups(positions, 4),
    ):
        assert (np.diff(np.sort(groups, axis=1), axis=1) > 0).all()


def test_every_neighbor_is_drawn_equally_often() -> None:
    positions = _positions(8)
    groups = draw_groups(positions, gridsize=2, neighbor_count=7, n_groups=16000, seed=5)
    partners = np.bincount(groups[groups[:, 0] == 0, 1:].ravel(), minlength=8)
    # 2000 groups, each neighbour in 3 of 7: 857 of standard deviation 22.
    assert partners[0] == 0
    assert np.abs(partners[1:] - 2000 * 3 / 7).max() < 5 * 22


def test_same_seed_same_groups_and_another_seed_others() -> None:
    first, again, other = (
        draw_groups(_positions(50), gridsize=2, neighbor_count=7, n_groups=40, seed=seed) for seed in (1, 1, 2)
    )
    assert first.tobytes() == again.tobytes()
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("gridsize", [1, 2])
def test_anchors_do_not_repeat_while_there_are_enough(gridsize: int) -> None:
    groups = draw_groups(_positions(30), gridsize=gridsize, neighbor_count=7, n_groups=30, seed=1)
    assert sorted(groups[:, 0]) == list(range(30))


def test_oversampling_goes_round_the_anchors() -> None:
    groups = draw_groups(_positions(10), gridsize=2, neighbor_count=7, n_groups=25, seed=1)
    assert sorted(np.bincount(groups[:, 0])) == [2] * 5 + [3] * 5


def test_a_small_view_uses_all_the_others() -> None:
    groups = draw_groups(_positions(4), gridsize=2, neighbor_count=7, n_groups=None, seed=1)
    assert sorted(groups[0]) == [0, 1, 2, 3]


def test_nearest_groups_hold_the_nearest_in_order() -> None:
    positions = _positions(40)
    assert np.array_equal(nearest_groups(positions, 4), _distances(positions).argsort(axis=1)[:, :4])
    assert nearest_groups(positions, 1).tolist() == [[row] for row in range(40)]


@given(count=st.integers(9, 80), gridsize=st.integers(1, 3), looks=st.integers(1, 4), seed=st.integers(0, 99))
def test_covering_groups_leave_out_those_alone_whose_pattern_was_seen_enough(
    count: int, gridsize: int, looks: int, seed: int
) -> None:
    positions = _positions(count, seed)
    groups = covering_groups(positions, gridsize**2, looks)
    assert np.array_equal(groups, nearest_groups(positions, gridsize**2)[groups[:, 0]])
    assert (np.diff(groups[:, 0]) > 0).all()
    for row in range(count):
        seen_before = (groups[groups[:, 0] < row] == row).sum()
        assert (row in groups[:, 0]) == (seen_before < looks)


def test_covering_groups_are_fewer_than_patterns_only_where_they_overlap() -> None:
    positions = _positions(400)
    assert len(covering_groups(positions, 1, 2)) == 400
    assert len(covering_groups(positions, 4, 1)) < 200 < len(covering_groups(positions, 4, 2)) < 320
    assert len(covering_groups(positions, 4, 400)) == 400


def test_a_hundred_thousand_positions_take_under_a_second() -> None:
    positions = _positions(100_000)
    started = time.process_time()
    draw_groups(positions, gridsize=2, neighbor_count=7, n_groups=None, seed=0)
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("count", "gridsize", "neighbors", "n_groups", "message"),
    [
        (3, 2, 7, None, "A group needs 4 patterns; there are 3"),
        (30, 2, 3, None, "neighbor_count is 3; groups of 4 need at least 4"),
        (30, 1, 7, 31, "31 groups of 30 patterns were asked for; gridsize 1 cannot oversample .* Lower `groups` to 30"),
        (30, 2, 4, 31, "31 groups of 30 patterns are oversampling, which needs neighbor_count above 4; got 4"),
    ],
)
def test_impossible_groups_are_refused(count: int, gridsize: int, neighbors: int, n_groups: int | None, message: str) -> None:
    with pytest.raises(GroupingError, match=message):
        draw_groups(_positions(count), gridsize=gridsize, neighbor_count=neighbors, n_groups=n_groups, seed=0)


def test_nearest_groups_need_enough_patterns() -> None:
    with pytest.raises(GroupingError, match="A group needs 4 patterns; there are 2"):
        nearest_groups(_positions(2), 4)
