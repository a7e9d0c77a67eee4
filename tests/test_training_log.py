"""What a training writes for people."""

import errno
import json
import logging
import re
from pathlib import Path

import pytest

from ptycho_torch import training_log
from ptycho_torch.checkpoints import HistoryRow
from ptycho_torch.errors import CheckpointError
from ptycho_torch.training_log import log_epoch, logger, logging_to, write_history


def _row(epoch: int) -> HistoryRow:
    return HistoryRow(
        lesson="network", epoch=epoch, step=9, train_loss=0.5, val_loss=0.25, learning_rate=1e-3, seconds=2.0, samples_per_s=80.0
    )


def test_attempts_follow_each_other_in_one_file(tmp_path: Path) -> None:
    for attempt in (1, 2):
        with logging_to(tmp_path / "train.log", attempt):
            log_epoch(_row(3), epochs=5)
    lines = (tmp_path / "train.log").read_text().splitlines()
    assert [line.split(" ", 1)[1] for line in lines[:3]] == [
        "attempt 1 INFO begins",
        "attempt 1 INFO epoch 3/5  network  train 0.50000  validation 0.25000  rate 1.00e-03  2.0 s  80 patterns/s",
        "attempt 1 INFO is complete",
    ]
    assert lines[3].endswith("attempt 2 INFO begins")


def test_every_line_has_its_time_and_attempt_however_many_a_message_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logger, "propagate", False)  # pytest's own capture cannot be sent to another process with that name in it
    with logging_to(tmp_path / "train.log", 2):
        logger.warning("one\ntwo\r\nthree")
        try:
            raise ValueError("four")
        except ValueError:
            logger.exception("an undecodable name: \udcff")
    lines = (tmp_path / "train.log").read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ attempt 2 (INFO|WARNING|ERROR) ", line) for line in lines)
    assert [line.split(" ", 3)[3] for line in lines[1:4]] == ["WARNING one", "WARNING two", "WARNING three"]
    assert lines[-2].endswith("attempt 2 ERROR ValueError: four")


@pytest.mark.parametrize("path", ["/dev/full", "/dev/null/train.log", "/dev"], ids=["full", "no folder", "a folder"])
def test_a_log_that_cannot_be_written_goes_without_the_line(path: str, capfd: pytest.CaptureFixture[str]) -> None:
    with logging_to(Path(path), 1):
        log_epoch(_row(3), epochs=5)
    assert capfd.readouterr() == ("", "")


def test_a_log_that_is_removed_begins_again(tmp_path: Path) -> None:
    with logging_to(tmp_path / "train.log", 1):
        (tmp_path / "train.log").unlink()
    assert (tmp_path / "train.log").read_text().endswith("attempt 1 INFO is complete\n")


def test_an_attempt_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="too bright"), logging_to(tmp_path / "train.log", 1):
        raise ValueError("too bright")
    assert "attempt 1 WARNING ends early: ValueError: too bright" in (tmp_path / "train.log").read_text()


def test_the_logger_is_left_as_it_was(tmp_path: Path) -> None:
    before = (logger.level, list(logger.handlers))
    with logging_to(tmp_path / "train.log", 1):
        assert logger.isEnabledFor(logging.INFO)
    assert (logger.level, list(logger.handlers)) == before


def test_history_is_one_json_line_an_epoch_and_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    write_history(path, [_row(1), _row(2)])
    write_history(path, [_row(1)])
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert rows == [
        {
            "lesson": "network",
            "epoch": 1,
            "step": 9,
            "train_loss": 0.5,
            "val_loss": 0.25,
            "learning_rate": 1e-3,
            "seconds": 2.0,
            "samples_per_s": 80.0,
        }
    ]


def test_a_history_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(training_log, "write_text", full)
    with pytest.raises(CheckpointError, match=r"history\.jsonl cannot be written: No space left on device\. Make room"):
        write_history(tmp_path / "history.jsonl", [_row(1)])
