"""A new scan with the bundle of a job: what the job itself made of it, whatever the batches, and errors that say what to do."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from tiny_jobs import OBJECT_SHAPE, N, tiny_dataset, tiny_job
from tiny_study import TinyStudy, tiny_study

from fly64_hpc import reconstruct
from fly64_hpc.errors import RequestError
from fly64_hpc.job_record import AttemptRecord
from ptycho_torch.bundle import bundle_facts, write_bundle
from ptycho_torch.config import JobConfig, PtychoError
from ptycho_torch.errors import CheckpointError, ConfigError, DataContractError, DeviceError, SolverDivergedError
from ptycho_torch.held_out import noise_deviance, object_deviance
from ptycho_torch.model import seeded_model
from ptycho_torch.new_scan import doubts, unexplained_share
from ptycho_torch.npz_archive import AnyArray, read_arrays
from ptycho_torch.npz_contract import PtychoDataset, read_reconstruction, write_dataset
from ptycho_torch.pipeline import HalfFiles, TrainingFiles, evaluate_job, reconstruct_scan, train_job
from ptycho_torch.scan_geometry import ScanGeometry
from ptycho_torch.yardstick import Yardstick, laid_out

REFINER = {"unet_widths": (4, 8), "epochs": 1, "most_steps": 4, "exposures": 1, "adaptation_epochs": 1, "batch_size": 8}
ARRAYS = ("object", "refined", "weight", "box", "truth", "ycoords", "xcoords", "probe", "metadata_json")


def bundle_of(job: JobConfig, folder: Path) -> Path:
    """A bundle whose network has learnt nothing."""
    write_bundle(folder, seeded_model(job).state_dict(), bundle_facts(job))
    return folder


def scan_in(folder: Path, **changes: Any) -> Path:
    dataset: PtychoDataset = replace(tiny_dataset(with_truth=True), **changes)
    write_dataset(folder / "scan.npz", dataset)
    return folder / "scan.npz"


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scan_in(tmp_path_factory.mktemp("scan"))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle_of(tiny_job(), tmp_path_factory.mktemp("bundle"))


class Trained(NamedTuple):
    """A job with a refiner that came to its end."""

    job: JobConfig
    files: TrainingFiles


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    place = tmp_path_factory.mktemp("trained")
    for name, rows in (("train.npz", slice(0, 40)), ("test.npz", slice(40, 64))):
        write_dataset(place / name, tiny_dataset(with_truth=True, n=64).select(np.arange(64)[rows]))
    job = tiny_job(gridsize=2, epochs=1, refiner=REFINER).model_copy(update={"training_seed": 3})
    files = TrainingFiles(place / "train.npz", place / "test.npz", place / "job", place / "checkpoints", place / "train.log")
    train_job(job, files, attempt=1, report=lambda _: None, should_stop=lambda: False)
    return Trained(job, files)


def arrays_of(path: Path) -> dict[str, AnyArray]:
    return read_arrays(path, ARRAYS)


def test_the_job_s_own_test_half_gives_the_job_s_own_reconstruction_bit_for_bit(trained: Trained, tmp_path: Path) -> None:
    files = trained.files
    result = reconstruct_scan(files.folder, files.test_npz, refine=True, threads=1)
    result.save(tmp_path / "new.npz")
    new, own = arrays_of(tmp_path / "new.npz"), arrays_of(files.folder / "reconstruction.npz")
    for name in ("object", "weight", "box", "truth"):
        np.testing.assert_array_equal(new[name], own[name])
    evaluation = evaluate_job(trained.job, files.folder, HalfFiles(files.train_npz, files.test_npz, tmp_path))
    np.testing.assert_array_equal(result.object_yx, arrays_of(tmp_path / "refined_test.npz")["object"])
    figures = evaluation["halves"]["test"]["methods"]
    assert result.held_out_deviance["network"] == figures["network"]["held_out_deviance"]
    assert result.held_out_deviance["refined"] == figures["refined"]["held_out_deviance"]
    assert result.scores is not None
    assert result.scores["refined"] == figures["refined"]["scores"]
    assert result.provenance["methods"]["refined"]["how"].startswith("refiner, after 1 epochs on this scan, then ")


def test_three_lines_of_python(bundle: Path, scan: Path) -> None:
    result = reconstruct_scan(bundle, scan, refine=True)
    assert result.object_yx.shape == OBJECT_SHAPE
    assert result.object_yx is result.made.refined_yx is not result.network_yx
    assert reconstruct_scan(bundle, scan).object_yx.dtype == np.complex64


def test_torch_is_left_as_it_was(bundle: Path, scan: Path) -> None:
    before = torch.get_num_threads(), torch.get_deterministic_debug_mode(), torch.backends.cudnn.benchmark
    reconstruct_scan(bundle, scan, threads=1)
    assert before == (torch.get_num_threads(), torch.get_deterministic_debug_mode(), torch.backends.cudnn.benchmark)


def without_times(metadata: AnyArray) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(str(metadata))
    provenance = facts["provenance"]
    provenance.pop("patterns_per_s")
    for method in provenance["methods"].values():
        method.pop("seconds")
    return facts


def test_the_same_again_gives_the_same_bytes_but_for_the_seconds(bundle: Path, scan: Path, tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        reconstruct_scan(bundle, scan, refine=True, threads=1).save(tmp_path / name)
    first, second = arrays_of(tmp_path / "a.npz"), arrays_of(tmp_path / "b.npz")
    assert without_times(first.pop("metadata_json")) == without_times(second.pop("metadata_json"))
    assert {name: array.tobytes() for name, array in first.items()} == {name: array.tobytes() for name, array in second.items()}
    assert set(first) == set(ARRAYS) - {"metadata_json"}


@pytest.mark.parametrize(
    "training",
    [{}, {"fuse_groups": False}, {"architecture": "canvas_unet"}, {"architecture": "ptychopinn", "n_filters_scale": 1}],
)
def test_batches_of_any_size_give_the_same_object(scan: Path, tmp_path: Path, training: dict[str, Any]) -> None:
    folder = bundle_of(tiny_job(gridsize=2, **training), tmp_path)
    objects = [reconstruct_scan(folder, scan, batch_patterns=size).object_yx for size in (1, 7, 1000)]
    for other in objects[1:]:
        np.testing.assert_allclose(other, objects[0], atol=1e-5)


def test_the_file_has_what_a_reader_needs(bundle: Path, tmp_path: Path) -> None:
    geometry = ScanGeometry(photon_energy_eV=8800.0, detector_distance_m=2.0, detector_pixel_size_m=1.5e-4)
    dataset = tiny_dataset(with_truth=False)
    npz = scan_in(tmp_path, object_guess=None, metadata=geometry.as_metadata())
    result = reconstruct_scan(bundle, npz, refine=True)
    result.save(tmp_path / "object.npz")
    saved = arrays_of(tmp_path / "object.npz")
    metadata = json.loads(str(saved["metadata_json"]))
    assert "truth" not in saved
    np.testing.assert_array_equal(np.stack([saved["ycoords"], saved["xcoords"]], axis=1), dataset.positions_yx)
    np.testing.assert_allclose(saved["probe"], dataset.probe_guess * 100, rtol=1e-6)
    assert metadata["geometry"] == geometry.as_metadata()["geometry"]
    assert metadata["pixel_size_m"] == geometry.pixel_size_m(N) == result.pixel_size_m
    facts = metadata["provenance"]
    assert facts["scan"].keys() == {"file", "sha256"}
    assert facts["bundle"]["weights_sha256"] == json.loads((bundle / "model.json").read_text())["weights_sha256"]
    steps = facts["methods"]["refined"]["steps"]
    assert steps > 0
    assert facts["methods"]["refined"]["how"] == (
        f"{steps} data-consistency steps from the network's object; the bundle has no refiner"
    )
    assert set(read_reconstruction(tmp_path / "object.npz").images) == {"network", "refined"}


def laid(**changes: Any) -> Yardstick:
    return laid_out(replace(tiny_dataset(with_truth=True, n=60), **changes), dose_photons=1.0, device=torch.device("cpu"))


def deviances_of_the_truth(scan: Yardstick) -> dict[str, float]:
    """As if a network had made the very truth."""
    held, truth = scan.exposures.held, torch.from_numpy(scan.truth)
    objects = {"flat": torch.ones_like(truth), "network": truth}
    return {name: object_deviance(one, held) for name, one in objects.items()} | {"noise": noise_deviance(truth, held, 0)}


def test_what_is_right_is_explained_but_for_noise() -> None:
    deviances = deviances_of_the_truth(laid())
    assert deviances["network"] == pytest.approx(deviances["noise"], rel=0.02)
    assert abs(unexplained_share(deviances)) < 0.05
    assert doubts(deviances) == []


@pytest.mark.parametrize("wrong", ["conjugated", "brighter", "mirrored"])
def test_a_wrong_probe_and_wrong_positions_are_doubted(wrong: str) -> None:
    right = tiny_dataset(with_truth=True, n=60)
    changes = {
        "conjugated": {"probe_guess": right.probe_guess.conj()},
        "brighter": {"probe_guess": right.probe_guess * np.complex64(1.3)},
        "mirrored": {"ycoords": right.ycoords.max() + right.ycoords.min() - right.ycoords},
    }
    (said,) = doubts(deviances_of_the_truth(laid(**changes[wrong])))
    assert re.search(
        r"leaves (\d+ %|all) of what a flat one leaves unexplained .*: the probe, the positions or the photon scale", said
    )


@pytest.mark.parametrize(
    ("network", "flat", "noise", "warns"),
    [(0.5, 0.7, 0.4, False), (0.51, 0.7, 0.4, True), (0.8, 0.7, 0.4, True), (0.3, 0.35, 0.4, False), (0.35, 0.35, 0.4, True)],
)
def test_a_third_of_what_a_flat_object_leaves_is_the_limit(network: float, flat: float, noise: float, warns: bool) -> None:
    assert len(doubts({"flat": flat, "network": network, "noise": noise, "refined": 0.1})) == warns


def test_a_scan_without_a_truth_has_no_scores_and_a_network_that_knows_nothing_is_doubted(bundle: Path, tmp_path: Path) -> None:
    result = reconstruct_scan(bundle, scan_in(tmp_path, object_guess=None))
    assert result.scores is None
    assert len(result.warnings) == 1


def test_an_object_that_is_no_number_is_an_error(scan: Path, tmp_path: Path) -> None:
    job = tiny_job()
    broken = {name: torch.full_like(weight, torch.nan) for name, weight in seeded_model(job).state_dict().items()}
    write_bundle(tmp_path, broken, bundle_facts(job))
    refused(tmp_path, scan, SolverDivergedError, "object by the network method became infinite or not a number.*Is the probe")


def test_a_dark_probe_is_an_error(bundle: Path, tmp_path: Path) -> None:
    npz = scan_in(tmp_path, probe_guess=np.full((N, N), 1e-30, np.complex64))
    refused(bundle, npz, PtychoError, "An object lets no photon through.*Is the probe dark")


def refused(bundle: Path, scan: Path, error: type[PtychoError], words: str, **arguments: Any) -> PtychoError:
    with pytest.raises(error, match=words) as caught:
        reconstruct_scan(bundle, scan, **arguments)
    assert caught.value.hint or error is ConfigError, "it says what to do"
    return caught.value


def _cut(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")


def _of_the_future(folder: Path) -> None:
    facts = json.loads((folder / "model.json").read_text())
    facts["training"]["dropout"] = 0.5
    (folder / "model.json").write_text(json.dumps(facts))


def _of_another_width(folder: Path) -> None:
    facts = json.loads((folder / "model.json").read_text())
    facts["training"]["unet_widths"] = [8, 16]
    (folder / "model.json").write_text(json.dumps(facts))


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (_cut, r"model\.safetensors is damaged: its sha256 .*Copy the whole bundle again"),
        (lambda folder: (folder / "model.json").unlink(), r"model\.json is missing: .* holds no bundle\. Name the folder"),
        (lambda folder: (folder / "model.safetensors").unlink(), r"model\.safetensors is missing\. Copy the whole bundle"),
        (lambda folder: (folder / "model.json").write_text("[1]"), r"model\.json is no bundle's record.*Copy the whole bundle"),
        (_of_the_future, r"model\.json: no network can be built of it: .*dropout.*another version of this program\?"),
        (_of_another_width, r"model\.json: no network can be built of it: RuntimeError: .*another version"),
    ],
)
def test_a_bundle_that_is_none_is_refused(scan: Path, tmp_path: Path, harm: Callable[[Path], object], words: str) -> None:
    harm(bundle_of(tiny_job(), tmp_path))
    refused(tmp_path, scan, CheckpointError, words)


def test_a_file_that_is_no_scan_is_refused(bundle: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", data=np.zeros(3))
    refused(bundle, tmp_path / "other.npz", DataContractError, r"other\.npz: missing key `diffraction`.*fly64-hpc ingest")
    refused(bundle, tmp_path / "absent.npz", DataContractError, r"absent\.npz: no such file\. Check the path")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "other.npz").read_bytes()[:50])
    refused(bundle, tmp_path / "cut.npz", DataContractError, r"cut\.npz: not a whole NPZ")


def test_a_scan_that_does_not_fit_the_network_is_refused(scan: Path, tmp_path: Path) -> None:
    larger = bundle_of(tiny_job().model_copy(update={"patch_size_px": 64}), tmp_path / "larger")
    refused(larger, scan, DataContractError, r"got patterns of 32 px; the network \(tiny\) takes patterns of 64 px\. Crop or bin")
    mixing = bundle_of(tiny_job(gridsize=2, architecture="ptychopinn", n_filters_scale=1), tmp_path / "mixing")
    few = scan_in(tmp_path)
    write_dataset(few, tiny_dataset(with_truth=True).select(np.arange(3)))
    refused(mixing, few, DataContractError, r"got 3 patterns; groups of gridsize 2 need at least 4")


def test_a_scan_that_does_not_know_its_photons_is_refused_or_told(bundle: Path, scan: Path, tmp_path: Path) -> None:
    npz = scan_in(tmp_path, intensity_scale=None)
    refused(bundle, npz, DataContractError, r"has no `intensity_scale`.*--photons-per-pattern.*photons_per_pattern=")
    assert reconstruct_scan(bundle, npz, photons_per_pattern=5e3).provenance["photons_per_pattern"] == pytest.approx(
        5e3, rel=0.05
    )
    refused(bundle, npz, ConfigError, r"photons per pattern: got 0; allowed is a number above 0", photons_per_pattern=0.0)
    refused(bundle, scan, ConfigError, "has an `intensity_scale` of its own.*Leave them out", photons_per_pattern=5e3)


def test_what_else_cannot_be_is_refused(bundle: Path, scan: Path, tmp_path: Path) -> None:
    refused(bundle, scan, ConfigError, "patterns in a batch: got 0; allowed is 1 or more", batch_patterns=0)
    npz = scan_in(tmp_path, metadata={"geometry": {"photon_energy_eV": -1}})
    refused(
        bundle, npz, DataContractError, "`geometry` in `metadata_json` is no geometry of a scan.*Allowed are photon_energy_eV"
    )
    if not torch.cuda.is_available():
        refused(bundle, scan, DeviceError, "device is cuda, but.*set device to auto", device="cuda")


def test_a_bundle_without_its_seed_is_said_to_be_old(trained: Trained, tmp_path: Path) -> None:
    for name in ("model.safetensors", "model.json"):
        (tmp_path / name).write_bytes((trained.files.folder / name).read_bytes())
    facts = json.loads((tmp_path / "model.json").read_text())
    del facts["training_seed"]
    (tmp_path / "model.json").write_text(json.dumps(facts))
    result = reconstruct_scan(tmp_path, trained.files.test_npz, refine=True)
    assert "did not keep the seed of its training" in result.warnings[0]
    assert not any("did not keep" in line for line in reconstruct_scan(tmp_path, trained.files.test_npz).warnings)


def test_the_verb_says_what_it_did(bundle: Path, scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "new" / "object.npz"
    assert reconstruct.main(["--bundle", str(bundle / "model.safetensors"), str(scan), str(target), "--refine"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"network: {bundle}"
    assert lines[1].startswith("scan: 40 patterns of 32 px, ")
    assert lines[2] == "pixel of the object: the scan does not say how large"
    assert lines[3].startswith("network: 40 groups of 1, ")
    assert "patterns per second on cpu" in lines[3]
    assert "data-consistency steps from the network's object; the bundle has no refiner" in lines[4]
    assert [word in lines[5] for word in ("deviance per held-out photon: flat 0.", "network", "refined")] == [True] * 3
    assert [line.split(":")[1].strip() for line in lines[6:9]] == ["flat", "network", "refined"]
    assert lines[-1] == f"wrote {target}"
    assert set(arrays_of(target)) == set(ARRAYS)


def test_the_verb_answers_a_machine(bundle: Path, scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reconstruct.main(["--bundle", str(bundle), str(scan), str(tmp_path / "o.npz"), "--json", "--batch", "16"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["target"] == str(tmp_path / "o.npz")
    assert answer["provenance"]["batch_patterns"] == 16
    assert answer["held_out_deviance"].keys() - {"noise"} == answer["scores"].keys() == {"flat", "network"}


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--bundle", "b", "--dose", "1e3"), "--bundle names the network, and --dose beside it"),
        (("--bundle", "b", "--study-dir", "s", "--job", "j"), "--study-dir, --job beside it"),
        (("--bundle", "b", "--study", "other.yaml"), "--study beside it"),
    ],
)
def test_two_networks_are_refused(scan: Path, flags: tuple[str, ...], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        reconstruct.main([*flags, str(scan), "out.npz"])


def test_the_scan_is_never_written_over(bundle: Path, scan: Path) -> None:
    with pytest.raises(RequestError, match="is the scan itself"):
        reconstruct.main(["--bundle", str(bundle), str(scan), str(scan)])


@pytest.fixture
def study(tmp_path: Path) -> TinyStudy:
    """A study whose first job has a bundle."""
    made = tiny_study(tmp_path / "study")
    paths = made.job()
    bundle_of(tiny_job(), paths.root)
    facts = json.loads((paths.root / "model.json").read_text())
    result = {"bundle_path": "model.safetensors", "bundle_sha256": facts["weights_sha256"], "bundle_size_bytes": 1}
    record: AttemptRecord = made.attempt(1, "succeeded", ended_utc="2026-01-01T00:00:00.000Z", result=result | RESULT)
    assert record.state == "succeeded"
    return made


RESULT: dict[str, Any] = {"final_loss": 0.1, "best_val_loss": 0.1, "epochs_completed": 1, "metrics": {}}


def test_a_job_of_a_study_is_chosen_by_dose_and_view(study: TinyStudy, scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = study.paths.root.parent / "object.npz"
    chosen = ("--study-dir", str(study.paths.root), "--dose", "1e3", "--view", "baseline")
    assert reconstruct.main([*chosen, str(scan), str(target)]) == 0
    assert capsys.readouterr().out.startswith(f"network: {study.job().root}\n")
    with pytest.raises(RequestError, match=r"dose_1000-dense-gs2 has no trained network: pending: .*Train it first"):
        reconstruct.main(["--study-dir", str(study.paths.root), "--job", "1000-dense", str(scan), str(target)])
    with pytest.raises(RequestError, match=r"leaves 3 jobs: .*Name one of them with --job, or select it with --dose"):
        reconstruct.main(["--study-dir", str(study.paths.root), "--dose", "1e3", str(scan), str(target)])
