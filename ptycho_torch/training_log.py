"""What a training leaves for people to read: `train.log`, and `history.jsonl` with one line an epoch."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ptycho_torch.atomic_files import write_text
from ptycho_torch.checkpoints import HistoryRow

logger = logging.getLogger("ptycho_torch")


@contextmanager
def logging_to(path: Path, attempt: int) -> Iterator[None]:
    """Append what the package logs to a file, times in UTC, with the attempt's beginning and end marked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(_utc_formatter())
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.info("attempt %d begins", attempt)
    try:
        yield
        logger.info("attempt %d is complete", attempt)
    except BaseException as error:
        logger.warning("attempt %d ends early: %s: %s", attempt, type(error).__name__, error)
        raise
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
        handler.close()


def log_epoch(row: HistoryRow, epochs: int) -> None:
    """One line for people."""
    logger.info(
        "epoch %d/%d  train %.5f  validation %.5f  rate %.2e  %.1f s  %.0f patterns/s",
        row.epoch,
        epochs,
        row.train_loss,
        row.val_loss,
        row.learning_rate,
        row.seconds,
        row.samples_per_s,
    )


def write_history(path: Path, rows: Sequence[HistoryRow]) -> None:
    """Write one JSON line an epoch, the whole file at once: a resumed training's file ends where its checkpoint does."""
    write_text(path, "".join(row.model_dump_json() + "\n" for row in rows))


def _utc_formatter() -> logging.Formatter:
    formatter = logging.Formatter("%(asctime)sZ %(levelname)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    return formatter
