"""Laws of training: repeatable, resumable to the bit, and downhill."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_jobs import tiny_job, tiny_scan

from ptycho_torch import learning
from ptycho_torch.bundle import bundle_facts, write_bundle
from ptycho_torch.checkpoints import list_checkpoints, tensors_path
from ptycho_torch.config import JobConfig, TrainingConfig
from ptycho_torch.dataset import validation_strip
from ptycho_torch.errors import TrainingDivergedError
from ptycho_torch.held_out import hold_out
from ptycho_torch.learning import learning_rate
from ptycho_torch.lessons import VALIDATION_PURPOSE
from ptycho_torch.model import seeded_model
from ptycho_torch.trainer import Interrupted, Surroundings, TrainingOutcome, train

REFINER = {"descent_shares": (0.5, 1.0), "unet_widths": (4, 8), "epochs": 2, "batch_size": 8, "exposures": 2}


def _never() -> bool:
    return False


def _stop_after(steps: int) -> Callable[[], bool]:
    asked = iter(range(steps))
    return lambda: next(asked, None) is None


def _train(
    folder: Path, job: JobConfig, should_stop: Callable[[], bool] = _never, events: list[dict[str, Any]] | None = None
) -> TrainingOutcome:
    told: list[dict[str, Any]] = [] if events is None else events
    return train(job, tiny_scan(), Surroundings(folder, folder / "checkpoints", 1, told.append, should_stop))


def _checkpoints(place: Path, number: int) -> Path:
    return place / "checkpoints" / f"{number:03d}"


def _attempt(place: Path, number: int, job: JobConfig, should_stop: Callable[[], bool] = _never) -> TrainingOutcome:
    """One attempt in folders of its own, which writes a bundle when it comes to its end."""
    folder, earlier = place / "attempts" / f"{number:03d}", range(number - 1, 0, -1)
    own, others = _checkpoints(place, number), tuple(_checkpoints(place, other) for other in earlier)
    outcome = train(job, tiny_scan(), Surroundings(folder, own, number, lambda _: None, should_stop, others))
    write_bundle(folder, outcome.best_weights, bundle_facts(job))
    return outcome


def _bundle(place: Path, number: int) -> bytes:
    return (place / "attempts" / f"{number:03d}" / "model.safetensors").read_bytes()


def _files(*folders: Path) -> dict[Path, tuple[bytes, int]]:
    paths = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


def _files_of(place: Path, number: int) -> dict[Path, tuple[bytes, int]]:
    return _files(place / "attempts" / f"{number:03d}", _checkpoints(place, number))


def _steps(folder: Path) -> list[int]:
    return [facts.step for facts in list_checkpoints(folder)]


def _same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def _timeless(path: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (path / "history.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key not in ("seconds", "samples_per_s")} for row in rows]


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    first, second = (_train(tmp_path / name, tiny_job()) for name in "ab")
    assert _same(first.best_weights, second.best_weights)


def test_another_training_seed_gives_other_weights(tmp_path: Path) -> None:
    other = tiny_job().model_copy(update={"training_seed": 1})
    assert not _same(_train(tmp_path / "a", tiny_job()).best_weights, _train(tmp_path / "b", other).best_weights)


@pytest.mark.parametrize("steps", [0, 1, 3, 4, 8], ids="stopped after {}".format)
@pytest.mark.parametrize("gridsize", [1, 2])
def test_resumed_equals_uninterrupted(tmp_path: Path, steps: int, gridsize: int) -> None:
    job = tiny_job(gridsize=gridsize)
    whole = _train(tmp_path / "whole", job)
    with pytest.raises(Interrupted, match=f"after step {steps} "):
        _train(tmp_path / "parts", job, _stop_after(steps))
    resumed = _train(tmp_path / "parts", job)
    assert resumed.resumed_from is not None
    assert _same(whole.best_weights, resumed.best_weights)
    assert _timeless(tmp_path / "whole") == _timeless(tmp_path / "parts")


@pytest.mark.parametrize("steps", [3, 8, 9, 10, 14], ids="stopped after {}".format)
@pytest.mark.parametrize("architecture", ["backprojection_unet", "canvas_unet"])
def test_resumed_equals_uninterrupted_over_both_lessons(tmp_path: Path, steps: int, architecture: str) -> None:
    job = tiny_job(architecture=architecture, refiner=REFINER)
    whole = _train(tmp_path / "whole", job)
    assert [row.lesson for row in whole.progress.history] == ["network"] * 3 + ["refiner"] * 2
    with pytest.raises(Interrupted, match=f"after step {steps} "):
        _train(tmp_path / "parts", job, _stop_after(steps))
    assert _same(whole.best_weights, _train(tmp_path / "parts", job).best_weights)
    assert _timeless(tmp_path / "whole") == _timeless(tmp_path / "parts")


def test_the_refiner_leaves_the_best_network_as_it_is(tmp_path: Path) -> None:
    alone = _train(tmp_path / "alone", tiny_job())
    both = _train(tmp_path / "both", tiny_job(refiner=REFINER))
    untrained = seeded_model(tiny_job(refiner=REFINER)).state_dict()
    network = {name: tensor for name, tensor in both.best_weights.items() if name.startswith("network.")}
    assert _same(alone.best_weights, network)
    assert not any(torch.equal(both.best_weights[name], untrained[name]) for name in untrained if name.startswith("refiner."))
    assert (both.progress.best_step or 0) > alone.progress.step


def test_a_stop_at_each_step_still_ends_at_the_same_weights(tmp_path: Path) -> None:
    whole = _train(tmp_path / "whole", tiny_job(epochs=2))
    for _ in range(whole.progress.step - 1):
        with pytest.raises(Interrupted):
            _train(tmp_path / "parts", tiny_job(epochs=2), _stop_after(1))
    assert _same(whole.best_weights, _train(tmp_path / "parts", tiny_job(epochs=2)).best_weights)


def test_a_damaged_newest_checkpoint_costs_one_epoch_and_nothing_else(tmp_path: Path) -> None:
    whole = _train(tmp_path / "whole", tiny_job())
    _train(tmp_path / "parts", tiny_job())
    newest = list_checkpoints(tmp_path / "parts" / "checkpoints")[-1]
    (tmp_path / "parts" / "checkpoints" / f"step_{newest.step:08d}.safetensors").write_bytes(b"half")
    resumed = _train(tmp_path / "parts", tiny_job())
    assert "damaged" in resumed.warnings[0]
    assert _same(whole.best_weights, resumed.best_weights)


class _Killed(BaseException):
    """What a process that is killed does not get to handle."""


def _killed_after(steps: int) -> Callable[[], bool]:
    def should_stop() -> bool:
        if next(asked, None) is None:
            raise _Killed
        return False

    asked = iter(range(steps))
    return should_stop


def test_a_killed_training_repeats_the_steps_since_its_checkpoint(tmp_path: Path) -> None:
    whole = _train(tmp_path / "whole", tiny_job())
    with pytest.raises(_Killed):
        _train(tmp_path / "parts", tiny_job(), _killed_after(7))
    resumed = _train(tmp_path / "parts", tiny_job())
    assert resumed.resumed_from == tmp_path / "parts" / "checkpoints" / "step_00000006.safetensors"
    assert _same(whole.best_weights, resumed.best_weights)
    assert _timeless(tmp_path / "whole") == _timeless(tmp_path / "parts")


@pytest.mark.parametrize("gridsize", [1, 2])
def test_attempts_stopped_killed_and_robbed_equal_one_that_never_was(tmp_path: Path, gridsize: int) -> None:
    job = tiny_job(gridsize=gridsize, epochs=5)
    _attempt(tmp_path / "whole", 1, job)
    place = tmp_path / "parts"
    with pytest.raises(Interrupted, match="after step 4 "):
        _attempt(place, 1, job, _stop_after(4))
    with pytest.raises(_Killed):
        _attempt(place, 2, job, _killed_after(4))
    with pytest.raises(Interrupted, match="after step 13 ") as stop:
        _attempt(place, 3, job, _stop_after(7))
    assert stop.value.first_step == 6
    tensors_path(_checkpoints(place, 3), 13).write_bytes(b"half")
    last = _attempt(place, 4, job)
    assert (last.resumed_from, last.first_step) == (tensors_path(_checkpoints(place, 3), 12), 12)
    assert ["step_00000013.safetensors is damaged" in warning for warning in last.warnings] == [True]
    assert _bundle(place, 4) == _bundle(tmp_path / "whole", 1)
    assert _timeless(place / "attempts" / "004") == _timeless(tmp_path / "whole" / "attempts" / "001")


def test_the_folders_of_earlier_attempts_are_only_read(tmp_path: Path) -> None:
    for number in (1, 2):
        with pytest.raises(Interrupted):
            _attempt(tmp_path, number, tiny_job(), _stop_after(2))
    (_checkpoints(tmp_path, 1) / ".step_00000009.json.tmp").write_bytes(b"being written")
    tensors_path(_checkpoints(tmp_path, 2), 99).with_suffix(".json").write_bytes(b"damaged")
    before = _files_of(tmp_path, 1) | _files_of(tmp_path, 2)
    assert _attempt(tmp_path, 3, tiny_job()).first_step == 4
    assert _files_of(tmp_path, 1) | _files_of(tmp_path, 2) == before


def _worse_after_step_6(step: int, *_: object) -> float:
    return 2e-3 if step < 6 else -1e-2


def test_the_own_folder_is_enough_and_holds_the_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "learning_rate", _worse_after_step_6)
    job = tiny_job(epochs=5)
    assert _attempt(tmp_path / "whole", 1, job).progress.best_step == 6
    place = tmp_path / "parts"
    for number, steps in ((1, 13), (2, 0)):
        with pytest.raises(Interrupted):
            _attempt(place, number, job, _stop_after(steps))
    assert _steps(_checkpoints(place, 2)) == [6, 13]
    shutil.rmtree(_checkpoints(place, 1))
    resumed = _attempt(place, 3, job)
    assert resumed.resumed_from == tensors_path(_checkpoints(place, 2), 13)
    shutil.rmtree(_checkpoints(place, 2))
    assert _steps(_checkpoints(place, 3)) == [6, 13, 15]
    assert _attempt(place, 4, job).first_step == 15
    assert _bundle(place, 3) == _bundle(place, 4) == _bundle(tmp_path / "whole", 1)


@pytest.mark.parametrize("steps", [0, 4, 8], ids="the older in its step {}".format)
def test_two_attempts_alive_at_once_do_not_disturb_each_other(tmp_path: Path, steps: int) -> None:
    def never_but_the_other_attempt_runs_meanwhile() -> bool:
        if next(asked) == steps:
            before = _files_of(place, 1)
            _attempt(place, 2, tiny_job())
            assert _files_of(place, 1) == before
            of_the_newer.update(_files_of(place, 2))
        return False

    place, asked = tmp_path / "two", iter(range(99))
    of_the_newer: dict[Path, tuple[bytes, int]] = {}
    _attempt(tmp_path / "alone", 1, tiny_job())
    _attempt(place, 1, tiny_job(), never_but_the_other_attempt_runs_meanwhile)
    assert _files_of(place, 2) == of_the_newer
    assert _bundle(place, 1) == _bundle(place, 2) == _bundle(tmp_path / "alone", 1)
    assert _timeless(place / "attempts" / "001") == _timeless(place / "attempts" / "002")


def test_an_attempt_whose_checkpoints_are_removed_meanwhile_goes_on(tmp_path: Path) -> None:
    def never_but_a_newer_attempt_has_succeeded() -> bool:
        if next(asked) == 5:
            shutil.rmtree(_checkpoints(tmp_path, 1))
        return False

    asked = iter(range(99))
    assert _attempt(tmp_path, 1, tiny_job(), never_but_a_newer_attempt_has_succeeded).progress.epoch == 3


def test_the_first_step_tells_progress_from_none(tmp_path: Path) -> None:
    first_steps = []
    for number, steps in ((1, 0), (2, 4), (3, 0)):
        with pytest.raises(Interrupted) as stop:
            _attempt(tmp_path, number, tiny_job(), _stop_after(steps))
        first_steps.append((stop.value.first_step, stop.value.step, stop.value.epoch))
    assert first_steps == [(0, 0, 0), (0, 4, 1), (4, 4, 1)]
    assert _attempt(tmp_path, 4, tiny_job()).first_step == 4


def test_history_is_cut_back_to_the_checkpoint(tmp_path: Path) -> None:
    _train(tmp_path, tiny_job())
    newest = list_checkpoints(tmp_path / "checkpoints")[-1]
    (tmp_path / "checkpoints" / f"step_{newest.step:08d}.json").unlink()
    with pytest.raises(Interrupted):
        _train(tmp_path, tiny_job(), _stop_after(0))
    assert [row["epoch"] for row in _timeless(tmp_path)] == [1, 2]


def test_a_finished_training_is_not_trained_again(tmp_path: Path) -> None:
    first = _train(tmp_path, tiny_job())
    events: list[dict[str, Any]] = []
    assert _same(first.best_weights, _train(tmp_path, tiny_job(), events=events).best_weights)
    assert events == []


def test_another_configuration_starts_afresh_and_says_so(tmp_path: Path) -> None:
    _train(tmp_path, tiny_job(epochs=1))
    outcome = _train(tmp_path, tiny_job(epochs=1, learning_rate=1e-4))
    assert outcome.resumed_from is None
    assert "another configuration" in outcome.warnings[0]


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_another_configuration_resumes_from_its_own_checkpoint(tmp_path: Path, how: str) -> None:
    other = tiny_job(epochs=6, learning_rate=1e-4)
    _train(tmp_path, tiny_job(epochs=6))
    with pytest.raises((Interrupted, _Killed)):
        _train(tmp_path, other, _stop_after(7) if how == "stopped" else _killed_after(7))
    resumed = _train(tmp_path, other)
    step = 7 if how == "stopped" else 6
    assert resumed.resumed_from == tmp_path / "checkpoints" / f"step_{step:08d}.safetensors"
    assert resumed.warnings == []


def test_training_goes_downhill(tmp_path: Path) -> None:
    history = _train(tmp_path, tiny_job(epochs=12, learning_rate=5e-3)).progress.history
    assert history[-1].train_loss < 0.8 * history[0].train_loss
    assert history[-1].val_loss < history[0].val_loss


def test_the_best_weights_are_those_of_the_lowest_validation_loss(tmp_path: Path) -> None:
    progress = _train(tmp_path, tiny_job(epochs=4)).progress
    best = min(progress.history, key=lambda row: row.val_loss)
    assert (progress.best_step, progress.best_val_loss) == (best.step, best.val_loss)


def test_the_best_weights_are_handed_over_though_later_ones_are_worse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "learning_rate", _worse_after_step_6)
    job, scan = tiny_job(), tiny_scan()
    outcome = _train(tmp_path, job)
    assert outcome.progress.best_step == 6 < outcome.progress.step
    model = seeded_model(job)
    model.load_state_dict(outcome.best_weights)
    rows = validation_strip(scan.positions_yx, job.training.validation_fraction, at_least=1)[1]
    assert hold_out(scan.take(rows), job, VALIDATION_PURPOSE).deviance(model) == outcome.progress.best_val_loss


def _losses_where_nothing_is_learned(folder: Path, rows: torch.Tensor, gain: float) -> tuple[float, float]:
    """Training and validation loss of one epoch at rate ~0, the counts of `rows` multiplied."""
    scan, job = tiny_scan(), tiny_job(epochs=1, learning_rate=1e-30)
    scan.counts[rows] *= gain
    (row,) = train(job, scan, Surroundings(folder, folder / "checkpoints", 1, lambda _: None, _never)).progress.history
    return row.train_loss, row.val_loss


@pytest.mark.parametrize("part", [0, 1], ids=["training rows", "strip"])
def test_training_rows_and_the_validation_strip_do_not_see_each_other(tmp_path: Path, part: int) -> None:
    rows = validation_strip(tiny_scan().positions_yx, tiny_job().training.validation_fraction, at_least=1)[part]
    before, after = (_losses_where_nothing_is_learned(tmp_path / str(gain), rows, gain) for gain in (1.0, 3.0))
    assert before[part] != after[part]
    assert before[1 - part] == after[1 - part]


def test_another_grouping_seed_trains_other_weights(tmp_path: Path) -> None:
    job = tiny_job(gridsize=2, epochs=1)
    other = job.model_copy(update={"grouping_seed": 124})
    assert not _same(_train(tmp_path / "a", job).best_weights, _train(tmp_path / "b", other).best_weights)


def test_every_step_and_epoch_is_reported(tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    progress = _train(tmp_path, tiny_job(epochs=2), events=events).progress
    steps = [event["step"] for event in events if event["event"] == "step"]
    assert steps == list(range(1, progress.step + 1))
    assert [event["epoch"] for event in events if event["event"] == "epoch"] == [1, 2]


def test_all_photons_may_be_fed_and_scored(tmp_path: Path) -> None:
    history = _train(tmp_path, tiny_job(epochs=1, photon_split=None)).progress.history
    assert math.isfinite(history[0].train_loss)


def test_divergence_is_named_and_saves_nothing(tmp_path: Path) -> None:
    with pytest.raises(TrainingDivergedError, match=r"of tiny became (nan|inf) at step \d+\..* Lower training\.learning_rate"):
        _train(tmp_path, tiny_job(learning_rate=1e30, gradient_clip_norm=1e30, warmup_fraction=0.0, weight_decay=0.0))
    assert list_checkpoints(tmp_path / "checkpoints") == []


def test_the_rate_rises_in_a_line_and_falls_to_a_fiftieth() -> None:
    training = TrainingConfig(warmup_fraction=0.1)
    rates = [learning_rate(step, 100, 1.0, training) for step in range(100)]
    assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert rates[10] == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.02)


def test_the_rate_of_a_single_step_is_the_highest() -> None:
    assert learning_rate(0, 1, 0.5, TrainingConfig(warmup_fraction=0.05)) == 0.5


def test_a_seeded_model_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    seeded_model(tiny_job())
    assert torch.equal(torch.rand(2), expected)
