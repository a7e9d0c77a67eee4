"""TensorBoard's curves are those of history.jsonl, go on where a training goes on, and are never a reason to lose one."""

import logging
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from command import Workplace
from tiny_jobs import tiny_job

from ptycho_torch import pipeline
from ptycho_torch.config import TrainingConfig
from ptycho_torch.tensorboard_events import SCALARS, Report, reporting_to

ONE = ("--executor", "debug", "--dose", "1000", "--view", "baseline", "--set", "training.tensorboard=true")


def row(epoch: int, loss: float, lesson: str = "network") -> dict[str, Any]:
    rest = {"val_loss": loss / 2, "learning_rate": 1e-3, "seconds": 1.0, "samples_per_s": 9.0}
    return {"event": "epoch", "epochs": 9, "lesson": lesson, "epoch": epoch, "step": 10 * epoch, "train_loss": loss, **rest}


def write(folder: Path, *rows: dict[str, Any]) -> list[dict[str, Any]]:
    """What the launcher hears of a training that reports these epochs."""
    heard: list[dict[str, Any]] = []
    with reporting_to(folder, heard.append) as report:
        for one in rows:
            report(one)
    return heard


def test_it_is_no_part_of_what_a_job_is() -> None:
    watched = tiny_job(tensorboard=True)
    assert watched.config_sha256() == tiny_job().config_sha256()
    assert TrainingConfig().tensorboard is False


def test_it_lies_beside_the_history_where_the_job_asks_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def reporting(folder: Path, report: Report) -> AbstractContextManager[Report]:
        asked.append(folder)
        return nullcontext(report)

    monkeypatch.setattr(pipeline, "reporting_to", reporting)
    attempt, checkpoints = tmp_path / "attempts" / "001", tmp_path / "checkpoints" / "001"
    files = pipeline.TrainingFiles(tmp_path, tmp_path, attempt, checkpoints, tmp_path / "train.log")
    for wanted, found in ((False, []), (True, [tmp_path / "tensorboard"])):
        with pipeline._reporting(tiny_job(tensorboard=wanted), files, print) as tell:
            assert tell is print
        assert asked == found


def test_where_the_package_is_absent_the_request_is_refused_with_the_command(tmp_path: Path) -> None:
    absent = (
        "import importlib.util as u, sys; f = u.find_spec; u.find_spec = lambda n, *a: None if n == 'tensorboard' else f(n, *a)"
    )
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(absent)
    place = Workplace(tmp_path / "work", {"PYTHONPATH": f"{tmp_path / 'site'}:{':'.join(filter(None, sys.path))}"})
    place.folder.mkdir()
    answer = place.submit(*ONE)
    assert answer.code == 2
    assert "training.tensorboard is true, but this Python has no package tensorboard" in answer.err
    assert "-m pip install tensorboard" in answer.err
    assert not place.files()


def test_a_folder_that_cannot_be_written_costs_a_warning_and_no_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tensorboard").write_text("in the way")
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # or the package is absent altogether
    with caplog.at_level(logging.WARNING, "ptycho_torch"):
        assert len(write(tmp_path / "tensorboard", row(1, 2.0), row(2, 1.0))) == 2
    assert caplog.text.count("event files are not written") == 1


@pytest.fixture
def read() -> Any:
    """Reads a folder as TensorBoard does: tag to the steps and values of its curve."""
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="the package tensorboard is not installed"
    )

    def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
        events = accumulator.EventAccumulator(str(folder))
        events.Reload()
        tags = events.Tags()["scalars"]
        return {tag: [(one.step, round(one.value, 5)) for one in events.Scalars(tag)] for tag in tags}

    return curves


def test_the_curves_are_those_of_the_history_and_a_resumed_training_goes_on_with_them(tmp_path: Path, read: Any) -> None:
    write(tmp_path, row(1, 4.0), row(2, 3.0), row(3, 99.0))
    write(tmp_path, row(3, 2.0), row(4, 1.0, "refiner"))  # the third epoch again: the first attempt ended before it was saved
    curves = read(tmp_path)
    assert curves["network/train_loss"] == [(1, 4.0), (2, 3.0), (3, 2.0)]
    assert curves["refiner/val_loss"] == [(4, 0.5)]
    assert set(curves) == {f"{lesson}/{name}" for lesson in ("network", "refiner") for name in SCALARS}
