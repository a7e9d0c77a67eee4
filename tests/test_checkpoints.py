"""Laws of checkpoints: complete or absent, verified before use, no more of them than needed."""

import errno
import json
import os
import socket
import subprocess
from pathlib import Path
from typing import BinaryIO

import pytest
import torch

from ptycho_torch import checkpoints
from ptycho_torch.atomic_files import replacing
from ptycho_torch.checkpoints import (
    Checkpoint,
    HistoryRow,
    Progress,
    TrainingState,
    adopt,
    list_checkpoints,
    newest_valid,
    prune,
    save_checkpoint,
    tensors_path,
)
from ptycho_torch.errors import CheckpointError

CONFIG = "c" * 64


def _row(epoch: int, val_loss: float = 1 / 3) -> HistoryRow:
    row = {"train_loss": 0.1 + 0.2, "val_loss": val_loss, "learning_rate": 1e-3, "seconds": 1, "samples_per_s": 9}
    return HistoryRow(lesson="network", epoch=epoch, step=10, **row)


def _state(value: float = 1.0) -> TrainingState:
    weights, best = torch.full((2, 3), value), torch.zeros(2, 3)
    return TrainingState({"a.weight": weights}, {"a.weight": best}, {"a.weight.step": torch.tensor(7.0)})


def _full(*_: object) -> BinaryIO:
    raise OSError(errno.ENOSPC, "No space left on device")


def _save(folder: Path, step: int, *, best_step: int | None = None, config: str = CONFIG, val_loss: float = 1 / 3) -> Path:
    history = (_row(1, val_loss),)
    progress = Progress(step=step, epoch=1, epoch_loss_sum=0.1, best_step=best_step, best_val_loss=1 / 3, history=history)
    return save_checkpoint(folder, progress, _state(), config_sha256=config, attempt=2)


def _newest(*folders: Path, config: str = CONFIG) -> tuple[int | None, list[str]]:
    warnings: list[str] = []
    checkpoint = newest_valid(folders, config, warnings.append)
    return None if checkpoint is None else checkpoint.facts.step, warnings


def _loaded(*folders: Path) -> Checkpoint:
    checkpoint = newest_valid(folders, CONFIG, pytest.fail)
    assert checkpoint is not None
    return checkpoint


def test_what_was_saved_is_what_is_loaded(tmp_path: Path) -> None:
    path = _save(tmp_path, 12, best_step=12)
    checkpoint = _loaded(tmp_path)
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
        "lesson",
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


@pytest.mark.parametrize(("steps", "folder"), [((3, 2, 1), 0), ((1, 2, 3), 2), ((1, 3, 2), 1), ((2, 2, 2), 0), ((1, 2, 2), 1)])
def test_the_highest_step_of_all_folders_is_the_newest_and_the_first_of_equals(
    tmp_path: Path, steps: tuple[int, ...], folder: int
) -> None:
    folders = [tmp_path / name for name in "abc"]
    paths = [_save(place, step) for place, step in zip(folders, steps, strict=True)]
    assert _loaded(*folders).path == paths[folder]


def test_a_damaged_checkpoint_falls_back_to_its_like_in_another_folder(tmp_path: Path) -> None:
    own, earlier = tmp_path / "own", tmp_path / "earlier"
    _save(own, 2).write_bytes(b"half")
    _save(earlier, 2)
    assert _newest(own, earlier)[0] == 2
    (warning,) = _newest(own, earlier)[1]
    assert str(own) in warning


def test_what_a_living_attempt_writes_and_prunes_meanwhile_is_found(tmp_path: Path) -> None:
    def told(sentence: str) -> None:
        """The older attempt goes on at the very moment when its newest checkpoint could not be read."""
        warnings.append(sentence)
        _save(tmp_path, 8)
        for step in (1, 2):
            for path in tmp_path.glob(f"step_{step:08d}.*"):
                path.unlink()

    warnings: list[str] = []
    _save(tmp_path, 1)
    _save(tmp_path, 2).unlink()
    found = newest_valid([tmp_path], CONFIG, told)
    assert found is not None
    assert found.facts.step == 8
    assert len(warnings) == 1


def test_a_checkpoint_that_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    _save(tmp_path, 1)
    newest = _save(tmp_path, 2)
    newest.unlink()
    newest.mkdir()
    step, warnings = _newest(tmp_path)
    assert step == 1
    assert "cannot be read: Is a directory" in warnings[0]


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _no_links(*_: object) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")


@pytest.mark.parametrize("links", [True, False], ids=["hard link", "copy"])
def test_an_adopted_checkpoint_has_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    own, earlier = tmp_path / "own", tmp_path / "earlier"
    path = _save(earlier, 7, best_step=7)
    if not links:
        monkeypatch.setattr(checkpoints, "link_file", _no_links)
    adopt(_loaded(own, earlier), (own, earlier))
    assert _contents(own) == _contents(earlier)
    assert (own / path.name).samefile(path) == links
    assert _loaded(own, earlier).path == own / path.name


def test_a_checkpoint_that_is_pruned_before_it_is_adopted_is_not_lost(tmp_path: Path) -> None:
    own, earlier = tmp_path / "own", tmp_path / "earlier"
    _save(earlier, 7, best_step=7)
    checkpoint, before = _loaded(earlier), _contents(earlier)
    for path in earlier.iterdir():
        path.unlink()
    adopt(checkpoint, (own, earlier))
    assert _contents(own) == before


def test_what_lies_in_the_own_folder_is_left_alone(tmp_path: Path) -> None:
    _save(tmp_path, 1, best_step=1)
    _save(tmp_path, 2, best_step=1)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    adopt(_loaded(tmp_path), [tmp_path])
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == times


def test_the_best_is_adopted_from_wherever_it_is_whole(tmp_path: Path) -> None:
    own, newer, older = (tmp_path / name for name in ("own", "newer", "older"))
    _save(newer, 9, best_step=4)
    _save(newer, 4, best_step=4).write_bytes(b"half")
    best = _save(older, 4, best_step=4)
    adopt(_loaded(own, newer, older), (own, newer, older))
    assert [facts.step for facts in list_checkpoints(own)] == [4, 9]
    assert (own / best.name).samefile(best)


@pytest.mark.parametrize("how", ["missing", "damaged", "of another loss"])
def test_a_best_that_is_none_is_not_adopted(tmp_path: Path, how: str) -> None:
    own, earlier = tmp_path / "own", tmp_path / "earlier"
    _save(earlier, 9, best_step=4)
    if how == "damaged":
        _save(earlier, 4, best_step=4).write_bytes(b"half")
    if how == "of another loss":
        _save(earlier, 4, best_step=4, val_loss=0.3)
    adopt(_loaded(own, earlier), (own, earlier))
    assert [facts.step for facts in list_checkpoints(own)] == [9]


def test_a_full_disk_adopts_nothing_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, earlier = tmp_path / "own", tmp_path / "earlier"
    _save(earlier, 7)
    monkeypatch.setattr(checkpoints, "write_json", _full)
    with pytest.raises(CheckpointError, match=r"own/step_00000007\.safetensors cannot be written: No space left on device\."):
        adopt(_loaded(own, earlier), (own, earlier))
    assert _newest(own) == (None, [])
    assert _newest(earlier) == (7, [])


def test_prune_of_what_was_adopted_leaves_the_source(tmp_path: Path) -> None:
    own, earlier = tmp_path / "own", tmp_path / "earlier"
    _save(earlier, 7, best_step=7)
    before = _contents(earlier)
    adopt(_loaded(own, earlier), (own, earlier))
    for step in (8, 9):
        _save(own, step, best_step=9)
    prune(own, CONFIG)
    assert [facts.step for facts in list_checkpoints(own)] == [8, 9]
    assert _contents(earlier) == before


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


def test_what_vanishes_while_it_is_pruned_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _save(tmp_path, 1)
    vanished = [tensors_path(tmp_path, 9), tensors_path(tmp_path, 9).with_suffix(".json")]
    monkeypatch.setattr(checkpoints, "_listed", lambda folder, pattern: [*folder.glob(pattern), *vanished])
    prune(tmp_path, CONFIG)
    assert _newest(tmp_path)[0] == 1


def test_a_folder_that_vanishes_while_it_is_read_is_an_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def vanished(*_: object) -> list[Path]:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    _save(tmp_path, 1)
    monkeypatch.setattr(Path, "glob", vanished)
    assert _newest(tmp_path) == (None, [])
    assert list_checkpoints(tmp_path) == []


@pytest.mark.parametrize("failing", ["replacing", "write_json"])
def test_a_full_disk_leaves_the_last_good_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    _save(tmp_path, 1)
    monkeypatch.setattr(checkpoints, failing, _full)
    with pytest.raises(CheckpointError, match=r"No space left on device.*is intact"):
        _save(tmp_path, 2)
    assert _newest(tmp_path)[0] == 1


def test_litter_of_killed_writers_is_removed_and_nobody_elses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    monkeypatch.setattr(socket, "gethostname", lambda: "node.cluster.org")
    litter = tmp_path / f".[a].json.node-{ended.pid}.tmp"
    others = {
        tmp_path / f".[a].json.node-{os.getppid()}.tmp",
        tmp_path / f".[a].json.node-1-{ended.pid}.tmp",
        tmp_path / f".[a].json.gpu7-{ended.pid}.tmp",
        tmp_path / f".b.json.node-{ended.pid}.tmp",
    }
    for path in (litter, *others):
        path.touch()
    with replacing(tmp_path / "[a].json") as file:
        assert Path(file.name) == tmp_path / f".[a].json.node-{os.getpid()}.tmp"
        assert set(tmp_path.iterdir()) == others | {Path(file.name)}
    assert set(tmp_path.iterdir()) == others | {tmp_path / "[a].json"}
