"""Submissions: who was asked to run which jobs. The submitter writes its intent before it asks, and each answer after.

Whoever holds a study's submit lock is its only submitter, so what an earlier one left as intended can be looked up and finished.
"""

import fcntl
import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TextIO

from pydantic import Field

from fly64_hpc.errors import RequestError
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.job_record import Record, now_utc, read_record
from fly64_hpc.process_identity import ProcessIdentity, this_process
from fly64_hpc.provenance import SubmissionProvenance
from fly64_hpc.resources import Resources

ExecutorName = Literal["slurm", "local", "debug"]
PartKind = Literal["data", "train", "collect"]
LOCK_POLL_S = 0.2
_HELD_HERE: set[Path] = set()
"""The studies whose submit lock this process holds."""
PATIENCE_S = 2.0
"""How long another submitter may hold the lock before a person is told."""


class Part(Record):
    """What one call of sbatch hands over: the dataset job, an array of trainings, or the collector job."""

    kind: PartKind
    tag: str
    """The name of the Slurm job: nothing else has it, so it finds the job where the id is not known, or known no longer."""
    state: Literal["intended", "submitted", "refused"] = "intended"
    jobs: tuple[str, ...] = ()
    """Job ids; the index in this list is the array index."""
    resources: Resources
    throttle: int = 1
    after_ok: tuple[int, ...] = ()
    """Parts that must have succeeded before."""
    after_any: tuple[int, ...] = ()
    """Parts that must have ended before, however they did."""
    replaces: int | None = None
    """The part that Slurm had no room for, of which this is a half."""
    delay_s: int = 0
    scheduler_job_id: str | None = None


class Submission(Record):
    """What one `submit`, or one round of retries, hands to an executor."""

    number: int
    origin: Literal["submit", "retry"] = "submit"
    tag: str
    executor: ExecutorName
    state: Literal["intended", "submitted", "refused"]
    """`submitted` once every part of it is with the executor; `refused` where nothing of it is."""
    created_utc: str
    jobs: tuple[str, ...]
    filters: dict[str, list[Any]]
    resources: Resources
    scratch: str
    submitter: ProcessIdentity
    code: str | None = None
    """The sha256 of the frozen code that its nodes run; None where it was not frozen, as older versions did not."""
    provenance: SubmissionProvenance | None = None
    scheduler_job_id: str | None = None
    """The supervisor's process id; the parts of a submission to Slurm have ids of their own."""
    parts: tuple[Part, ...] = ()
    reasons: dict[str, str] = Field(default_factory=dict)
    """Why each job is tried again, in a round of retries."""

    def task(self, job_id: str) -> tuple[Part, int] | None:
        """The part that holds a job, and its index there."""
        return self._tasks.get(job_id)

    @cached_property
    def _tasks(self) -> dict[str, tuple[Part, int]]:
        standing = [part for part in self.parts if part.state != "refused"]
        return {job_id: (part, index) for part in reversed(standing) for index, job_id in enumerate(part.jobs)}

    def standing(self, indices: Sequence[int]) -> list[Part]:
        """The parts that stand for those asked for: themselves, or what they were split into."""
        found: list[Part] = []
        for index in indices:
            if self.parts[index].state == "refused":
                found += self.standing([number for number, part in enumerate(self.parts) if part.replaces == index])
            else:
                found.append(self.parts[index])
        return found


class DatasetJobRecord(Record):
    """What the dataset job of a submission says of itself."""

    state: Literal["running", "succeeded", "failed"]
    process: ProcessIdentity
    error: str = ""


class SupervisorRecord(Record):
    """What the process that runs a submission on this machine says: which jobs it has started, and which have ended."""

    process: ProcessIdentity
    started: dict[str, str]
    """Job id to the time it was started."""
    ended: dict[str, str]
    """Job id to the time its process was seen to have ended."""


def new_submission(
    paths: StudyPaths,
    *,
    executor: ExecutorName,
    jobs: Sequence[str],
    filters: dict[str, list[Any]],
    resources: Resources,
    scratch: Path,
    origin: Literal["submit", "retry"] = "submit",
    reasons: dict[str, str] | None = None,
    code: str | None = None,
    provenance: SubmissionProvenance | None = None,
) -> Submission:
    """A submission with a number of its own; it is not yet on the disk."""
    number = next_number(paths)
    return Submission(
        number=number,
        origin=origin,
        tag=f"{_plain(paths.label)}-{number:04d}-{secrets.token_hex(4)}",
        executor=executor,
        state="intended",
        created_utc=now_utc(),
        jobs=tuple(jobs),
        filters=filters,
        resources=resources,
        scratch=str(submission_scratch(scratch, number)),
        submitter=this_process(),
        code=code,
        provenance=provenance,
        reasons=reasons or {},
    )


def _plain(name: str) -> str:
    """A folder's name without what Slurm's commands would read as the end of it: a study directory may have been renamed."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)


def submission_scratch(scratch: Path, number: int) -> Path:
    """Where the scripts and the output of a submission go."""
    return scratch / f"{number:04d}"


def next_number(paths: StudyPaths) -> int:
    """The number that the next submission will have."""
    used = [int(match[0]) for file in paths.submissions.glob("[0-9]*.json") if (match := re.match(r"\d+", file.name))]
    return max(used, default=0) + 1


def submission_numbers(paths: StudyPaths) -> list[int]:
    """The submissions of a study, oldest first."""
    if not paths.submissions.is_dir():
        return []
    return sorted(int(file.stem) for file in paths.submissions.glob("[0-9]*.json") if file.stem.isdigit())


def read_submissions(paths: StudyPaths) -> list[Submission]:
    """Every submission of a study, oldest first."""
    return [read_record(paths.submission(number), Submission) for number in submission_numbers(paths)]


def read_supervisor(paths: StudyPaths, number: int) -> SupervisorRecord | None:
    """What the supervisor of a local submission says, where it has said anything."""
    file = paths.supervisor(number)
    return read_record(file, SupervisorRecord) if file.exists() else None


def read_dataset_job(paths: StudyPaths, number: int) -> DatasetJobRecord | None:
    """What the dataset job of a submission says, where it has said anything."""
    file = paths.dataset_job(number)
    return read_record(file, DatasetJobRecord) if file.exists() else None


class Ledger:
    """The supervisor's record of one submission, kept by the process that runs its jobs."""

    def __init__(self, paths: StudyPaths, submission: Submission) -> None:
        self._path = paths.supervisor(submission.number)
        self._record = SupervisorRecord(process=this_process(), started={}, ended={})
        self._record.write(self._path)

    def note_start(self, job_id: str) -> None:
        """A job is being started."""
        self._note(started=self._record.started | {job_id: now_utc()})

    def note_end(self, job_id: str) -> None:
        """A job's process has ended."""
        self._note(ended=self._record.ended | {job_id: now_utc()})

    def _note(self, **changes: dict[str, str]) -> None:
        self._record = self._record.model_copy(update=changes)
        self._record.write(self._path)


@contextmanager
def submitting(paths: StudyPaths, say: Callable[[str], None] = lambda _: None) -> Iterator[int]:
    """Be the only submitter of a study; yields the lock's file descriptor.

    A child that is given the descriptor keeps the lock when this process is killed.

    Raises
    ------
    RequestError
        The study directory cannot be written, or its file system knows no locks.
    """
    with _open_lock(paths) as lock:
        _wait_for_lock(paths, lock.fileno(), say)
        _HELD_HERE.add(paths.root)
        try:
            yield lock.fileno()
        finally:
            _HELD_HERE.discard(paths.root)


def _open_lock(paths: StudyPaths) -> TextIO:
    try:
        paths.submissions.mkdir(parents=True, exist_ok=True)
        return _lock_file(paths).open("w")
    except OSError as error:
        raise RequestError(
            f"{paths.submissions} cannot be written: {error.strerror}.", hint="Choose another --output-root."
        ) from None


def _wait_for_lock(paths: StudyPaths, lock: int, say: Callable[[str], None]) -> None:
    started = time.monotonic()
    said = False
    try:
        while not _lock(lock, fcntl.LOCK_EX):
            if not said and time.monotonic() - started > PATIENCE_S:
                say("another submit of this study is at work; waiting for it")
                said = True
            time.sleep(LOCK_POLL_S)
    except OSError as error:
        raise RequestError(
            f"{paths.submissions} cannot be locked: {error.strerror}.",
            hint="Choose an --output-root on a file system that knows locks.",
        ) from None


def somebody_submits(paths: StudyPaths) -> bool:
    """Whether a submitter of the study other than this process is at work now."""
    if paths.root in _HELD_HERE:
        return False
    try:
        with _lock_file(paths).open("r") as lock:
            return not _lock(lock.fileno(), fcntl.LOCK_SH)
    except OSError:
        return False


def _lock_file(paths: StudyPaths) -> Path:
    return paths.submissions / ".lock"


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
