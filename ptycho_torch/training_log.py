"""What a training leaves for people to read: `train.log`, and `history.jsonl` with one line an epoch."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ptycho_torch.atomic_files import write_text
from ptycho_torch.checkpoints import HistoryRow
from ptycho_torch.errors import CheckpointError

logger = logging.getLogger("ptycho_torch")


@contextmanager
def logging_to(path: Path, attempt: int) -> Iterator[None]:
    """Append what the package logs to a file, each line with its time in UTC and its attempt.

    Several attempts may append to one file at the same time. A file that cannot be written, as on a full disk, goes without the
    line, and nothing is raised.
    """
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
    handler = _LineHandler(path, attempt)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.info("begins")
    try:
        yield
        logger.info("is complete")
    except BaseException as error:
        logger.warning("ends early: %s: %s", type(error).__name__, error)
        raise
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
        handler.close()


def log_epoch(row: HistoryRow, epochs: int) -> None:
    """One line for people."""
    logger.info(
        "epoch %d/%d  %s  train %.5f  validation %.5f  rate %.2e  %.1f s  %.0f patterns/s",
        row.epoch,
        epochs,
        row.lesson,
        row.train_loss,
        row.val_loss,
        row.learning_rate,
        row.seconds,
        row.samples_per_s,
    )


def write_history(path: Path, rows: Sequence[HistoryRow]) -> None:
    """Write one JSON line an epoch, the whole file at once: a resumed training's file ends where its checkpoint does.

    Raises
    ------
    CheckpointError
        The file cannot be written, as on a full disk.
    """
    try:
        write_text(path, "".join(row.model_dump_json() + "\n" for row in rows))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be written: {error.strerror}.", hint="Make room and submit again.") from error


class _LineHandler(logging.Handler):
    """Appends to a file that other processes append to as well."""

    def __init__(self, path: Path, attempt: int) -> None:
        super().__init__()
        self._path = path
        self._attempt = attempt

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record's lines with one call, so that no other attempt's come between."""
        time_utc = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        start = f"{time_utc} attempt {self._attempt} {record.levelname}"
        text = "".join(f"{start} {line}\n" for line in self.format(record).splitlines())
        # Opened anew each time: NFS learns where a file ends when it opens it, and would write over what others added since.
        with suppress(OSError), self._path.open("ab", buffering=0) as file:
            file.write(text.encode(errors="backslashreplace"))
