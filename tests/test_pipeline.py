"""The door: from a recipe to a result record, on the smallest study there is."""

import json
import subprocess
import sys
from dataclasses import replace
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
from ptycho_torch.evaluation import scan_box
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


def _run(job: JobConfig, phase_c: Path, folder: Path, steps: int = 10**6) -> Done:
    events: list[dict[str, Any]] = []
    files = TrainingFiles(phase_c / "patched_train.npz", phase_c / "patched_test.npz", folder)

    def should_stop() -> bool:
        return [event["event"] for event in events].count("step") >= steps

    return Done(train_job(job, files, attempt=1, report=events.append, should_stop=should_stop), events, folder)


@pytest.fixture(scope="module")
def done(phase_c: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    return _run(tiny_job(gridsize=2, epochs=2), phase_c, tmp_path_factory.mktemp("job"))


def test_the_result_is_json_and_true_to_the_files(done: Done) -> None:
    facts, _, folder = done
    bundle = folder / facts["bundle_path"]
    assert json.loads(json.dumps(facts)) == facts
    assert (facts["bundle_sha256"], facts["bundle_size_bytes"]) == (sha256_file(bundle), bundle.stat().st_size)
    assert (facts["epochs_completed"], facts["device"], facts["resumed_from"], facts["warnings"]) == (2, "cpu", None, [])


def test_the_metrics_hold_every_comparison(done: Done) -> None:
    metrics = done.facts["metrics"]
    assert metrics.keys() == {
        "held_out_deviance",
        "untrained_deviance",
        "flat_deviance",
        "nmse",
        "flat_nmse",
        "phase_mae_rad",
        "phase_std_ratio",
        "phase_correlation",
        "collapsed",
        "collapse_reason",
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
        assert saved["box"].tolist() == list(scan_box(test, saved["object"].shape).as_dict().values())
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
    log = (done.folder / "train.log").read_text()
    assert "attempt 1 begins" in log
    assert "epoch 2/2" in log
    assert "attempt 1 is complete" in log
    assert len((done.folder / "history.jsonl").read_text().splitlines()) == 2


def test_interrupted_and_resumed_gives_the_same_files(done: Done, phase_c: Path, tmp_path: Path) -> None:
    job = tiny_job(gridsize=2, epochs=2)
    with pytest.raises(Interrupted):
        _run(job, phase_c, tmp_path, steps=3)
    facts = _run(job, phase_c, tmp_path).facts
    assert facts["resumed_from"] == "checkpoints/step_00000003.safetensors"
    assert facts["metrics"] == done.facts["metrics"]
    for name in ("model.safetensors", "model.json", "reconstruction.npz"):
        assert sha256_file(tmp_path / name) == sha256_file(done.folder / name)


@pytest.mark.parametrize("gridsize", [1, 2])
def test_the_network_that_mixes_patterns_trains_too(phase_c: Path, tmp_path: Path, gridsize: int) -> None:
    job = tiny_job(gridsize=gridsize, architecture="ptychopinn", n_filters_scale=1, epochs=1)
    facts = _run(job, phase_c, tmp_path).facts
    assert facts["metrics"]["nmse"] < 1
    assert load_model(tmp_path)[0].mixes_channels


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
    assert _python("import sys, ptycho_torch.pipeline; print(*{'matplotlib', 'skimage', 'fly64_hpc'} & set(sys.modules))") == ""
