"""Jobs at rest, and a file of them from one process to the next, so that a look at a large study reads what has changed alone.

A job is at rest when its newest attempt has proven its success, or when it has its job.json and no attempt. What was found of it
holds for as long as its files have the same stamps; whoever writes to one, or begins an attempt, changes a stamp.
"""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from fly64_hpc.file_digests import Stamp, stamp_of
from fly64_hpc.history import HistoryEnd
from fly64_hpc.job_paths import JobPaths
from fly64_hpc.job_record import AttemptRecord
from ptycho_torch.config import write_text

SCHEMA_VERSION = 1
SETTLED_S = 2.0
"""A stamp younger than this is not kept: a write in the same tick of the file system's clock would not change it."""
NO_FILE: Stamp = (0, 0, 0, 0)
Stamps = list[Stamp]


@dataclass(frozen=True)
class Success:
    """An attempt that proved its success, as far as every look tells of it."""

    attempt: int
    submission: int
    started_utc: str
    ended_utc: str | None
    gpus: int
    node: str | None
    bundle: str
    """The bundle's name in the job's folder."""

    @classmethod
    def of(cls, record: AttemptRecord, bundle: str) -> "Success":
        """From an attempt's own record."""
        seen = record.scheduler
        return cls(record.attempt, record.submission, record.started_utc, record.ended_utc, seen.gpus, seen.node, bundle)


@dataclass(frozen=True)
class SettledJob:
    """What was found of a job at rest."""

    attempts: int
    success: Success | None
    """None: no attempt was begun."""
    history: HistoryEnd


class JobFound(Protocol):
    """A job whose files were read."""

    @property
    def paths(self) -> JobPaths:
        """Where they lie."""

    @property
    def settled(self) -> "SettledJob | None":
        """What was known of it, so that they were not read."""

    @property
    def damage(self) -> str:
        """What is wrong with job.json."""

    @property
    def attempts(self) -> int:
        """Attempts begun."""

    @property
    def success(self) -> Success | None:
        """The attempt that proved its success."""

    @property
    def history(self) -> HistoryEnd:
        """How far its training has come."""


@dataclass
class SettledJobs:
    """By job id what was found, and the stamps that its files had then."""

    _found: dict[str, tuple[Stamps, SettledJob]] = field(default_factory=dict)

    def of(self, job_id: str, paths: JobPaths) -> SettledJob | None:
        """What is known of a job, if none of its files has been touched since."""
        if job_id not in self._found:
            return None
        stamps, job = self._found[job_id]
        return job if stamps == _stamps(paths, job.success) else None

    def note(self, job_id: str, job: JobFound, looked_ns: int) -> None:
        """Take in a job that was read after the moment `looked_ns`, where it is at rest and has been for a while."""
        if job.settled is not None:
            return
        self._found.pop(job_id, None)
        is_at_rest = job.attempts == (job.success.attempt if job.success is not None else 0)
        if job.damage or not is_at_rest:
            return
        settled = SettledJob(job.attempts, job.success, job.history)
        stamps = _stamps(job.paths, job.success)
        if looked_ns - max(max(stamp[:2]) for stamp in stamps) > SETTLED_S * 1e9:  # what was touched since would be younger
            self._found[job_id] = stamps, settled

    def write(self, file: Path) -> None:
        """Write them down for `read_settled`."""
        jobs = {job_id: {"stamps": stamps, **asdict(job)} for job_id, (stamps, job) in self._found.items()}
        write_text(file, json.dumps({"schema_version": SCHEMA_VERSION, "jobs": jobs}))  # in one line it is read in no time


def read_settled(file: Path) -> SettledJobs:
    """The jobs at rest that an earlier process wrote down; none where they cannot be read: it only saves time."""
    try:
        content = json.loads(file.read_bytes())
        jobs = content["jobs"] if content["schema_version"] == SCHEMA_VERSION else {}
        return SettledJobs({job_id: ([tuple(one) for one in row["stamps"]], _job(row)) for job_id, row in jobs.items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return SettledJobs()


def _job(row: dict[str, Any]) -> SettledJob:
    success = row["success"]
    return SettledJob(row["attempts"], None if success is None else Success(**success), HistoryEnd(**row["history"]))


def _stamps(paths: JobPaths, success: Success | None) -> Stamps:
    """Of the files that decide what a job at rest is; as text, for these are the paths of thousands of jobs."""
    root = os.fspath(paths.root)
    names = ["job.json", "attempts"]
    if success is not None:
        names += [f"attempts/{success.attempt:03d}/result.json", "history.jsonl", success.bundle]
    return [_stamp(f"{root}/{name}") for name in names]


def _stamp(file: str) -> Stamp:
    try:
        return stamp_of(file)
    except OSError:
        return NO_FILE
