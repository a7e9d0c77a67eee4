"""Laws of checkpoints: complete or absent, verified before use, no more of them than needed."""

import errno
import json
from pathlib import Path
from typing import BinaryIO

import pytest
import torch
from torch import nn

from ptycho_torch import checkpoints
from ptycho_torch.checkpoints import (
    HistoryRow,
    Progress,
    TrainingState,
    list_checkpoints,
    newest_valid,
    optimizer_moments,
    prune,
    restore_moments,
    save_checkpoint,
    tensors_path,
)
from ptycho_torch.errors import CheckpointError

CONFIG = "c" * 64


def _row(epoch: int) -> HistoryRow:
    return HistoryRow(epoch=epoch, step=10, train_loss=0.1 + 0.2, val_loss=1 / 3, learning_rate=1e-3, seconds=1, samples_per_s=9)


def _state(value: float = 1.0) -> TrainingState:
    weights, best = torch.full((2, 3), value), torch.zeros(2, 3)
    return TrainingState({"a.weight": weights}, {"a.weight": best}, {"a.weight.step": torch.tensor(7.0)})


def _save(folder: Path, step: int, *, best_step: int | None = None, config: str = CONFIG) -> Path:
    progress = Progress(step=step, epoch=1, epoch_loss_sum=0.1, best_step=best_step, best_val_loss=1 / 3, history=(_row(1),))
    return save_checkpoint(folder, progress, _state(), config_sha256=config, attempt=2)


def _newest(folder: Path, config: str = CONFIG) -> tuple[int | None, list[str]]:
    warnings: list[str] = []
    checkpoint = newest_valid(folder, config, warnings.append)
    return None if checkpoint is None else checkpoint.facts.step, warnings


def test_what_was_saved_is_what_is_loaded(tmp_path: Path) -> None:
    path = _save(tmp_path, 12, best_step=12)
    checkpoint = newest_valid(tmp_path, CONFIG, pytest.fail)
    assert checkpoint is not None
    assert checkpoint.path == path
    assert checkpoint.facts.history == (_row(1),)
    assert (checkpoint.facts.val_loss, checkpoint.facts.attempt) == (1 / 3, 2)
    for prefix in ("weights", "best_weights", "moments"):
        loaded, saved = getattr(checkpoint.state, prefix), getattr(_state(), prefix)
        assert loaded.keys() == saved.keys()
        assert all(torch.equal(loaded[name], saved[name]) for name in saved)


def test_the_same_state_gives_the_same_bytes(tmp_path: Path) -> None:
    assert _save(tmp_path / "a", 1).read_bytes() == _save(tmp_path / "b", 1).read_bytes()


def test_the_facts_name_what_an_index_needs(tmp_path: Path) -> None:
    facts = json.loads(_save(tmp_path, 3, best_step=3).with_suffix(".json").read_text())
    assert {
        "sha256",
        "size_bytes",
        "step",
        "epoch",
        "val_loss",
        "best_val_loss",
        "best_step",
        "attempt",
        "created_utc",
        "config_sha256",
        "history",
    } <= facts.keys()


def test_without_a_folder_there_is_no_checkpoint(tmp_path: Path) -> None:
    assert _newest(tmp_path / "none") == (None, [])


def test_tensors_without_facts_do_not_exist(tmp_path: Path) -> None:
    _save(tmp_path, 1)
    _save(tmp_path, 2).with_suffix(".json").unlink()
    assert _newest(tmp_path) == (1, [])


@pytest.mark.parametrize(("content", "word"), [(b"", "damaged"), (None, "missing")])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path: Path, content: bytes | None, word: str) -> None:
    _save(tmp_path, 1)
    newest = _save(tmp_path, 2)
    newest.unlink() if content is None else newest.write_bytes(content)
    step, warnings = _newest(tmp_path)
    assert step == 1
    assert len(warnings) == 1
    assert str(newest) in warnings[0]
    assert word in warnings[0]


def test_one_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = _save(tmp_path, 1)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    step, warnings = _newest(tmp_path)
    assert step is None
    assert "sha256" in warnings[0]


def test_facts_that_are_no_facts_are_passed_over(tmp_path: Path) -> None:
    _save(tmp_path, 1)
    _save(tmp_path, 2).with_suffix(".json").write_text('{"step": 2')
    step, warnings = _newest(tmp_path)
    assert step == 1
    assert "is not a checkpoint's record" in warnings[0]
    assert [facts.step for facts in list_checkpoints(tmp_path)] == [1]


def test_a_checkpoint_of_another_configuration_is_passed_over(tmp_path: Path) -> None:
    _save(tmp_path, 1)
    step, warnings = _newest(tmp_path, config="d" * 64)
    assert step is None
    assert "another configuration" in warnings[0]


def test_prune_keeps_the_newest_two_and_the_best(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4, 5):
        _save(tmp_path, step, best_step=2)
    tensors_path(tmp_path, 9).write_bytes(b"no facts beside it")
    (tmp_path / ".step_00000009.json.17.tmp").write_bytes(b"left by a killed process")
    prune(tmp_path, CONFIG)
    kept = {tensors_path(tmp_path, step) for step in (2, 4, 5)}
    assert set(tmp_path.iterdir()) == kept | {path.with_suffix(".json") for path in kept}


def test_prune_keeps_nothing_of_another_configuration(tmp_path: Path) -> None:
    for step in (5, 8, 9):
        _save(tmp_path, step, best_step=5, config="d" * 64)
    for step in (1, 2, 3):
        _save(tmp_path, step, best_step=1)
    prune(tmp_path, CONFIG)
    assert [(facts.step, facts.config_sha256) for facts in list_checkpoints(tmp_path)] == [(1, CONFIG), (2, CONFIG), (3, CONFIG)]


def test_prune_of_nothing_does_nothing(tmp_path: Path) -> None:
    prune(tmp_path / "none", CONFIG)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("failing", ["replacing", "write_json"])
def test_a_full_disk_leaves_the_last_good_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    _save(tmp_path, 1)

    def full(*_: object) -> BinaryIO:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoints, failing, full)
    with pytest.raises(CheckpointError, match=r"No space left on device.*is intact"):
        _save(tmp_path, 2)
    assert _newest(tmp_path)[0] == 1


def test_an_optimizer_goes_on_where_it_was() -> None:
    def stepped(model: nn.Linear, optimizer: torch.optim.Optimizer) -> torch.Tensor:
        model(torch.ones(1, 2)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        return model.weight.detach().clone()

    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    one, other = (torch.optim.AdamW(model.parameters(), lr=0.1) for model in (first, second))
    stepped(first, one)
    second.load_state_dict(first.state_dict())
    restore_moments(other, second, optimizer_moments(one, first))
    assert torch.equal(stepped(first, one), stepped(second, other))
