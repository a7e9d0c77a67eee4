"""Submissions: who was asked to run which jobs. The submitter writes its intent before it asks, and the answer after."""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from fly64_hpc.errors import RequestError
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.job_record import Record, now_utc, read_record
from fly64_hpc.process_identity import ProcessIdentity, this_process
from ptycho_torch.npz_contract import sha256_json

ExecutorName = Literal["slurm", "local", "debug"]


class Submission(Record):
    """One call of an executor."""

    number: int
    tag: str
    """A name that the scheduler keeps with the jobs, to find them by."""
    executor: ExecutorName
    state: Literal["intended", "submitted"]
    created_utc: str
    jobs: tuple[str, ...]
    """Job ids; in an array, the index in this list is the array index."""
    filters: dict[str, list[Any]]
    resources: dict[str, Any]
    scratch: str
    submitter: ProcessIdentity
    scheduler_job_id: str | None = None


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
    resources: dict[str, Any],
    scratch: Path,
    submitter: ProcessIdentity,
) -> Submission:
    """Record the intent to submit; the number is claimed by creating the file, so two submitters never share one."""
    paths.submissions.mkdir(parents=True, exist_ok=True)
    number = _claim_number(paths)
    submission = Submission(
        number=number,
        tag=submission_tag(paths, number),
        executor=executor,
        state="intended",
        created_utc=now_utc(),
        jobs=tuple(jobs),
        filters=filters,
        resources=resources,
        scratch=str(scratch / f"{number:04d}"),
        submitter=submitter,
    )
    submission.write(paths.submission(number))
    return submission


def submission_tag(paths: StudyPaths, number: int) -> str:
    """The name that the scheduler keeps for a submission: readable, and another one for another study directory."""
    return f"{paths.root.name}-{number:04d}-{sha256_json(str(paths.root))[:8]}"


def next_number(paths: StudyPaths) -> int:
    """The number that the next submission will have."""
    return max(submission_numbers(paths), default=0) + 1


def _claim_number(paths: StudyPaths) -> int:
    while True:
        number = next_number(paths)
        try:
            os.close(os.open(paths.submission(number), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        except FileExistsError:
            continue
        except OSError as error:
            raise RequestError(
                f"{paths.submissions} cannot be written: {error.strerror}.", hint="Choose another --output-root."
            ) from None
        return number


def submission_numbers(paths: StudyPaths) -> list[int]:
    """The submissions of a study, oldest first."""
    if not paths.submissions.is_dir():
        return []
    return sorted(int(file.stem) for file in paths.submissions.glob("[0-9]*.json") if file.stem.isdigit())


def read_submissions(paths: StudyPaths) -> list[Submission]:
    """Every submission of a study, oldest first; one that was claimed and not yet written is left out."""
    files = [paths.submission(number) for number in submission_numbers(paths)]
    return [read_record(file, Submission) for file in files if file.stat().st_size]


def read_supervisor(paths: StudyPaths, number: int) -> SupervisorRecord | None:
    """What the supervisor of a local submission says, where it has said anything."""
    file = paths.supervisor(number)
    return read_record(file, SupervisorRecord) if file.exists() else None


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
def submitting(paths: StudyPaths) -> Iterator[None]:
    """One submitter of a study at a time looks what is open and records what it will submit."""
    paths.submissions.mkdir(parents=True, exist_ok=True)
    with (paths.submissions / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
