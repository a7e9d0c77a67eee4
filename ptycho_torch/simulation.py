"""Phase C: the training half and the test half of a scan at one dose, simulated or measured.

Simulated counts are Poisson(s² |F[P O]|²) with s² = dose / mean_n Σ|P O|² over the whole scan before noise; stored amplitude is
√counts / s. A measured scan is thinned: each photon is kept with probability p = dose / (its mean photons per frame), which is
exactly the Poisson statistics of a shorter exposure, and s becomes s √p.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from numpy.random import PCG64, Generator

from ptycho_torch.atomic_files import write_json
from ptycho_torch.base_object import load_base
from ptycho_torch.config import DatasetRecipe
from ptycho_torch.data_record import DATASET_FILES, current_record, file_facts
from ptycho_torch.errors import ConfigError, DataContractError
from ptycho_torch.npz_contract import PtychoDataset, read_dataset, write_dataset
from ptycho_torch.physics import cut_patches, diffraction_intensity, shift_probe, split_positions
from ptycho_torch.scan_positions import (
    AXIS_INDEX,
    count_shared_pixels,
    scan_positions,
    split_line,
    split_rows,
    split_rows_on_time,
)

__all__ = ["RECORD_NAME", "current_dataset", "make_dataset", "thin_to_dose"]

RECORD_NAME = "record.json"

CHUNK_PATTERNS = 64
FULL_DOSE_TOLERANCE = 0.005
"""A dose this near to the measured mean, relatively, is the measured dose."""


def make_dataset(recipe: DatasetRecipe, folder: Path) -> dict[str, Any]:
    """Make the files of Phase C at one dose: `patched_train.npz`, `patched_test.npz` and `record.json`.

    The same recipe gives the same bytes, whatever the number of threads.

    Parameters
    ----------
    recipe
        All that decides the files.
    folder
        Where they go; it is made where it is missing.

    Returns
    -------
    The record: recipe and its digest, the files' digests, sizes, numbers of patterns and photons per frame really drawn,
    the intensity scale, the split, and the measured number of object pixels under both halves.

    Raises
    ------
    ConfigError, DataContractError
        The recipe asks for what its base cannot give.
    """
    if recipe.base.measured is None:
        dataset, line = _simulate(recipe)
    else:
        dataset = _thinned_scan(Path(recipe.base.measured), recipe)
        line = None if recipe.split.axis == "time" else split_line(_split_coordinates(dataset, recipe))
    rows = _rows_of_halves(dataset, recipe, line)
    halves = {name: _half(dataset, name, rows[name], recipe) for name in DATASET_FILES}
    record = {
        "recipe": recipe.model_dump(mode="json"),
        "recipe_sha256": recipe.sha256(),
        "files": {DATASET_FILES[name]: _write_half(folder / DATASET_FILES[name], half) for name, half in halves.items()},
        "intensity_scale": dataset.intensity_scale,
        "split_line_px": line,
        "guard_band_px": recipe.guard_band_px,
        "dropped_in_guard_band": len(dataset.diffraction) - sum(map(len, rows.values())),
        "shared_object_pixels": count_shared_pixels(
            halves["train"].positions_yx, halves["test"].positions_yx, recipe.patch_size_px
        ),
    }
    write_json(folder / RECORD_NAME, record)
    return record


def current_dataset(recipe: DatasetRecipe, folder: Path) -> dict[str, Any] | None:
    """The record of `folder` where its files are whole and of this recipe, so that they need not be made again; else None."""
    return current_record(folder / RECORD_NAME, recipe.sha256())


def thin_to_dose(counts: npt.NDArray[np.float32], dose_photons: float, rng: Generator) -> tuple[npt.NDArray[np.float32], float]:
    """Keep each photon at random, so that frames hold `dose_photons` on average.

    Parameters
    ----------
    counts
        (n, N, N) whole photon counts.
    dose_photons
        Photons per frame; within half a percent of the measured mean all photons are kept.
    rng
        Draws which photons stay.

    Returns
    -------
    (n, N, N) thinned counts, nowhere above `counts`, and the share p that was kept.

    Raises
    ------
    ConfigError
        The dose is above the measured mean.
    """
    measured_photons = float(counts.sum(axis=(1, 2), dtype=np.float64).mean())
    kept_share = dose_photons / measured_photons
    if abs(kept_share - 1) <= FULL_DOSE_TOLERANCE:
        return counts, 1.0
    if kept_share > 1:
        raise ConfigError(
            f"A dose of {dose_photons:g} photons per frame is more than the measured mean of {measured_photons:g}.",
            hint="Photons can be thinned out, not made: choose doses up to the measured mean.",
        )
    thinned = np.empty_like(counts)
    for rows in _chunks(len(counts)):
        thinned[rows] = rng.binomial(counts[rows].astype(np.int64), kept_share)
    return thinned, kept_share


def _simulate(recipe: DatasetRecipe) -> tuple[PtychoDataset, float | None]:
    """The whole scan with its photon noise, and the line that splits it, the object's middle: None where time splits it."""
    object_guess, probe_guess = load_base(recipe.base, recipe.patch_size_px)
    rng = Generator(PCG64(recipe.simulation_seed))
    positions = scan_positions(recipe, (object_guess.shape[0], object_guess.shape[1]), rng)
    patterns, mean_energy = _expected_patterns(object_guess, probe_guess, positions)
    scale = float(np.sqrt(recipe.dose_photons / mean_energy))
    for rows in _chunks(len(patterns)):
        counts = rng.poisson(scale**2 * patterns[rows].astype(np.float64))
        patterns[rows] = np.sqrt(counts) / scale
    dataset = PtychoDataset(
        diffraction=patterns,
        intensity_scale=scale,
        probe_guess=probe_guess,
        object_guess=object_guess,
        xcoords=positions[:, 1].copy(),
        ycoords=positions[:, 0].copy(),
        scan_index=np.arange(len(positions)),
    )
    line = None if recipe.split.axis == "time" else object_guess.shape[AXIS_INDEX[recipe.split.axis]] / 2
    return dataset, line


def _expected_patterns(
    object_guess: npt.NDArray[np.complex64], probe_guess: npt.NDArray[np.complex64], positions_yx: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float32], float]:
    """|F[P O]|² of every position, zero frequency at the centre, (n, N, N); and its mean sum over a pattern."""
    patch_size = len(probe_guess)
    wave = torch.from_numpy(object_guess.astype(np.complex128))
    probe = torch.from_numpy(probe_guess.astype(np.complex128))
    centers, shifts = split_positions(torch.from_numpy(positions_yx))
    patterns = np.empty((len(positions_yx), patch_size, patch_size), np.float32)
    total_energy = 0.0
    with _one_thread():
        for rows in _chunks(len(patterns)):
            patches = cut_patches(wave, centers[rows], patch_size)
            intensity = diffraction_intensity(patches, shift_probe(probe, shifts[rows])).numpy()
            total_energy += float(intensity.sum())
            patterns[rows] = np.fft.fftshift(intensity, axes=(1, 2))
    return patterns, total_energy / len(patterns)


def _thinned_scan(source: Path, recipe: DatasetRecipe) -> PtychoDataset:
    """A measured scan at the recipe's dose."""
    dataset = read_dataset(source)
    if dataset.patch_size_px != recipe.patch_size_px:
        raise ConfigError(
            f"{source} has patterns of {dataset.patch_size_px} px, but patch_size_px is {recipe.patch_size_px}.",
            hint=f"Set patch_size_px to {dataset.patch_size_px}, or ingest the scan with another one.",
        )
    if dataset.intensity_scale is None:
        raise DataContractError(
            f"{source}: has no `intensity_scale`, so its photons cannot be counted and thinned to a dose.",
            hint="Bring the scan in from its counts with `fly64-hpc ingest`.",
        )
    rng = Generator(PCG64(recipe.simulation_seed))
    counts, kept_share = thin_to_dose(dataset.counts(), recipe.dose_photons, rng)
    scale = float(np.sqrt(kept_share)) * dataset.intensity_scale
    amplitude = (np.sqrt(counts) / scale).astype(np.float32, copy=False)
    return replace(dataset, diffraction=amplitude, intensity_scale=scale)


def _split_coordinates(dataset: PtychoDataset, recipe: DatasetRecipe) -> npt.NDArray[np.float64]:
    return dataset.positions_yx[:, AXIS_INDEX[recipe.split.axis]]


def _rows_of_halves(dataset: PtychoDataset, recipe: DatasetRecipe, line: float | None) -> dict[str, npt.NDArray[np.int64]]:
    if line is None:
        order = np.arange(len(dataset.diffraction)) if dataset.scan_index is None else dataset.scan_index
        train, test = split_rows_on_time(dataset.positions_yx, order, recipe.guard_band_px)
        where = "on time"
    else:
        train, test = split_rows(_split_coordinates(dataset, recipe), line, recipe.guard_band_px)
        where = f"at {recipe.split.axis} = {line:g} px"
    if not (len(train) and len(test)):
        raise ConfigError(
            f"Split {where} with a guard band of {recipe.guard_band_px:g} px, the scan leaves "
            f"{len(train)} training and {len(test)} test patterns; each half needs some.",
            hint="Set a smaller split.guard_band_px.",
        )
    return {"train": train, "test": test}


def _half(dataset: PtychoDataset, name: str, rows: npt.NDArray[np.int64], recipe: DatasetRecipe) -> PtychoDataset:
    facts = {"half": name, "dose_photons": recipe.dose_photons, "recipe_sha256": recipe.sha256()}
    return replace(dataset.select(rows), metadata=dataset.metadata | facts)


def _write_half(path: Path, half: PtychoDataset) -> dict[str, Any]:
    write_dataset(path, half)
    photons = half.counts().sum(axis=(1, 2), dtype=np.float64).mean()
    return file_facts(path) | {"n_patterns": len(half.diffraction), "photons_per_frame_drawn": float(photons)}


def _chunks(length: int) -> Iterator[slice]:
    """Slices that bound the memory of a pass over the patterns."""
    return (slice(start, start + CHUNK_PATTERNS) for start in range(0, length, CHUNK_PATTERNS))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Run torch on one thread: a transform split among threads may round differently, and one changed count changes the rest."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
