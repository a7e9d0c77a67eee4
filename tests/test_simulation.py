"""Phase C keeps the photon budget, the same seed gives the same bytes, and measured scans are thinned, never made."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ptycho_torch.atomic_files import sha256_file
from ptycho_torch.config import BaseConfig, DatasetRecipe, ProceduralBase, ScanConfig, SplitConfig
from ptycho_torch.errors import ConfigError, DataContractError
from ptycho_torch.npz_contract import PtychoDataset, read_dataset, write_dataset
from ptycho_torch.simulation import current_dataset, make_dataset, thin_to_dose

DOSE = 5e3


def _recipe(changes: dict[str, Any] | None = None) -> DatasetRecipe:
    return DatasetRecipe(
        base=BaseConfig(procedural=ProceduralBase(object="random_edges", size=(128, 96))),
        base_sha256=None,
        scan=ScanConfig(positions=81),
        split=SplitConfig(),
        dose_photons=DOSE,
        patch_size_px=32,
        simulation_seed=42,
    ).model_copy(update=changes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of `_recipe()`."""
    folder = tmp_path_factory.mktemp("dose_5000")
    make_dataset(_recipe(), folder)
    return folder


def _halves(folder: Path) -> list[PtychoDataset]:
    return [read_dataset(folder / f"patched_{half}.npz") for half in ("train", "test")]


def _exit_waves(half: PtychoDataset) -> np.ndarray:
    """P(r - f) O(r) of every position, written out in numpy."""
    assert half.object_guess is not None
    frequencies = np.fft.fftfreq(32)
    waves = []
    for position in half.positions_yx:
        y, x = np.floor(position + 0.5).astype(int)
        shift = position - (y, x)
        ramp = np.exp(-2j * np.pi * (shift[0] * frequencies[:, None] + shift[1] * frequencies))
        probe = np.fft.ifft2(np.fft.fft2(half.probe_guess) * ramp)
        waves.append(probe * half.object_guess[y - 16 : y + 16, x - 16 : x + 16])
    return np.array(waves)


def test_scale_makes_the_mean_energy_under_the_probe_the_dose(folder: Path) -> None:
    halves = _halves(folder)
    energies = np.concatenate([(np.abs(_exit_waves(half)) ** 2).sum(axis=(1, 2)) for half in halves])
    assert halves[0].intensity_scale == halves[1].intensity_scale
    assert (halves[0].intensity_scale or 0) ** 2 * energies.mean() == pytest.approx(DOSE, rel=1e-6)


def test_mean_photons_are_the_dose_within_the_poisson_error(folder: Path) -> None:
    photons = np.concatenate([half.counts().sum(axis=(1, 2)) for half in _halves(folder)])
    assert len(photons) == 80
    assert abs(photons.sum() - 80 * DOSE) < 5 * np.sqrt(80 * DOSE)


def test_counts_are_whole_and_poisson_about_the_forward_model(folder: Path) -> None:
    half = _halves(folder)[0]
    amplitudes = np.fft.fftshift(np.fft.fft2(_exit_waves(half), norm="ortho"), axes=(1, 2))
    expected = (half.intensity_scale or 0) ** 2 * np.abs(amplitudes) ** 2
    stored = ((half.intensity_scale or 0) * half.diffraction.astype(np.float64)) ** 2
    assert np.abs(stored - half.counts()).max() < 1e-3
    bright = expected > 5
    chi_squared = ((half.counts() - expected) ** 2 / expected)[bright]
    # The variance of one term is 2 + 1/mean.
    assert chi_squared.mean() == pytest.approx(1, abs=5 * np.sqrt(2.2 / bright.sum()))


@pytest.mark.parametrize("threads", [1, 2])
def test_same_recipe_same_bytes_with_any_threads(folder: Path, tmp_path: Path, threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        again = make_dataset(_recipe(), tmp_path)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert again == current_dataset(_recipe(), folder)
    assert (tmp_path / "record.json").read_bytes() == (folder / "record.json").read_bytes()


def test_another_seed_gives_other_patterns_and_another_dose_the_same_scan(folder: Path, tmp_path: Path) -> None:
    make_dataset(_recipe({"simulation_seed": 43}), tmp_path / "seed")
    make_dataset(_recipe({"dose_photons": 1e3}), tmp_path / "dose")
    original, reseeded, dimmer = (_halves(path)[0] for path in (folder, tmp_path / "seed", tmp_path / "dose"))
    assert not np.array_equal(original.positions_yx, reseeded.positions_yx)
    assert np.array_equal(original.positions_yx, dimmer.positions_yx)
    assert dimmer.counts().sum() < 0.3 * original.counts().sum()


def test_record_tells_the_files_the_split_and_the_photons(folder: Path) -> None:
    record = current_dataset(_recipe(), folder)
    assert record is not None
    assert (record["split_line_px"], record["guard_band_px"], record["dropped_in_guard_band"]) == (64, 16, 0)
    assert record["shared_object_pixels"] == 0
    assert record["recipe"] == _recipe().model_dump(mode="json")
    for name, half in zip(("patched_train.npz", "patched_test.npz"), _halves(folder), strict=True):
        facts = record["files"][name]
        assert facts["sha256"] == sha256_file(folder / name)
        assert facts["n_patterns"] == 40
        assert facts["photons_per_frame_drawn"] == pytest.approx(half.counts().sum() / 40)


def test_halves_meet_where_no_guard_band_keeps_them_apart(tmp_path: Path) -> None:
    assert make_dataset(_recipe({"split": SplitConfig(guard_band_px=0)}), tmp_path)["shared_object_pixels"] > 0


def test_split_along_x_separates_columns(tmp_path: Path) -> None:
    make_dataset(_recipe({"split": SplitConfig(axis="x")}), tmp_path)
    train, test = _halves(tmp_path)
    assert train.xcoords.max() <= 48 - 16
    assert test.xcoords.min() >= 48 + 16


def test_files_of_another_recipe_or_damaged_are_not_current(tmp_path: Path) -> None:
    assert current_dataset(_recipe(), tmp_path) is None
    make_dataset(_recipe(), tmp_path)
    assert current_dataset(_recipe({"dose_photons": 1e3}), tmp_path) is None
    path = tmp_path / "patched_test.npz"
    sound = path.read_bytes()
    path.write_bytes(sound[:5000] + bytes([sound[5000] ^ 1]) + sound[5001:])
    assert current_dataset(_recipe(), tmp_path) is None
    path.unlink()
    assert current_dataset(_recipe(), tmp_path) is None
    (tmp_path / "record.json").write_text("{")
    assert current_dataset(_recipe(), tmp_path) is None


def test_thinning_keeps_a_subset_with_binomial_mean_and_variance() -> None:
    counts = np.full((50, 32, 32), 20, dtype=np.float32)
    thinned, kept_share = thin_to_dose(counts, 0.3 * 20 * 32**2, np.random.default_rng(0))
    assert kept_share == pytest.approx(0.3)
    assert (thinned <= counts).all()
    assert (thinned == np.rint(thinned)).all()
    assert thinned.mean() == pytest.approx(6, abs=5 * np.sqrt(4.2 / thinned.size))
    assert thinned.var() == pytest.approx(4.2, rel=0.05)


@pytest.mark.parametrize("factor", [0.996, 1.0, 1.004])
def test_dose_near_the_measured_mean_keeps_every_photon(factor: float) -> None:
    counts = np.random.default_rng(0).poisson(3.0, (4, 8, 8)).astype(np.float32)
    thinned, kept_share = thin_to_dose(counts, factor * float(counts.sum()) / 4, np.random.default_rng(0))
    assert kept_share == 1
    assert np.array_equal(thinned, counts)


def test_dose_above_the_measured_mean_is_refused() -> None:
    with pytest.raises(ConfigError, match="2000 photons per frame is more than the measured mean of 1024"):
        thin_to_dose(np.ones((2, 32, 32), np.float32), 2000, np.random.default_rng(0))


@pytest.fixture
def scan(folder: Path, tmp_path: Path) -> Path:
    """The whole simulated scan as one file, as if it had been measured: without an object."""
    train, test = _halves(folder)
    whole = replace(
        train,
        diffraction=np.concatenate([train.diffraction, test.diffraction]),
        xcoords=np.concatenate([train.xcoords, test.xcoords]),
        ycoords=np.concatenate([train.ycoords, test.ycoords]),
        scan_index=np.arange(80),
        object_guess=None,
        metadata={"beamline": "none"},
    )
    write_dataset(tmp_path / "scan.npz", whole)
    return tmp_path / "scan.npz"


def _measured(scan: Path, changes: dict[str, Any] | None = None) -> DatasetRecipe:
    base = {"base": BaseConfig(measured=str(scan)), "base_sha256": sha256_file(scan)}
    return _recipe(base | (changes or {}))


def test_measured_scan_is_split_at_its_middle_and_thinned(scan: Path, tmp_path: Path) -> None:
    record = make_dataset(_measured(scan, {"dose_photons": 1e3}), tmp_path / "thin")
    whole = read_dataset(scan)
    assert record["split_line_px"] == (whole.ycoords.min() + whole.ycoords.max()) / 2
    assert record["shared_object_pixels"] == 0
    for half in _halves(tmp_path / "thin"):
        assert half.scan_index is not None
        assert half.metadata["beamline"] == "none"
        assert (half.counts() <= whole.counts()[half.scan_index]).all()
        assert half.counts().sum() / len(half.diffraction) == pytest.approx(1e3, rel=0.05)
        energy = (half.intensity_scale or 0) ** 2 / (whole.intensity_scale or 1) ** 2
        assert energy == pytest.approx(1e3 / (whole.counts().sum() / 80), rel=1e-5)


def test_measured_scan_at_its_own_dose_is_kept_whole(scan: Path, tmp_path: Path) -> None:
    make_dataset(_measured(scan), tmp_path / "full")
    whole = read_dataset(scan)
    for half in _halves(tmp_path / "full"):
        assert half.intensity_scale == whole.intensity_scale
        assert np.array_equal(half.counts(), whole.counts()[half.scan_index])


def test_measured_scan_of_another_patch_size_is_refused(scan: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"scan\.npz has patterns of 32 px, but patch_size_px is 64"):
        make_dataset(_measured(scan, {"patch_size_px": 64}), tmp_path / "out")


def test_measured_scan_without_counts_is_refused(scan: Path, tmp_path: Path) -> None:
    write_dataset(scan, replace(read_dataset(scan), intensity_scale=None))
    with pytest.raises(DataContractError, match=r"scan\.npz: has no `intensity_scale`"):
        make_dataset(_measured(scan), tmp_path / "out")


def test_guard_band_that_empties_a_half_is_refused(scan: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="leaves 0 training and 0 test patterns"):
        make_dataset(_measured(scan, {"split": SplitConfig(guard_band_px=60)}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_measured_scan_is_split_on_time_by_its_index(scan: Path, tmp_path: Path) -> None:
    whole = read_dataset(scan)
    shuffled = np.random.default_rng(0).permutation(80)
    write_dataset(scan, replace(whole, scan_index=shuffled))
    record = make_dataset(_measured(scan, {"split": SplitConfig(axis="time")}), tmp_path / "out")
    train, test = _halves(tmp_path / "out")
    assert train.scan_index is not None
    assert test.scan_index is not None
    assert sorted(train.scan_index) == list(range(40))
    assert sorted(test.scan_index) == list(range(40, 80))
    assert (record["split_line_px"], record["guard_band_px"], record["dropped_in_guard_band"]) == (None, 0, 0)
    assert record["shared_object_pixels"] > 0


def test_without_an_index_time_is_the_order_of_rows(scan: Path, tmp_path: Path) -> None:
    whole = read_dataset(scan)
    write_dataset(scan, replace(whole, scan_index=None))
    make_dataset(_measured(scan, {"split": SplitConfig(axis="time")}), tmp_path / "out")
    train, test = _halves(tmp_path / "out")
    np.testing.assert_array_equal(np.concatenate([train.counts(), test.counts()]), whole.counts())


def test_a_guard_band_of_a_patch_keeps_later_patterns_off_the_object_of_the_first(tmp_path: Path) -> None:
    split = SplitConfig(axis="time", guard_band_px=32)
    record = make_dataset(_recipe({"split": split}), tmp_path)
    assert record["shared_object_pixels"] == 0
    assert record["dropped_in_guard_band"] > 0
    assert len(_halves(tmp_path)[0].diffraction) == 40


def test_a_guard_band_that_leaves_nothing_to_test_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Split on time with a guard band of 90 px, the scan leaves 40 training and 0 test"):
        make_dataset(_recipe({"split": SplitConfig(axis="time", guard_band_px=90)}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_recipe_of_before_there_was_time_keeps_its_digest() -> None:
    assert _recipe().sha256() == "a644147f971b343c3ff0a41e1abd028122662058150ce815d80c4398c1949bde"
