"""Phase D: a view of a dataset, which is a share of each half's patterns, with the overlap that it really has.

Nothing is accepted or refused by spacing: a view is what its fraction and its groups make it, and the measured metrics say how
much it overlaps. The nominal overlap it is named for is reported beside them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho_torch.atomic_files import sha256_file, write_json
from ptycho_torch.config import ViewRecipe
from ptycho_torch.data_record import DATASET_FILES, current_record, file_facts
from ptycho_torch.errors import ViewUnavailableError
from ptycho_torch.grouping import draw_groups, groups_in_force
from ptycho_torch.npz_contract import PtychoDataset, read_dataset, write_dataset
from ptycho_torch.overlap_metrics import (
    acceptance_bound,
    greedy_spaced_rows,
    group_overlap,
    image_overlap,
    overlap_between_groups,
)

__all__ = ["METRICS_NAME", "current_view", "make_view", "measure_view", "subsample_rows", "view_file"]

METRICS_NAME = "metrics_bundle.json"
METRICS_VERSION = "1.0"

LARGEST_ACCEPTANCE, SMALLEST_ACCEPTANCE = 0.10, 1e-6
"""Limits of the effective acceptance (ACCEPTANCE-001)."""


def make_view(recipe: ViewRecipe, phase_c: Path, folder: Path) -> dict[str, Any]:
    """Make the files of Phase D for one view: `<view>_train.npz`, `<view>_test.npz` and `metrics_bundle.json`.

    Parameters
    ----------
    recipe
        All that decides the view.
    phase_c
        The folder with `patched_train.npz` and `patched_test.npz`.
    folder
        Where the files go; it is made where it is missing.

    Returns
    -------
    The bundle: `train` and `test` metrics (`measure_view`), the recipe and its digest, and the digests of sources and files.

    Raises
    ------
    ViewUnavailableError
        A half keeps too few patterns; nothing is written.
    GroupingError
        The groups that the view asks for cannot be drawn.
    DataContractError
        A file of `phase_c` is missing or damaged.
    """
    sources = {name: phase_c / file_name for name, file_name in DATASET_FILES.items()}
    metrics, halves = {}, {}
    for name, source in sources.items():
        whole = read_dataset(source)
        rows = subsample_rows(len(whole.diffraction), recipe.view.image_fraction, recipe.subsampling_seed)
        _require_enough(name, rows, recipe)
        halves[name] = whole.select(rows)
        metrics[name] = measure_view(halves[name].positions_yx, len(whole.diffraction), recipe)
    bundle = metrics | {
        "recipe": recipe.model_dump(mode="json"),
        "recipe_sha256": recipe.sha256(),
        "sources": _digests(sources),
        "files": _write_halves(halves, recipe.name, folder),
    }
    write_json(folder / METRICS_NAME, bundle)
    return bundle


def current_view(recipe: ViewRecipe, phase_c: Path, folder: Path) -> dict[str, Any] | None:
    """The bundle of `folder` where its files are whole, of this recipe and of these sources; else None."""
    bundle = current_record(folder / METRICS_NAME, recipe.sha256())
    sources = {name: phase_c / file_name for name, file_name in DATASET_FILES.items()}
    if bundle is None or not all(path.is_file() for path in sources.values()):
        return None
    return bundle if bundle["sources"] == _digests(sources) else None


def view_file(view: str, half: str) -> str:
    """The file name of a view's half, `train` or `test`."""
    return f"{view}_{half}.npz"


def subsample_rows(n_images: int, image_fraction: float, seed: int) -> npt.NDArray[np.int64]:
    """Which patterns a view keeps: max(1, round(fraction · n)) of n drawn without replacement, ascending."""
    kept = max(1, round(image_fraction * n_images))
    return np.sort(np.random.default_rng(seed).choice(n_images, size=kept, replace=False))


def measure_view(positions_yx: npt.NDArray[np.float64], n_images_total: int, recipe: ViewRecipe) -> dict[str, Any]:
    """The overlap metrics of one half of a view, by the names of specification 1.0.

    Parameters
    ----------
    positions_yx
        (n, 2) positions that the view keeps [px].
    n_images_total
        Patterns in the half before subsampling.
    recipe
        Group size, neighbour count, disc diameter and seeds.

    Returns
    -------
    The metrics; `metric_1_group_based_avg` is left out for gridsize 1, where a group has no other member.
    """
    view, diameter_px, neighbors = recipe.view, recipe.probe_diameter_px, recipe.neighbor_count
    groups = draw_groups(
        positions_yx, gridsize=view.gridsize, neighbor_count=neighbors, n_groups=view.groups, seed=recipe.grouping_seed
    )
    within = group_overlap(positions_yx, groups, neighbor_count=neighbors, diameter_px=diameter_px) if view.gridsize > 1 else None
    return {
        "metrics_version": METRICS_VERSION,
        "gridsize": view.gridsize,
        "s_img": view.image_fraction,
        "n_groups": groups_in_force(len(positions_yx), view.gridsize, view.groups),
        "neighbor_count": neighbors,
        "probe_diameter_px": diameter_px,
        "rng_seed_subsample": recipe.subsampling_seed,
        "rng_seed_grouping": recipe.grouping_seed,
        **({} if within is None else {"metric_1_group_based_avg": within}),
        "metric_2_image_based_avg": image_overlap(positions_yx, neighbor_count=neighbors, diameter_px=diameter_px),
        "metric_3_group_to_group_avg": overlap_between_groups(positions_yx, groups, diameter_px=diameter_px),
        "n_images_total": n_images_total,
        "n_images_subsampled": len(positions_yx),
        "n_unique_images": len(np.unique(positions_yx, axis=0)),
        "n_groups_actual": len(groups),
        **_geometry(positions_yx, recipe),
    }


def _geometry(positions_yx: npt.NDArray[np.float64], recipe: ViewRecipe) -> dict[str, Any]:
    """The two bounds of ACCEPTANCE-001, and what the greedy spacing rule would have accepted: diagnostics, no gate."""
    bound = acceptance_bound(positions_yx, recipe.probe_diameter_px)
    geometry: dict[str, Any] = {
        "geometry_acceptance_bound": bound,
        "effective_min_acceptance": max(min(bound, LARGEST_ACCEPTANCE), SMALLEST_ACCEPTANCE),
    }
    if recipe.view.nominal_overlap is None:
        return geometry
    spacing_px = (1 - recipe.view.nominal_overlap) * recipe.dataset.patch_size_px
    accepted = len(greedy_spaced_rows(positions_yx, spacing_px))
    return geometry | {
        "nominal_overlap": recipe.view.nominal_overlap,
        "nominal_spacing_px": spacing_px,
        "nominal_accepted": accepted,
        "nominal_acceptance_rate": accepted / len(positions_yx),
    }


def _require_enough(half: str, rows: npt.NDArray[np.int64], recipe: ViewRecipe) -> None:
    needed = 2 * recipe.view.group_size
    if len(rows) < needed:
        raise ViewUnavailableError(
            f"View {recipe.name} keeps {len(rows)} patterns of the {half} half; it needs {needed}, two groups of "
            f"{recipe.view.group_size}, one to train and one to validate.",
            hint="Raise image_fraction or the number of scan positions.",
        )


def _write_halves(halves: Mapping[str, PtychoDataset], view: str, folder: Path) -> dict[str, Any]:
    paths = {half: folder / view_file(view, half) for half in halves}
    for half, dataset in halves.items():
        write_dataset(paths[half], dataset)
    return {path.name: file_facts(path) | {"n_patterns": len(halves[half].diffraction)} for half, path in paths.items()}


def _digests(sources: Mapping[str, Path]) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in sources.values()}
