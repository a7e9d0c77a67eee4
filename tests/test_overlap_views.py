"""The overlap metrics agree with loops written out, and views are made of what they say."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptycho_torch.atomic_files import sha256_file
from ptycho_torch.config import BaseConfig, DatasetRecipe, ProceduralBase, ScanConfig, SplitConfig, ViewConfig, ViewRecipe
from ptycho_torch.errors import DataContractError, GroupingError, ViewUnavailableError
from ptycho_torch.grouping import draw_groups
from ptycho_torch.npz_contract import read_dataset
from ptycho_torch.overlap_metrics import (
    acceptance_bound,
    disc_overlap,
    greedy_spaced_rows,
    group_overlap,
    image_overlap,
    overlap_between_groups,
)
from ptycho_torch.overlap_views import current_view, make_view, measure_view, subsample_rows
from ptycho_torch.simulation import make_dataset

DIAMETER_PX = 30.0


def _positions(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 80, (count, 2))


def _lens(distance: float) -> float:
    """The shared fraction of two discs, as specification 1.0 writes it."""
    radius = DIAMETER_PX / 2
    if distance >= DIAMETER_PX:
        return 0.0
    area = 2 * radius**2 * math.acos(distance / (2 * radius)) - distance / 2 * math.sqrt(4 * radius**2 - distance**2)
    return area / (math.pi * radius**2)


def test_disc_overlap_has_its_closed_form_values() -> None:
    overlap = disc_overlap(np.array([0, 15, 30, 31, 1e9]), DIAMETER_PX)
    assert overlap == pytest.approx([1, 2 / 3 - math.sqrt(3) / (2 * math.pi), 0, 0, 0])
    assert overlap[1] == pytest.approx(0.391, abs=5e-4)


@given(st.floats(0, 40), st.floats(0, 40))
def test_disc_overlap_is_the_lens_and_falls_with_distance(first: float, second: float) -> None:
    near, far = disc_overlap(np.sort([first, second]), DIAMETER_PX)
    assert near >= far
    assert near == pytest.approx(_lens(min(first, second)), abs=1e-9)


def test_disc_overlap_is_the_shared_area_on_a_fine_grid() -> None:
    y, x = np.mgrid[-40:40:0.1, -40:40:0.1]
    both = (np.hypot(y, x) < 15) & (np.hypot(y, x - 11) < 15)
    assert both.sum() * 0.01 / (math.pi * 15**2) == pytest.approx(disc_overlap(np.array([11.0]), DIAMETER_PX)[0], rel=5e-3)


@pytest.mark.parametrize(("gridsize", "neighbors"), [(2, 7), (2, 2), (3, 4)])
def test_metric_1_is_the_loop_over_members(gridsize: int, neighbors: int) -> None:
    positions = _positions(25)
    groups = draw_groups(positions, gridsize=gridsize, neighbor_count=12, n_groups=6, seed=0)
    samples = []
    for group in groups:
        for member in group:
            distances = sorted(math.dist(positions[member], positions[other]) for other in group if other != member)
            nearest = distances[:neighbors]
            samples.append(sum(map(_lens, nearest)) / len(nearest))
    got = group_overlap(positions, groups, neighbor_count=neighbors, diameter_px=DIAMETER_PX)
    assert got == pytest.approx(np.mean(samples))


@pytest.mark.parametrize("neighbors", [1, 6, 50])
def test_metric_2_is_the_loop_over_distinct_images(neighbors: int) -> None:
    positions = _positions(20)
    samples = []
    for i in range(20):
        nearest = sorted(math.dist(positions[i], positions[j]) for j in range(20) if j != i)[:neighbors]
        samples.append(sum(map(_lens, nearest)) / len(nearest))
    with_duplicates = np.concatenate([positions, positions[:7]])
    got = image_overlap(with_duplicates, neighbor_count=neighbors, diameter_px=DIAMETER_PX)
    assert got == pytest.approx(np.mean(samples))


@pytest.mark.parametrize(("gridsize", "n_groups"), [(1, 20), (2, 5), (2, 600)])
def test_metric_3_is_the_loop_over_groups(gridsize: int, n_groups: int) -> None:
    positions = _positions(20)
    groups = draw_groups(positions, gridsize=gridsize, neighbor_count=7, n_groups=n_groups, seed=0)
    centroids = [positions[group].mean(axis=0) for group in groups]
    samples = []
    for i, centroid in enumerate(centroids):
        distances = [math.dist(centroid, other) for j, other in enumerate(centroids) if j != i]
        touching = [_lens(distance) for distance in distances if distance < DIAMETER_PX]
        samples.append(sum(touching) / len(touching) if touching else 0.0)
    assert overlap_between_groups(positions, groups, diameter_px=DIAMETER_PX) == pytest.approx(np.mean(samples))


def test_metric_3_of_groups_far_apart_is_zero() -> None:
    positions = np.array([[0.0, 0], [1, 0], [0, 1], [1, 1], [500, 0], [501, 0], [500, 1], [501, 1]])
    assert overlap_between_groups(positions, np.arange(8).reshape(2, 4), diameter_px=DIAMETER_PX) == 0


def test_metric_2_of_one_place_is_degenerate() -> None:
    with pytest.raises(ViewUnavailableError, match="5 patterns lie at 1 distinct position"):
        image_overlap(np.ones((5, 2)), neighbor_count=6, diameter_px=DIAMETER_PX)


@given(st.integers(0, 50), st.floats(0, 60))
def test_greedy_rule_is_the_loop_in_y_then_x(seed: int, spacing_px: float) -> None:
    positions = np.random.default_rng(seed).integers(0, 60, (30, 2)).astype(np.float64)
    accepted: list[tuple[float, float]] = []
    for y, x in sorted(map(tuple, positions)):
        if all(math.dist((y, x), other) >= spacing_px for other in accepted):
            accepted.append((y, x))
    assert [tuple(point) for point in positions[greedy_spaced_rows(positions, spacing_px)]] == accepted


def test_acceptance_bound_of_the_published_scan() -> None:
    corners = np.array([[0, 0], [335.82, 167.94]])
    positions = np.concatenate([corners, np.full((5086, 2), 50.0)])
    assert acceptance_bound(positions, 38.4) == pytest.approx(0.00957, abs=5e-6)


@given(st.integers(1, 300), st.floats(0.01, 1), st.integers(0, 2**32 - 1))
def test_subsample_keeps_its_share_in_order_and_once(n_images: int, fraction: float, seed: int) -> None:
    rows = subsample_rows(n_images, fraction, seed)
    assert len(rows) == max(1, round(fraction * n_images))
    assert (np.diff(rows) > 0).all()
    assert 0 <= rows[0] <= rows[-1] < n_images
    assert np.array_equal(rows, subsample_rows(n_images, fraction, seed))


def _recipe(view: ViewConfig, name: str = "dense") -> ViewRecipe:
    dataset = DatasetRecipe(
        base=BaseConfig(procedural=ProceduralBase(size=(128, 96))),
        base_sha256=None,
        scan=ScanConfig(positions=80),
        split=SplitConfig(),
        dose_photons=1e3,
        patch_size_px=32,
        simulation_seed=42,
    )
    return ViewRecipe(
        dataset=dataset, name=name, view=view, neighbor_count=7, probe_diameter_px=19.2, subsampling_seed=456, grouping_seed=123
    )


SPARSE = ViewConfig(gridsize=2, image_fraction=0.25, groups=20, nominal_overlap=0.2)


@pytest.fixture(scope="module")
def phase_c(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phase C of every view below: 40 patterns in each half."""
    folder = tmp_path_factory.mktemp("phase_c")
    make_dataset(_recipe(SPARSE).dataset, folder)
    return folder


def test_view_holds_the_subsampled_patterns_unchanged(phase_c: Path, tmp_path: Path) -> None:
    make_view(_recipe(SPARSE, "sparse"), phase_c, tmp_path)
    for half in ("train", "test"):
        whole = read_dataset(phase_c / f"patched_{half}.npz")
        view = read_dataset(tmp_path / f"sparse_{half}.npz")
        rows = subsample_rows(40, 0.25, 456)
        assert np.array_equal(view.diffraction, whole.diffraction[rows])
        assert np.array_equal(view.positions_yx, whole.positions_yx[rows])
        assert view.intensity_scale == whole.intensity_scale


def test_bundle_tells_metrics_counts_and_digests(phase_c: Path, tmp_path: Path) -> None:
    bundle = make_view(_recipe(SPARSE, "sparse"), phase_c, tmp_path)
    assert json.loads((tmp_path / "metrics_bundle.json").read_text()) == bundle
    train = bundle["train"]
    counted = ("n_images_total", "n_images_subsampled", "n_unique_images", "n_groups", "n_groups_actual")
    assert [train[key] for key in counted] == [40, 10, 10, 20, 20]
    assert train["nominal_spacing_px"] == pytest.approx(25.6)
    assert 0 < train["nominal_accepted"] < 10
    assert bundle["files"]["sparse_test.npz"]["sha256"] == sha256_file(tmp_path / "sparse_test.npz")


def test_metrics_use_the_recipes_own_seed_neighbors_and_disc(phase_c: Path) -> None:
    positions, recipe = read_dataset(phase_c / "patched_train.npz").positions_yx, _recipe(SPARSE)
    groups = draw_groups(positions, gridsize=2, neighbor_count=7, n_groups=20, seed=123)
    metrics = measure_view(positions, 40, recipe)
    assert metrics["metric_1_group_based_avg"] == group_overlap(positions, groups, neighbor_count=7, diameter_px=19.2)
    assert metrics["metric_2_image_based_avg"] == image_overlap(positions, neighbor_count=7, diameter_px=19.2)
    assert metrics["metric_3_group_to_group_avg"] == overlap_between_groups(positions, groups, diameter_px=19.2)


def test_gridsize_1_has_no_metric_1_and_no_nominal_spacing_unless_named() -> None:
    metrics = measure_view(_positions(12), 12, _recipe(ViewConfig(gridsize=1), "baseline"))
    assert not {"metric_1_group_based_avg", "nominal_spacing_px"} & metrics.keys()
    assert metrics["n_groups_actual"] == 12


def test_denser_views_overlap_more(phase_c: Path) -> None:
    positions = read_dataset(phase_c / "patched_train.npz").positions_yx
    thinned = positions[subsample_rows(40, 0.25, 456)]
    dense, sparse = (measure_view(kept, 40, _recipe(SPARSE)) for kept in (positions, thinned))
    for metric in ("metric_1_group_based_avg", "metric_2_image_based_avg"):
        assert dense[metric] > sparse[metric] + 0.1


def test_same_recipe_same_bytes_and_it_is_current(phase_c: Path, tmp_path: Path) -> None:
    recipe = _recipe(SPARSE)
    first, again = (make_view(recipe, phase_c, tmp_path / name) for name in ("first", "again"))
    assert first == again == current_view(recipe, phase_c, tmp_path / "first")
    assert current_view(recipe.model_copy(update={"subsampling_seed": 1}), phase_c, tmp_path / "first") is None
    assert current_view(recipe, tmp_path, tmp_path / "first") is None


def test_view_of_other_sources_is_not_current(phase_c: Path, tmp_path: Path) -> None:
    recipe = _recipe(SPARSE)
    make_view(recipe, phase_c, tmp_path / "view")
    make_dataset(recipe.dataset.model_copy(update={"dose_photons": 2e3}), tmp_path / "other")
    assert current_view(recipe, tmp_path / "other", tmp_path / "view") is None


def test_view_with_too_few_patterns_is_unavailable_and_writes_nothing(phase_c: Path, tmp_path: Path) -> None:
    view = ViewConfig(gridsize=2, image_fraction=0.175)
    with pytest.raises(ViewUnavailableError, match="View sparse keeps 7 patterns of the train half; it needs 8"):
        make_view(_recipe(view, "sparse"), phase_c, tmp_path / "view")
    assert not (tmp_path / "view").exists()


def test_groups_that_cannot_be_drawn_are_refused(phase_c: Path, tmp_path: Path) -> None:
    with pytest.raises(GroupingError, match="41 groups of 40 patterns were asked for; gridsize 1 cannot oversample"):
        make_view(_recipe(ViewConfig(gridsize=1, groups=41)), phase_c, tmp_path / "view")


def test_missing_phase_c_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataContractError, match=r"patched_train\.npz: no such file"):
        make_view(_recipe(SPARSE), tmp_path, tmp_path / "view")
