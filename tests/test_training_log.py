"""What a training writes for people."""

import json
import logging
from pathlib import Path

import pytest

from ptycho_torch.checkpoints import HistoryRow
from ptycho_torch.training_log import log_epoch, logger, logging_to, write_history


def _row(epoch: int) -> HistoryRow:
    return HistoryRow(epoch=epoch, step=9, train_loss=0.5, val_loss=0.25, learning_rate=1e-3, seconds=2.0, samples_per_s=80.0)


def test_attempts_follow_each_other_in_one_file(tmp_path: Path) -> None:
    for attempt in (1, 2):
        with logging_to(tmp_path / "train.log", attempt):
            log_epoch(_row(3), epochs=5)
    lines = (tmp_path / "train.log").read_text().splitlines()
    assert [line.split(" ", 2)[2] for line in lines[:3]] == [
        "attempt 1 begins",
        "epoch 3/5  train 0.50000  validation 0.25000  rate 1.00e-03  2.0 s  80 patterns/s",
        "attempt 1 is complete",
    ]
    assert lines[3].endswith("attempt 2 begins")


def test_an_attempt_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="too bright"), logging_to(tmp_path / "train.log", 1):
        raise ValueError("too bright")
    assert "attempt 1 ends early: ValueError: too bright" in (tmp_path / "train.log").read_text()


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
        {"epoch": 1, "step": 9, "train_loss": 0.5, "val_loss": 0.25, "learning_rate": 1e-3, "seconds": 2.0, "samples_per_s": 80.0}
    ]
