"""What was found of jobs, and a file of it from one process to the next: a look at a large study reads what has changed alone.

It holds for as long as a job's files have the same stamps; whoever writes to one, or begins an attempt, changes a stamp.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pydantic_core import from_json

from fly64_hpc.attempt_costs import Spent
from fly64_hpc.file_digests import Stamp, stamp_of
from fly64_hpc.history import HistoryEnd, LastEpoch
from fly64_hpc.job_paths import ATTEMPTS_NAME, HISTORY_NAME, SPEC_NAME, result_name
from fly64_hpc.job_record import AttemptRecord
from ptycho_torch.config import write_text

SCHEMA_VERSION = 3
SETTLED_S = 2.0
"""A stamp younger than this is not kept: a write in the same tick of the file system's clock would not change it."""
NO_FILE: Stamp = (0, 0, 0, 0)
Numbers = list[int]


class Success(NamedTuple):
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


class KnownJob(NamedTuple):
    """What was found of a job; see `job_on_disk`."""

    config_sha256: str
    numbers: list[int]
    """Those of the attempts that were begun, oldest first."""
    newest_record: AttemptRecord | None
    """Of the newest attempt, where it is no success."""
    success: Success | None
    spent: Spent | None
    """None where an attempt is under way: then it grows with no file that is looked at here."""
    saved_s: float | None
    """When the newest checkpoint was written, in seconds since 1970, where all attempts have ended and none has succeeded."""
    history: HistoryEnd


@dataclass
class KnownJobs:
    """By job id what was found, and the hash of the stamps that its files had then."""

    _found: dict[str, tuple[int, KnownJob]] = field(default_factory=dict)

    def of(self, job_id: str, root: str) -> KnownJob | None:
        """What is known of a job whose files lie in `root`, if none of them has been touched since."""
        if job_id not in self._found:
            return None
        stamped, job = self._found[job_id]
        return job if stamped == _hash(_stamps(root, job)) else None

    def note(self, job_id: str, root: str, job: KnownJob | None, looked_ns: int) -> None:
        """Take in what was read of a job after the moment `looked_ns`; None where nothing is to be kept of it."""
        self._found.pop(job_id, None)
        stamps = [] if job is None else _stamps(root, job)
        times = (*stamps[::4], *stamps[1::4])
        if job is not None and looked_ns - max(times) > SETTLED_S * 1e9:
            self._found[job_id] = _hash(stamps), job  # what was touched since that moment would be younger

    def write(self, file: Path) -> None:
        """Write them down for `read_known`."""
        rows = ([job_id, stamped, *_row(job)] for job_id, (stamped, job) in self._found.items())
        write_text(file, "".join(f"{json.dumps(row)}\n" for row in ({"schema_version": SCHEMA_VERSION}, *rows)))


def read_known(file: Path) -> KnownJobs:
    """The jobs that an earlier process wrote down; none where they cannot be read: it only saves time."""
    try:
        with file.open("rb") as lines:  # each is forgotten before the next is read, which saves memory and with it time
            is_readable = from_json(next(lines))["schema_version"] == SCHEMA_VERSION
            return KnownJobs(dict(map(_entry, lines)) if is_readable else {})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration):
        return KnownJobs()


def _entry(line: bytes) -> tuple[str, tuple[int, KnownJob]]:
    job_id, stamped, *row = from_json(line)  # in half the time of `json`
    return job_id, (stamped, _job(*row))


def _row(job: KnownJob) -> KnownJob:
    """As JSON has it: tuples are lists there, which are read sooner than what names its values."""
    record: Any = None if job.newest_record is None else job.newest_record.model_dump(mode="json", exclude_defaults=True)
    return job._replace(newest_record=record)


def _job(config_sha256: str, numbers: Numbers, record: Any, success: Any, spent: Any, saved_s: Any, history: Any) -> KnownJob:
    last, later_s = history
    return KnownJob(
        config_sha256,
        numbers,
        None if record is None else AttemptRecord.model_validate(record),
        None if success is None else Success(*success),
        None if spent is None else Spent(*spent),
        saved_s,
        HistoryEnd(LastEpoch(*last), later_s),
    )


def _hash(stamps: Numbers) -> int:
    """One number for twenty, of which thousands of jobs had thousands; the same from process to process, for they are whole."""
    return hash(tuple(stamps))


def _stamps(root: str, job: KnownJob) -> Numbers:
    """Of the files that decide what is known of a job, one after the other; paths are text, for there are thousands of them."""
    names = [SPEC_NAME, ATTEMPTS_NAME]
    if job.numbers:
        names += [result_name(job.numbers[-1]), HISTORY_NAME]
    if job.success is not None:
        names.append(job.success.bundle)
    stamps: Numbers = []
    for name in names:
        try:
            stamps += stamp_of(f"{root}/{name}")
        except OSError:
            stamps += NO_FILE
    return stamps
