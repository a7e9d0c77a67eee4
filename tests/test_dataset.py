"""Laws of loading, of the validation strip and of an epoch's batches."""

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ptycho_torch import legacy_bridge, params
from ptycho_torch.config import BaseConfig, DatasetRecipe, JobConfig, ProceduralBase, ScanConfig, SplitConfig, TrainingConfig
from ptycho_torch.dataset import ScanTensors, counter_seed, epoch_batches, load_half, scan_tensors, validation_strip
from ptycho_torch.errors import BridgeError, DataContractError, GroupingError
from ptycho_torch.losses import poisson_deviance
from ptycho_torch.npz_contract import PtychoDataset, read_dataset, write_dataset
from ptycho_torch.physics import cut_patches, diffraction_intensity, shift_probe
from ptycho_torch.simulation import make_dataset

N = 32
CPU = torch.device("cpu")


def _job(gridsize: int = 2, groups: int | None = None, neighbor_count: int = 7, batch_size: int = 16) -> JobConfig:
    return JobConfig(
        job_id="dose_1000-dense-gs2",
        dose_photons=1000,
        view="dense",
        gridsize=gridsize,
        groups=groups,
        patch_size_px=32,
        neighbor_count=neighbor_count,
        grouping_seed=123,
        training_seed=0,
        data_recipe_sha256="0" * 64,
        training=TrainingConfig(batch_size=batch_size),
    )


def _dataset(n: int = 20) -> PtychoDataset:
    rng = np.random.default_rng(0)
    scale = 2.5
    return PtychoDataset(
        diffraction=(np.sqrt(rng.poisson(3.0, (n, N, N))) / scale).astype(np.float32),
        intensity_scale=scale,
        probe_guess=(rng.normal(size=(N, N)) + 1j * rng.normal(size=(N, N))).astype(np.complex64),
        object_guess=None,
        xcoords=rng.uniform(20, 80, n),
        ycoords=rng.uniform(20, 50, n),
    )


def _load(folder: Path, dataset: PtychoDataset, job: JobConfig) -> ScanTensors:
    path = folder / "train.npz"
    write_dataset(path, dataset)
    legacy_bridge.update_legacy_dict(
        params.cfg, legacy_bridge.legacy_config(job, train_npz=path, test_npz=path, output_dir=folder)
    )
    return load_half(path, job, CPU)[0]


def _scan(n: int = 40) -> ScanTensors:
    positions = torch.rand(n, 2, generator=torch.Generator().manual_seed(0)) * 100
    return ScanTensors(
        positions_yx=positions.long().double().numpy(),
        counts=torch.zeros(n, 2, 2),
        centers=positions.long(),
        shifts=torch.zeros(n, 2),
        probe=torch.ones(2, 2, dtype=torch.complex64),
    )


@pytest.fixture(autouse=True)
def _unbridged() -> Iterator[None]:
    legacy_bridge.reset()
    yield
    legacy_bridge.reset()


def test_loaded_counts_are_the_files_with_zero_frequency_at_the_corner(tmp_path: Path) -> None:
    dataset = _dataset()
    scan = _load(tmp_path, dataset, _job())
    assert torch.equal(torch.fft.fftshift(scan.counts, dim=(1, 2)), torch.from_numpy(dataset.counts()))


def test_counts_are_made_without_a_second_copy_of_them_all() -> None:
    patterns = np.random.default_rng(0).random((2000, N, N), dtype=np.float32)
    dataset = PtychoDataset(patterns, 10.0, np.ones((N, N), np.complex64), None, np.full(2000, 20.0), np.full(2000, 20.0))
    tracemalloc.start()
    scan_tensors(dataset, 1.0, CPU)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert patterns.nbytes <= peak_bytes < 1.4 * patterns.nbytes


def test_loaded_probe_is_in_photons(tmp_path: Path) -> None:
    scan = _load(tmp_path, _dataset(), _job())
    assert torch.allclose(scan.probe, 2.5 * torch.from_numpy(_dataset().probe_guess))
    assert scan.probe.dtype == torch.complex64


def test_positions_survive_loading(tmp_path: Path) -> None:
    np.testing.assert_array_equal(_load(tmp_path, _dataset(), _job()).positions_yx, _dataset().positions_yx)


def _simulated(folder: Path) -> PtychoDataset:
    """A half of a scan at fractional positions on an object that is no square."""
    recipe = DatasetRecipe(
        base=BaseConfig(procedural=ProceduralBase(size=(128, 96))),
        base_sha256=None,
        scan=ScanConfig(positions=64),
        split=SplitConfig(),
        dose_photons=1e5,
        patch_size_px=N,
        simulation_seed=42,
    )
    make_dataset(recipe, folder)
    return read_dataset(folder / "patched_train.npz")


def test_a_loaded_scan_is_explained_by_its_truth_at_its_fractional_positions(tmp_path: Path) -> None:
    dataset = _simulated(tmp_path)
    scan = _load(tmp_path, dataset, _job())
    assert dataset.object_guess is not None
    patches = cut_patches(torch.from_numpy(dataset.object_guess), scan.centers, N)

    def deviance(shifts: torch.Tensor) -> float:
        probes = replace(scan, shifts=shifts).probes_of(torch.arange(len(scan)))
        return poisson_deviance(diffraction_intensity(patches, probes), scan.counts).item()

    assert deviance(scan.shifts) < 0.95 * min(deviance(torch.zeros_like(scan.shifts)), deviance(-scan.shifts))


def test_loaded_positions_are_whole_pixels_and_remainders(tmp_path: Path) -> None:
    dataset = _simulated(tmp_path)
    scan, positions = _load(tmp_path, dataset, _job()), np.stack([dataset.ycoords, dataset.xcoords], axis=1)
    whole = np.floor(positions + 0.5)
    np.testing.assert_array_equal(scan.centers.numpy(), whole)
    np.testing.assert_array_equal(scan.shifts.numpy(), (positions - whole).astype(np.float32))
    assert np.abs(positions - whole).max() > 0.3


def test_file_without_a_scale_gets_the_dose_of_the_job(tmp_path: Path) -> None:
    known = _load(tmp_path, _dataset(), _job())
    dose = known.counts.sum(dim=(1, 2)).mean().item()
    scan = _load(tmp_path, replace(_dataset(), intensity_scale=None), _job().model_copy(update={"dose_photons": dose}))
    assert torch.equal(scan.counts, known.counts)
    assert torch.allclose(scan.probe, known.probe, rtol=1e-5)


def test_loading_before_the_bridge_is_refused(tmp_path: Path) -> None:
    write_dataset(tmp_path / "train.npz", _dataset())
    with pytest.raises(BridgeError, match="before job dose_1000-dense-gs2 filled it"):
        load_half(tmp_path / "train.npz", _job(), CPU)


def test_patterns_of_another_size_are_refused(tmp_path: Path) -> None:
    job = _job().model_copy(update={"patch_size_px": 64})
    with pytest.raises(DataContractError, match=r"train\.npz: got patterns of 32 px; allowed .* 64\. Set patch_size_px to 32"):
        _load(tmp_path, _dataset(), job)


def test_fewer_patterns_than_a_group_are_refused_by_file(tmp_path: Path) -> None:
    with pytest.raises(DataContractError, match=r"train\.npz: got 3 patterns; groups of gridsize 2 need at least 4"):
        _load(tmp_path, _dataset(3), _job())


def test_gridsize_1_does_not_oversample(tmp_path: Path) -> None:
    assert len(_load(tmp_path, _dataset(), _job(gridsize=1, groups=20))) == 20
    with pytest.raises(GroupingError, match=r"train\.npz: 21 groups of 20 .*; gridsize 1 cannot oversample\. Lower `groups`"):
        _load(tmp_path, _dataset(), _job(gridsize=1, groups=21))


def test_probes_stand_where_each_pattern_was_taken(tmp_path: Path) -> None:
    scan = _load(tmp_path, _dataset(), _job())
    probes = scan.probes_of(torch.tensor([[3, 4], [5, 3]]))
    assert torch.allclose(probes[1, 1], shift_probe(scan.probe, scan.shifts[3:4])[0])
    assert probes.shape == (2, 2, N, N)


@given(st.integers(8, 60), st.floats(0.01, 0.49), st.integers(1, 4))
def test_strip_parts_the_scan_along_x(n: int, fraction: float, at_least: int) -> None:
    positions = np.random.default_rng(n).uniform(0, 100, (n, 2))
    training, validation = validation_strip(positions, fraction, at_least)
    assert sorted([*training.tolist(), *validation.tolist()]) == list(range(n))
    assert len(validation) == max(round(fraction * n), at_least)
    assert len(training) >= at_least
    assert positions[training.numpy(), 1].max() <= positions[validation.numpy(), 1].min()


def test_too_few_patterns_to_validate_are_refused() -> None:
    with pytest.raises(GroupingError, match="7 patterns can't be parted into training and validation with 4 or more each"):
        validation_strip(np.zeros((7, 2)), 0.125, 4)


def test_lone_patterns_come_once_an_epoch() -> None:
    rows = torch.arange(3, 40)
    batches = epoch_batches(_scan(), rows, _job(gridsize=1), epoch=0, batch_size=16)
    assert sorted(torch.cat(list(batches)).flatten().tolist()) == rows.tolist()


@pytest.mark.parametrize(("gridsize", "groups", "batch_size"), [(1, None, 16), (2, None, 16), (2, 77, 16), (2, None, 2)])
def test_batches_hold_no_more_patterns_than_asked(gridsize: int, groups: int | None, batch_size: int) -> None:
    job = _job(gridsize, groups)
    batches = epoch_batches(_scan(), torch.arange(40), job, epoch=0, batch_size=batch_size)
    sizes = [len(batch) for batch in batches]
    assert max(sizes) <= max(1, batch_size // job.group_size)
    assert max(sizes) - min(sizes) <= 1
    assert sum(sizes) == (groups or -(-40 // job.group_size))


def test_groups_stay_within_the_rows_given() -> None:
    rows = torch.arange(0, 40, 2)
    batches = epoch_batches(_scan(), rows, _job(groups=50), epoch=0, batch_size=16)
    assert set(torch.cat(list(batches)).flatten().tolist()) <= set(rows.tolist())


def test_epochs_differ_and_each_can_be_drawn_again() -> None:
    scan, rows = _scan(), torch.arange(40)

    def drawn(epoch: int) -> list[list[list[int]]]:
        return [batch.tolist() for batch in epoch_batches(scan, rows, _job(), epoch, 16)]

    assert drawn(3) == drawn(3)
    assert drawn(3) != drawn(4)


def test_another_grouping_seed_draws_other_groups() -> None:
    def drawn(grouping_seed: int) -> set[tuple[int, ...]]:
        job = _job().model_copy(update={"grouping_seed": grouping_seed})
        return {
            tuple(group.tolist())
            for batch in epoch_batches(_scan(), torch.arange(40), job, epoch=0, batch_size=16)
            for group in batch
        }

    assert drawn(123) == drawn(123)
    assert drawn(123) != drawn(124)


@pytest.mark.parametrize(("gridsize", "neighbor_count"), [(1, 7), (2, 4)])
def test_rows_lost_to_validation_do_not_make_it_oversampling(gridsize: int, neighbor_count: int) -> None:
    batches = epoch_batches(_scan(), torch.arange(35), _job(gridsize, 40, neighbor_count), epoch=0, batch_size=16)
    assert sum(map(len, batches)) == 35


def test_seed_depends_on_every_counter() -> None:
    seeds = {counter_seed(a, b, c) for a in range(4) for b in range(4) for c in range(4)}
    assert len(seeds) == 64
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert counter_seed(1, 2) == counter_seed(1, 2)


def test_positions_are_float64() -> None:
    positions: npt.NDArray[np.float64] = _scan().positions_yx
    assert positions.dtype == np.float64
