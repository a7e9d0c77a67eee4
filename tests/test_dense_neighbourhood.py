"""The patterns that stand for a scan lie where it is densest, side by side, and are few."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptycho_torch.dense_neighbourhood import CELL_SHARE, dense_neighbourhood, probe_diameter_px


@settings(deadline=None)
@given(n=st.integers(1, 200), most=st.integers(1, 40), seed=st.integers(0, 99))
def test_rows_ascend_and_are_at_most_so_many(n: int, most: int, seed: int) -> None:
    rows = dense_neighbourhood(np.random.default_rng(seed).uniform(0, 100, (n, 2)), 10.0, most)
    assert 1 <= len(rows) <= most
    assert (np.diff(rows) > 0).all()
    assert 0 <= rows[0] <= rows[-1] < n


def test_the_denser_of_two_clusters_is_taken() -> None:
    grid = np.stack(np.meshgrid(np.arange(5.0), np.arange(5.0)), axis=-1).reshape(-1, 2)
    rows = dense_neighbourhood(np.concatenate([grid * 8, grid * 4 + 1000]), 10.0, 25)
    np.testing.assert_array_equal(rows, np.arange(25, 50))


def test_repeated_places_count_once() -> None:
    places = np.repeat([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0]], 50, axis=0)
    assert len(dense_neighbourhood(places, 10.0, 64)) == 3


def test_a_very_dense_line_is_thinned_to_a_cell_each() -> None:
    line = np.stack([np.zeros(1000), np.linspace(0, 30, 1000, endpoint=False)], axis=1)
    assert len(dense_neighbourhood(line, 10.0, 64)) == 30 / (10 * CELL_SHARE)


@pytest.mark.parametrize("radius", [5, 10, 20])
def test_the_diameter_of_a_disc_is_its_own(radius: int) -> None:
    y, x = np.mgrid[:64, :64] - 32
    disc = (y**2 + x**2 <= radius**2).astype(np.complex64)
    assert probe_diameter_px(disc * np.complex64(3j)) == pytest.approx(2 * radius, rel=0.03)
