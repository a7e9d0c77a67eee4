"""Scans lie on the object, fall into equal halves, and no object pixel is under both."""

from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptycho_torch.config import BaseConfig, DatasetRecipe, ProceduralBase, ScanConfig, SplitConfig
from ptycho_torch.errors import ConfigError
from ptycho_torch.scan_positions import (
    AXIS_INDEX,
    count_shared_pixels,
    scan_positions,
    split_line,
    split_rows,
    split_rows_on_time,
)


def _recipe(scan: ScanConfig, patch_size_px: Literal[32, 64] = 32, split: SplitConfig | None = None) -> DatasetRecipe:
    return DatasetRecipe(
        base=BaseConfig(procedural=ProceduralBase()),
        base_sha256=None,
        scan=scan,
        split=split or SplitConfig(),
        dose_photons=1e3,
        patch_size_px=patch_size_px,
        simulation_seed=1,
    )


def _lay(recipe: DatasetRecipe, shape: tuple[int, int]) -> np.ndarray:
    return scan_positions(recipe, shape, np.random.default_rng(3))


@st.composite
def _scans(draw: st.DrawFn) -> tuple[DatasetRecipe, tuple[int, int]]:
    scan = ScanConfig(
        pattern=draw(st.sampled_from(["jittered_raster", "uniform_random"])),
        positions=draw(st.integers(8, 300)),
        jitter_px=draw(st.sampled_from([0.0, 0.5, 1.0, 3.7])),
    )
    sizes = st.integers(40, 150).map(lambda half: 2 * half)
    return _recipe(scan, split=SplitConfig(axis=draw(st.sampled_from(["y", "x"])))), (draw(sizes), draw(sizes))


@given(_scans())
def test_every_scan_is_halved_on_the_object_and_shares_no_pixel(case: tuple[DatasetRecipe, tuple[int, int]]) -> None:
    recipe, shape = case
    positions, axis = _lay(recipe, shape), AXIS_INDEX[recipe.split.axis]
    whole = np.floor(positions + 0.5)
    assert (whole >= 16).all()
    assert (whole + 16 <= shape).all()
    train, test = split_rows(positions[:, axis], shape[axis] / 2, recipe.guard_band_px)
    assert len(train) == len(test) == recipe.scan.positions // 2
    assert train.max() < test.min()
    assert count_shared_pixels(positions[train], positions[test], recipe.patch_size_px) == 0


@given(
    coordinates=st.lists(st.floats(40, 200), min_size=4, max_size=40),
    line=st.floats(60, 180),
    patch_size_px=st.sampled_from([16, 32, 64]),
)
def test_guard_of_half_a_patch_keeps_windows_apart_at_any_line(coordinates: list[float], line: float, patch_size_px: int) -> None:
    along = np.array(coordinates)
    train, test = split_rows(along, line, patch_size_px / 2)
    last_trained = np.floor(along[train] + 0.5) + patch_size_px // 2 - 1
    first_tested = np.floor(along[test] + 0.5) - patch_size_px // 2
    assert last_trained.max(initial=-np.inf) < first_tested.min(initial=np.inf)


def test_shared_pixels_are_those_under_both_sets_of_windows() -> None:
    first, second = np.array([[10.0, 10.0], [12.0, 10.0]]), np.array([[20.4, 10.0], [20.4, 30.0]])
    # Rows 2..19 and 12..27 meet in 12..19; columns 2..17 of the one pair that meets.
    assert count_shared_pixels(first, second, 16) == 8 * 16


def test_split_drops_what_is_nearer_than_the_guard_and_keeps_the_rest() -> None:
    train, test = split_rows(np.array([50.0, 90.1, 90.0, 100.0, 110.0, 109.9, 150.0]), 100.0, 10.0)
    assert train.tolist() == [0, 2]
    assert test.tolist() == [4, 6]


def test_split_line_is_the_middle_of_the_extent() -> None:
    assert split_line(np.array([30.0, 10.0, 12.0])) == 20.0


@pytest.mark.parametrize("count", [8, 37, 100])
def test_even_raster_spreads_points_evenly(count: int) -> None:
    positions = _lay(_recipe(ScanConfig(positions=2 * count, jitter_px=0)), (200, 200))[:count]
    assert len(np.unique(positions, axis=0)) == count
    distances = np.linalg.norm(positions[:, None] - positions, axis=-1) + 1e9 * np.eye(count)
    cell = np.sqrt(68 * 168 / count)
    assert 0.5 * cell < distances.min(axis=1).min()
    assert distances.min(axis=1).max() < 1.5 * cell


def test_fixed_step_is_kept_and_the_jitter_bounded() -> None:
    straight = _lay(_recipe(ScanConfig(positions=100, step_px=7, jitter_px=0)), (200, 200))
    steps = np.diff(np.unique(straight[:50, 1]))
    assert np.allclose(steps, 7)
    jittered = _lay(_recipe(ScanConfig(positions=100, step_px=7, jitter_px=0.5)), (200, 200))
    assert 0 < np.abs(jittered - straight).max() <= 0.5


@pytest.mark.parametrize("pattern", ["jittered_raster", "uniform_random"])
def test_same_seed_same_scan(pattern: Literal["jittered_raster", "uniform_random"]) -> None:
    recipe = _recipe(ScanConfig(positions=50, pattern=pattern))
    assert _lay(recipe, (160, 160)).tobytes() == _lay(recipe, (160, 160)).tobytes()


def test_step_too_large_says_how_many_fit() -> None:
    # Each half leaves 68 by 168 px: 4 rows of 9 at a step of 20 px.
    with pytest.raises(ConfigError, match=r"only 36 positions fit into each half \(4 rows of 9\); 50 were asked for"):
        _lay(_recipe(ScanConfig(positions=100, step_px=20, jitter_px=0)), (200, 200))


@pytest.mark.parametrize("pattern", ["jittered_raster", "uniform_random"])
def test_no_room_beside_the_guard_band_is_refused(pattern: Literal["jittered_raster", "uniform_random"]) -> None:
    with pytest.raises(ConfigError, match=r"Each half leaves -6 px along the split axis"):
        _lay(_recipe(ScanConfig(positions=8, pattern=pattern), patch_size_px=64, split=SplitConfig(guard_band_px=40)), (132, 200))


def test_a_scan_that_time_splits_goes_once_over_the_whole_object() -> None:
    positions = _lay(_recipe(ScanConfig(positions=100, jitter_px=0), split=SplitConfig(axis="time")), (132, 132))
    rows = positions[:, 0]
    assert len(positions) == 100
    assert (np.diff(rows) >= 0).all()
    assert np.unique(np.diff(np.unique(rows))).round(9).tolist() == [10.0]


def test_no_room_on_the_object_that_time_splits_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"only 121 positions fit into the object .* Ask for at most 121 positions"):
        _lay(_recipe(ScanConfig(positions=200, step_px=10, jitter_px=0), split=SplitConfig(axis="time")), (132, 132))


@given(
    order=st.lists(st.integers(0, 12), min_size=2, max_size=40),
    guard_px=st.sampled_from([0.0, 3.5, 16.0]),
    seed=st.integers(0, 99),
)
def test_what_was_measured_first_trains_and_nothing_is_in_both_halves(order: list[int], guard_px: float, seed: int) -> None:
    positions, index = np.random.default_rng(seed).uniform(20, 90, (len(order), 2)), np.array(order)
    train, test = split_rows_on_time(positions, index, guard_px)
    assert not set(train) & set(test)
    assert index[train].max(initial=-1) < index[test].min(initial=99)
    assert len(train) <= len(order) // 2
    dropped = np.setdiff1d(np.arange(len(order)), [*train, *test])
    distances = np.abs(positions[:, np.newaxis] - positions[train]).max(axis=2).min(axis=1, initial=np.inf)
    assert (distances[dropped] < guard_px).all()
    assert (distances[test] >= guard_px).all()
    if guard_px == 16 and len(train) and len(test):
        assert count_shared_pixels(positions[train], positions[test], 16) == 0
