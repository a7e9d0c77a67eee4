"""Cancellations: what a person wants ended is written down before anybody is told, each in a file that is written once.

Whoever has a job in hands then knows: the supervisor does not start it, the training stops at its next step, the collector
calls it cancelled, and nobody but a person tries it again. A job that is submitted again is of a newer submission, and is free.
"""

import getpass
import re
import socket
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fly64_hpc.attempts import LOOK_PERIOD_S
from fly64_hpc.errors import StudyDirectoryError
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.job_record import Record, Time, now_utc, read_record


class CancelledJob(Record):
    """A job, and the submission of which it is cancelled."""

    job_id: str
    submission: int
    had_ended: bool = False
    """It keeps the state in which it had ended, and is only not tried again."""


class Cancellation(Record):
    """What one `cancel` asked for."""

    number: int
    user: str
    host: str
    created_utc: Time
    jobs: tuple[CancelledJob, ...]

    @property
    def words(self) -> str:
        """Who cancelled, and when."""
        return f"cancelled by {self.user} at {self.created_utc}"


def write_cancellation(paths: StudyPaths, jobs: Iterable[CancelledJob]) -> Cancellation:
    """Write down that jobs are cancelled, by the user of this process; to be called under the submit lock."""
    number = max((int(file.stem) for file in _files(paths)), default=0) + 1
    made = Cancellation(number=number, user=getpass.getuser(), host=socket.gethostname(), created_utc=now_utc(), jobs=tuple(jobs))
    made.write(paths.cancellation(number))
    return made


def read_cancellations(paths: StudyPaths) -> list[Cancellation]:
    """Every cancellation of a study, oldest first."""
    return [read_record(file, Cancellation) for file in _files(paths)]


def _files(paths: StudyPaths) -> list[Path]:
    return sorted(file for file in paths.cancellations.glob("*.json") if re.fullmatch(r"\d+", file.stem))


@dataclass(frozen=True)
class Cancelled:
    """That a job is cancelled in a submission."""

    by_whom: str
    had_ended: bool


def cancelled_by_job(cancellations: Sequence[Cancellation]) -> dict[tuple[str, int], Cancelled]:
    """By job id and submission; who cancelled first counts."""
    found: dict[tuple[str, int], Cancelled] = {}
    for one in cancellations:
        for job in one.jobs:
            found.setdefault((job.job_id, job.submission), Cancelled(one.words, job.had_ended))
    return found


def cancelled_jobs(paths: StudyPaths, submission: int) -> set[str]:
    """Ids of the jobs of a submission that are cancelled; nothing where a record is damaged, for that ends no work."""
    with suppress(StudyDirectoryError, OSError):
        return {job.job_id for one in read_cancellations(paths) for job in one.jobs if job.submission == submission}
    return set()


class CancelWatch:
    """Whether a job of a submission is cancelled, looked up every few seconds."""

    def __init__(self, paths: StudyPaths, job_id: str, submission: int) -> None:
        self._paths, self._job_id, self._submission = paths, job_id, submission
        self._looked_at = time.monotonic()
        self._is_cancelled = False

    def __call__(self) -> bool:
        """The answer, at most a few seconds old; once true, always true."""
        if not self._is_cancelled and time.monotonic() - self._looked_at > LOOK_PERIOD_S:
            self.look()
        return self._is_cancelled

    def look(self) -> bool:
        """The answer now."""
        self._looked_at = time.monotonic()
        self._is_cancelled = self._is_cancelled or self._job_id in cancelled_jobs(self._paths, self._submission)
        return self._is_cancelled
