"""Attempts at one job, of which two may be alive at once: each owns its folder, and only the newest publishes.

A cluster may take a node for dead and start its job elsewhere while the first process lives on. Claiming an attempt and
publishing one exclude each other by a lock, so what is published is always whole and of the newest attempt at that moment.
"""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fly64_hpc.errors import StudyDirectoryError
from fly64_hpc.file_lock import locked
from fly64_hpc.job_paths import JobPaths
from fly64_hpc.job_record import AttemptRecord, read_attempt
from ptycho_torch.config import write_text

PUBLISHED = (
    "history.jsonl",
    "model.json",
    "reconstruction.npz",
    "reconstruction_train.npz",
    "reconstruction_test.npz",
    "model.safetensors",
)
"""What an attempt that succeeded moves from its own folder into its job's, its bundle last."""
LOOK_PERIOD_S = 5.0
RESERVE_BYTES = 65_536
"""Held by a running attempt and freed when it ends: room for its record and a manifest, on a disk that is full."""


@contextmanager
def publishing(paths: JobPaths) -> Iterator[None]:
    """Keep others from claiming an attempt at this job or publishing one."""
    paths.attempts.mkdir(parents=True, exist_ok=True)
    with locked(paths.lock):  # without it the window between look and rename stays open
        yield


def claim_attempt(paths: JobPaths) -> int:
    """Create the next attempt's folder; to be called while `publishing`.

    Raises
    ------
    StudyDirectoryError
        An earlier attempt is alive on this very machine.
    """
    numbers = paths.attempt_numbers()
    for number in numbers:
        _refuse_living(paths, number)
    number = max(numbers, default=0)
    while True:
        number += 1
        try:
            paths.attempt(number).mkdir(parents=True)
        except FileExistsError:
            continue
        _reserve(paths, number).write_bytes(os.urandom(RESERVE_BYTES))  # zeros might be compressed away
        return number


def _refuse_living(paths: JobPaths, number: int) -> None:
    record = read_attempt(paths.result(number), number)
    if isinstance(record, AttemptRecord) and record.state == "running" and record.process.is_alive():
        raise StudyDirectoryError(
            f"Attempt {number} at this job is still alive as process {record.process.pid} in {paths.root}.",
            hint="Wait for it, or end that process.",
        )


def _reserve(paths: JobPaths, number: int) -> Path:
    return paths.attempt(number) / ".reserve"


def free_reserve(paths: JobPaths, number: int) -> None:
    """Give back the room that was kept so that even on a full disk the end of an attempt can be recorded."""
    with suppress(OSError):
        _reserve(paths, number).unlink(missing_ok=True)


class NewestAttempt:
    """Whether an attempt is still the newest at its job, looked up every few seconds."""

    def __init__(self, paths: JobPaths, number: int) -> None:
        self._paths = paths
        self._number = number
        self._looked_at = time.monotonic()
        self._is_newest = True

    def __call__(self) -> bool:
        """The answer, at most a few seconds old; once false, always false."""
        if self._is_newest and time.monotonic() - self._looked_at > LOOK_PERIOD_S:
            self.look()
        return self._is_newest

    def look(self) -> bool:
        """The answer now."""
        self._looked_at = time.monotonic()
        self._is_newest = self._is_newest and max(self._paths.attempt_numbers()) == self._number
        return self._is_newest


def publish(paths: JobPaths, number: int) -> None:
    """Move what an attempt made into its job's folder; to be called while `publishing`, by the newest."""
    for name in PUBLISHED:
        made = paths.attempt(number) / name
        if made.exists():
            made.replace(paths.root / name)


def publish_history(paths: JobPaths, number: int) -> None:
    """Show the epochs so far in the job's folder, while training goes on."""
    with suppress(OSError):
        write_text(paths.history, (paths.attempt(number) / paths.history.name).read_text())


def remove_earlier_checkpoints(paths: JobPaths, number: int) -> None:
    """Remove the checkpoints of the attempts before one that succeeded: it has taken over what it needs of them."""
    for earlier in paths.attempt_numbers():
        if earlier < number:
            shutil.rmtree(paths.own_checkpoints(earlier), ignore_errors=True)


def earlier_checkpoints(paths: JobPaths, number: int) -> tuple[Path, ...]:
    """Where earlier attempts have their checkpoints, the newest first."""
    folders = (paths.own_checkpoints(earlier) for earlier in reversed(paths.attempt_numbers()) if earlier < number)
    return tuple(folder for folder in folders if folder.is_dir())
