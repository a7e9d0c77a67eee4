"""The door: from a recipe to a result record, on the smallest study there is."""

import json
import os
import platform
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from tiny_jobs import N, tiny_job

from ptycho_torch import params
from ptycho_torch.atomic_files import sha256_file
from ptycho_torch.config import (
    BaseConfig,
    DatasetRecipe,
    JobConfig,
    ProceduralBase,
    ScanConfig,
    SplitConfig,
    ViewConfig,
    ViewRecipe,
)
from ptycho_torch.errors import DataContractError, ViewUnavailableError
from ptycho_torch.evaluation import ImageScores, evaluation_box
from ptycho_torch.npz_contract import read_dataset, write_dataset
from ptycho_torch.pipeline import Interrupted, TrainingFiles, load_model, prepare_dataset, prepare_view, train_job


def _recipe() -> DatasetRecipe:
    return DatasetRecipe(
        base=BaseConfig(procedural=ProceduralBase(size=(128, 96))),
        base_sha256=None,
        scan=ScanConfig(positions=64),
        split=SplitConfig(),
        dose_photons=1e4,
        patch_size_px=N,
        simulation_seed=42,
    )


def _view(image_fraction: float = 1.0) -> ViewRecipe:
    return ViewRecipe(
        dataset=_recipe(),
        name="dense",
        view=ViewConfig(gridsize=2, image_fraction=image_fraction),
        neighbor_count=7,
        probe_diameter_px=0.6 * N,
        subsampling_seed=456,
        grouping_seed=123,
    )


@pytest.fixture(scope="module")
def phase_c(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phase_c")
    prepare_dataset(_recipe(), folder)
    return folder


class Done(NamedTuple):
    """A job that came to its end."""

    facts: dict[str, Any]
    events: list[dict[str, Any]]
    folder: Path
    """The attempt's own."""
    log: str


def _files(phase_c: Path, place: Path, attempt: int) -> TrainingFiles:
    """Those of one attempt at the job whose folder is `place`."""
    return TrainingFiles(
        train_npz=phase_c / "patched_train.npz",
        test_npz=phase_c / "patched_test.npz",
        folder=place / "attempts" / f"{attempt:03d}",
        checkpoints=place / "checkpoints" / f"{attempt:03d}",
        log=place / "train.log",
        earlier_checkpoints=tuple(place / "checkpoints" / f"{earlier:03d}" for earlier in range(attempt - 1, 0, -1)),
    )


def _run(job: JobConfig, phase_c: Path, place: Path, *, steps: int = 10**6, attempt: int = 1) -> Done:
    events: list[dict[str, Any]] = []
    files = _files(phase_c, place, attempt)

    def should_stop() -> bool:
        return [event["event"] for event in events].count("step") >= steps

    facts = train_job(job, files, attempt=attempt, report=events.append, should_stop=should_stop)
    return Done(facts, events, files.folder, files.log.read_text())


@pytest.fixture(scope="module")
def done(phase_c: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    return _run(tiny_job(gridsize=2, epochs=2), phase_c, tmp_path_factory.mktemp("job"))


def test_the_result_is_json_and_true_to_the_files(done: Done) -> None:
    facts, _, folder, _ = done
    bundle = folder / facts["bundle_path"]
    assert json.loads(json.dumps(facts)) == facts
    assert (facts["bundle_sha256"], facts["bundle_size_bytes"]) == (sha256_file(bundle), bundle.stat().st_size)
    assert (facts["epochs_completed"], facts["device"], facts["warnings"]) == (2, "cpu", [])
    assert (facts["first_step"], facts["resumed_from"]) == (0, None)


def test_the_metrics_hold_every_comparison(done: Done) -> None:
    metrics = done.facts["metrics"]
    assert metrics.keys() == {
        "held_out_deviance",
        "untrained_deviance",
        "flat_deviance",
        "flat_nmse",
        "collapsed",
        *(field.name for field in fields(ImageScores)),
    }
    assert metrics["held_out_deviance"] < metrics["untrained_deviance"]
    assert metrics["collapsed"] == (metrics["collapse_reason"] is not None)


def test_events_end_with_the_evaluation(done: Done) -> None:
    kinds = [event["event"] for event in done.events]
    assert kinds[0] == "step"
    assert kinds.count("epoch") == 2
    assert kinds[-1] == "evaluating"


def test_the_reconstruction_lies_beside_its_truth(done: Done, phase_c: Path) -> None:
    truth = read_dataset(phase_c / "patched_test.npz").object_guess
    assert truth is not None
    with np.load(done.folder / "reconstruction.npz", allow_pickle=False) as saved:
        top, bottom, left, right = saved["box"]
        assert saved["object"].shape == saved["weight"].shape == truth.shape
        assert saved["object"].dtype == np.complex64
        np.testing.assert_array_equal(saved["truth"], truth[top:bottom, left:right])


def test_the_reconstruction_is_of_the_test_half(done: Done, phase_c: Path) -> None:
    train, test = (read_dataset(phase_c / name).positions_yx for name in ("patched_train.npz", "patched_test.npz"))
    with np.load(done.folder / "reconstruction.npz", allow_pickle=False) as saved:
        assert saved["box"].tolist() == list(evaluation_box(test, saved["object"].shape, N).as_dict().values())
        for y, x in np.floor(test + 0.5).astype(int):
            assert saved["weight"][y, x] > 0
        assert not any(saved["weight"][y, x] for y, x in np.floor(train + 0.5).astype(int))


def test_the_test_half_is_refused_before_training(phase_c: Path, tmp_path: Path) -> None:
    train, test = (read_dataset(phase_c / name) for name in ("patched_train.npz", "patched_test.npz"))
    write_dataset(tmp_path / "patched_train.npz", train)
    write_dataset(tmp_path / "patched_test.npz", test.select(np.arange(3)))
    with pytest.raises(DataContractError, match=r"patched_test\.npz: got 3 patterns; groups of gridsize 2"):
        _run(tiny_job(gridsize=2), tmp_path, tmp_path / "job")
    assert not (tmp_path / "job" / "checkpoints").exists()


def test_the_log_and_the_history_tell_of_both_epochs(done: Done) -> None:
    assert "attempt 1 INFO begins" in done.log
    assert "attempt 1 INFO epoch 2/2" in done.log
    assert "attempt 1 INFO is complete" in done.log
    assert len((done.folder / "history.jsonl").read_text().splitlines()) == 2


def test_interrupted_and_resumed_gives_the_same_files(done: Done, phase_c: Path, tmp_path: Path) -> None:
    job = tiny_job(gridsize=2, epochs=2)
    with pytest.raises(Interrupted):
        _run(job, phase_c, tmp_path, steps=3)
    facts, _, folder, log = _run(job, phase_c, tmp_path, attempt=2)
    assert (facts["first_step"], facts["resumed_from"]) == (3, "checkpoints/001/step_00000003.safetensors")
    assert facts["metrics"] == done.facts["metrics"]
    assert "attempt 1 WARNING ends early: Interrupted" in log
    assert _digests(folder) == _digests(done.folder)


def _digests(folder: Path) -> list[str]:
    return [sha256_file(folder / name) for name in ("model.safetensors", "model.json", "reconstruction.npz")]


def suspend_in_step_6(phase_c: str, place: str) -> None:
    """A first attempt that is suspended in the middle of its second epoch; what a child process runs."""

    def report(event: dict[str, Any]) -> None:
        if event.get("step") == 5 and event["event"] == "step":
            os.kill(os.getpid(), signal.SIGSTOP)

    files = _files(Path(phase_c), Path(place), 1)
    train_job(tiny_job(gridsize=2, epochs=2), files, attempt=1, report=report, should_stop=lambda: False)


@contextmanager
def _suspended(phase_c: Path, place: Path) -> Iterator["subprocess.Popen[bytes]"]:
    script = f"import test_pipeline; test_pipeline.suspend_in_step_6({str(phase_c)!r}, {str(place)!r})"
    child = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parent)
    try:
        assert os.WIFSTOPPED(os.waitpid(child.pid, os.WUNTRACED)[1]), "the first attempt ended before it was suspended"
        yield child
    finally:
        child.kill()
        child.wait()


def test_two_processes_at_one_job_make_the_same_files_each_in_its_folder(done: Done, phase_c: Path, tmp_path: Path) -> None:
    with _suspended(phase_c, tmp_path) as first:
        facts, _, second, _ = _run(tiny_job(gridsize=2, epochs=2), phase_c, tmp_path, attempt=2)
        assert facts["resumed_from"] == "checkpoints/001/step_00000004.safetensors"
        first.send_signal(signal.SIGCONT)
        assert first.wait(120) == 0
    assert _digests(tmp_path / "attempts" / "001") == _digests(second) == _digests(done.folder)
    lines = (tmp_path / "train.log").read_text().splitlines()
    assert all(re.match(r"\S+Z attempt [12] (INFO|WARNING) \S", line) for line in lines)
    ends = [line.split(" ", 1)[1] for line in lines if line.endswith("complete")]
    assert ends == ["attempt 2 INFO is complete", "attempt 1 INFO is complete"]


def test_a_log_on_a_full_disk_does_not_end_training(phase_c: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    files = replace(_files(phase_c, tmp_path, 1), log=Path("/dev/full"))
    facts = train_job(tiny_job(epochs=1), files, attempt=1, report=lambda _: None, should_stop=lambda: False)
    assert facts["epochs_completed"] == 1
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("gridsize", [1, 2])
def test_the_network_that_mixes_patterns_trains_too(phase_c: Path, tmp_path: Path, gridsize: int) -> None:
    job = tiny_job(gridsize=gridsize, architecture="ptychopinn", n_filters_scale=1, epochs=1)
    facts, _, folder, _ = _run(job, phase_c, tmp_path)
    assert facts["metrics"]["nmse"] < 1
    assert load_model(folder)[0].mixes_channels


def test_jobs_in_a_row_leave_no_key_behind(phase_c: Path, tmp_path: Path) -> None:
    params.reset()
    defaults = dict(params.cfg)
    for gridsize in (2, 1):
        _run(tiny_job(gridsize=gridsize, epochs=1), phase_c, tmp_path / str(gridsize))
        assert params.cfg == defaults


def test_a_scan_without_truth_is_scored_on_photons_alone(phase_c: Path, tmp_path: Path) -> None:
    for name in ("patched_train.npz", "patched_test.npz"):
        write_dataset(tmp_path / name, replace(read_dataset(phase_c / name), object_guess=None))
    metrics = _run(tiny_job(epochs=1), tmp_path, tmp_path / "job").facts["metrics"]
    photons = {"held_out_deviance", "untrained_deviance", "flat_deviance"}
    assert metrics.keys() == photons | {"collapsed", "collapse_reason"}
    assert metrics["collapsed"] == (metrics["held_out_deviance"] >= metrics["flat_deviance"])
    assert metrics["collapsed"] == (metrics["collapse_reason"] is not None)


def test_current_data_are_not_made_again(phase_c: Path, tmp_path: Path) -> None:
    times = {path: path.stat().st_mtime_ns for path in phase_c.iterdir()}
    prepare_dataset(_recipe(), phase_c)
    assert {path: path.stat().st_mtime_ns for path in phase_c.iterdir()} == times
    first = prepare_view(_view(), phase_c, tmp_path)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert prepare_view(_view(), phase_c, tmp_path) == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == times


def test_a_view_that_cannot_be_is_named(phase_c: Path, tmp_path: Path) -> None:
    with pytest.raises(ViewUnavailableError, match="dense"):
        prepare_view(_view(image_fraction=0.1), phase_c, tmp_path)


def _python(script: str) -> str:
    root = Path(__file__).parents[1]
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=root).stdout.strip()


def test_without_torch_the_door_says_what_to_install() -> None:
    said = _python(
        "import sys; sys.modules['torch'] = None\n"
        "from ptycho_torch.errors import MissingTorchError\n"
        "try:\n    import ptycho_torch.pipeline\n"
        "except MissingTorchError as error:\n    print(error)"
    )
    assert said.startswith("PyTorch cannot be imported")
    assert "pip install torch" in said


def test_the_door_imports_no_plotting() -> None:
    assert _python("import sys, ptycho_torch.pipeline; print(*{'matplotlib', 'fly64_hpc'} & set(sys.modules))") == ""


def test_a_training_waits_for_no_import_that_it_does_not_need_and_keeps_what_it_frees() -> None:
    program = """
import resource, sys
import ptycho_torch.pipeline
print(sorted({"h5py", "skimage", "scipy.ndimage", "matplotlib", "ptycho_torch.evaluation"} & set(sys.modules)))
import numpy as np
from ptycho_torch.devices import keep_freed_memory
keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(16 * 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults() > 10 * max(1, faults()))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    glibc = platform.libc_ver()[0] == "glibc"
    assert done.stdout.splitlines() == ["[]", str(glibc)]
