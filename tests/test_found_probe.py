"""ingest --probe mean-pattern and --refine-probe: a probe is found from the patterns alone, and a study trains with it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from command import Workplace
from known_star import FILES, SHARED, correlation_with_the_known_star
from tiny_jobs import tiny_object, tiny_scan
from turned_scan import N, TurnedScan, make_turned_scan

from fly64_hpc.ingest import main
from ptycho_torch import found_probe
from ptycho_torch.data_consistency import reconstruct_by_gradient
from ptycho_torch.dataset import scan_tensors
from ptycho_torch.errors import DataContractError
from ptycho_torch.found_probe import METADATA_KEY, find_probe
from ptycho_torch.held_out import part_scan
from ptycho_torch.joint_descent import joint_steps, probe_deviance, refine_probe, with_probe
from ptycho_torch.measured_scan import IngestOptions, IngestReport, ingest
from ptycho_torch.network_object import bounding_shape
from ptycho_torch.npz_contract import PtychoDataset, read_dataset
from ptycho_torch.probe_gauge import settled

SCAN = make_turned_scan(dose=1e5)


def write_without_probe(path: Path, scan: TurnedScan) -> Path:
    """As `TurnedScan.write`, and nothing but patterns and positions."""
    arrays = dict(np.load(scan.write(path), allow_pickle=False))
    np.savez(path, data=arrays["data"], scan=arrays["scan"])
    return path


def ingested(folder: Path, source: Path, **said: Any) -> tuple[IngestReport, PtychoDataset]:
    report = ingest(source, folder / "out.npz", options=IngestOptions(dc="corner", **said))
    return report, read_dataset(folder / "out.npz")


def probe_error(probe: npt.NDArray[np.complex64], truth: npt.NDArray[np.complex64]) -> float:
    """Relative, once what patterns leave open is settled as in the truth."""
    right = truth.astype(np.complex128)
    return float(np.linalg.norm(settled(probe.astype(np.complex128), right) - right) / np.linalg.norm(right))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The DATA-001 file of a scan that came with neither a probe nor an object."""
    folder = tmp_path_factory.mktemp("made")
    source = write_without_probe(folder / "scan.npz", SCAN)
    assert main([str(source), str(folder / "out.npz"), "--dc", "corner", "--probe", "mean-pattern"]) == 0
    return folder / "out.npz"


def test_the_probe_is_found_from_patterns_and_positions_alone(made: Path) -> None:
    dataset = read_dataset(made)
    found, assumed = dataset.metadata["found"], dataset.metadata["assumed"]
    assert probe_error(dataset.probe_guess, SCAN.probe) < 0.08
    assert dataset.object_guess is None
    deviances = dataset.metadata[METADATA_KEY]["held_out_deviances"]
    assert min(deviances) < 0.5 * deviances[0]
    (words,) = (fact for fact in found if fact.startswith("a probe is made of the mean pattern"))
    assert "rms radius, on the far side of the focus: of 31 starts the best by held-out photons" in words
    assert any(fact.startswith("the probe is refined in ") for fact in found)
    assert any("both axes of all positions turned, with the conjugate mirror image" in fact for fact in assumed)
    assert any("photons of the whole scan, of both halves of any split" in fact for fact in assumed)


def test_its_energy_is_the_photons_of_a_pattern(made: Path) -> None:
    dataset = read_dataset(made)
    assert dataset.intensity_scale is not None
    energy = dataset.intensity_scale**2 * np.square(np.abs(dataset.probe_guess.astype(np.complex128))).sum()
    assert energy == pytest.approx(dataset.metadata["photons_per_frame"], rel=1e-5)
    np.testing.assert_array_equal(dataset.counts(), SCAN.counts)


def test_a_study_trains_on_it_and_splits_it_on_time(made: Path, tmp_path: Path) -> None:
    photons = read_dataset(made).metadata["photons_per_frame"]
    (tmp_path / "study.yaml").write_text(
        f"study: found\nbase: {{measured: {made}}}\n"
        f"design:\n  doses_photons: [{photons}]\n  patch_size_px: 32\n  views: {{baseline: {{gridsize: 1}}}}\n"
        "  split: {axis: time}\n"
        "training: {epochs: 1, unet_widths: [4, 8], threads: 1, refiner: null}\n"
    )
    answer = Workplace(tmp_path).run("submit", "--study", "study.yaml", "--executor", "debug")
    assert answer.code == 0, answer.out + answer.err
    (folder,) = (tmp_path / "outputs" / "found" / "data" / "phase_c").iterdir()
    train, test = (read_dataset(folder / f"patched_{half}.npz") for half in ("train", "test"))
    assert (len(train.diffraction), len(test.diffraction)) == (24, 25)
    np.testing.assert_array_equal(np.concatenate([train.counts(), test.counts()]), SCAN.counts)


def test_a_blurred_probe_is_refined_in_its_own_place_and_the_same_twice(tmp_path: Path) -> None:
    y, x = np.mgrid[:N, :N] - N / 2
    wrong = (SCAN.probe * np.exp(0.02j * (y * y + x * x))).astype(np.complex64)
    source = replace(SCAN, probe=wrong).write(tmp_path / "scan.npz")
    _, first = ingested(tmp_path, source, refine_probe=True)
    content = (tmp_path / "out.npz").read_bytes()
    report, second = ingested(tmp_path, source, refine_probe=True)
    assert content == (tmp_path / "out.npz").read_bytes()
    assert probe_error(first.probe_guess, SCAN.probe) < 0.5 * probe_error(wrong, SCAN.probe)
    assert np.linalg.norm(second.probe_guess) == pytest.approx(np.linalg.norm(wrong), rel=1e-5)
    assert second.metadata[METADATA_KEY]["from"] == "a given probe"
    assert not any("mirror" in fact for fact in report.assumed)


def test_no_step_leads_away_from_a_scan_without_noise() -> None:
    scan = tiny_scan()
    start = tiny_object()
    steps = joint_steps(replace(scan, counts=_expected(scan, start)), start)
    next(steps)
    object_hw, probe = next(steps)
    assert float((object_hw - start).abs().max()) < 1e-4
    assert float((probe - scan.probe).abs().max()) < 1e-4 * float(scan.probe.abs().max())


def _expected(scan: Any, object_hw: torch.Tensor) -> torch.Tensor:
    from ptycho_torch.physics import cut_patches, diffraction_intensity

    rows = torch.arange(len(scan))
    return diffraction_intensity(cut_patches(object_hw, scan.centers, scan.counts.shape[-1]), scan.probes_of(rows))


def test_rounds_that_only_do_harm_leave_the_probe() -> None:
    exposures = part_scan(tiny_scan(), 0.75, 1)
    dim = part_scan(replace(exposures.whole, counts=torch.poisson(exposures.whole.counts / 1e3)), 0.75, 1)
    dim = with_probe(dim, dim.whole.probe / 1e3**0.5)
    result = refine_probe(dim, 2)
    assert result.deviances[0] == probe_deviance(dim)
    if result.rounds == 0:
        torch.testing.assert_close(result.probe, dim.whole.probe)
    else:
        assert min(result.deviances) < result.deviances[0]


def test_a_scan_without_a_probe_names_the_flag_that_makes_one(tmp_path: Path) -> None:
    source = write_without_probe(tmp_path / "scan.npz", SCAN)
    with pytest.raises(DataContractError, match=r"without a probe, which training needs.* made with --probe mean-pattern"):
        ingested(tmp_path, source)
    assert not (tmp_path / "out.npz").exists()


@pytest.mark.parametrize(("said", "flag"), [("find_orientation", "--find-orientation"), ("keep_object", "--keep-object")])
def test_what_needs_a_known_probe_is_refused(tmp_path: Path, said: str, flag: str) -> None:
    source = write_without_probe(tmp_path / "scan.npz", SCAN)
    with pytest.raises(DataContractError, match=rf"{flag} needs a probe that is known\. Leave {flag} out"):
        ingested(tmp_path, source, probe="mean-pattern", **{said: True})


def test_too_few_patterns(tmp_path: Path) -> None:
    source = write_without_probe(tmp_path / "scan.npz", make_turned_scan(n=9))
    with pytest.raises(DataContractError, match=r"9 patterns with photons are too few to refine a probe; needed are 12"):
        ingested(tmp_path, source, probe="mean-pattern")


def test_an_empty_field_of_view_tells_nothing_of_a_probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(found_probe, "usual_radii", lambda: (0.1, -0.1))
    _, dataset = ingested(tmp_path, SCAN.write(tmp_path / "scan.npz"))
    expected = np.square(np.abs(np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(SCAN.probe), norm="ortho"))))
    counts = np.random.default_rng(0).poisson(1e5 * expected / expected.sum(), SCAN.counts.shape)
    scale = dataset.intensity_scale or 1.0
    empty = replace(dataset, diffraction=(np.sqrt(counts) / scale).astype(np.float32))
    with pytest.raises(
        DataContractError, match=r"of 6 probes made of the mean pattern none explains held-out photons of 48 patt"
    ):
        find_probe(empty, Path("scan.npz"), from_mean_pattern=True)


@pytest.mark.real
def test_of_the_measured_star_patterns_and_positions_are_enough(tmp_path: Path) -> None:
    """The probe in its file is a first guess: with one made of the patterns held-out photons are explained better, by a star."""
    source = SHARED / "data" / FILES[0]
    if not source.exists():
        pytest.skip(f"{source} is not there; it is no part of the repository")
    objects = {}
    for probe in (None, "mean-pattern"):
        ingest(source, tmp_path / "out.npz", options=IngestOptions(patch_size_px=64, probe=probe))
        scan = scan_tensors(read_dataset(tmp_path / "out.npz"), 1.0, torch.device("cpu"))
        objects[probe] = reconstruct_by_gradient(part_scan(scan, 0.75, 1), bounding_shape(scan), 30)
    made = objects["mean-pattern"]
    assert min(made.deviances) < 0.5 * min(objects[None].deviances)
    low, high = scan.positions_yx.min(axis=0).astype(int), scan.positions_yx.max(axis=0).astype(int)
    inner = made.object_hw.numpy()[low[0] : high[0], low[1] : high[1]]
    assert correlation_with_the_known_star(inner) > 0.8
