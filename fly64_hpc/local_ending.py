"""Ending trainings of this machine: each is told to stop, gets time to save, and is killed where it does not end.

A process is signalled only while it is the very one that its attempt's record names: pids are used again.
"""

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from fly64_hpc.job_paths import JobPaths, StudyPaths
from fly64_hpc.job_record import AttemptRecord, read_attempt
from fly64_hpc.process_identity import ProcessIdentity
from fly64_hpc.submissions import read_supervisor

KILL_WAIT_S = 30.0
"""Between the signal to stop and the end by force, as Slurm has it."""
POLL_S = 0.1


@dataclass(frozen=True)
class LocalJob:
    """A job that a supervisor, or a submit with the debug executor, has in hands."""

    job_id: str
    paths: JobPaths
    submission: int


def end_local(study: StudyPaths, jobs: Sequence[LocalJob], wait_s: float = KILL_WAIT_S) -> list[str]:
    """End jobs of this machine that are on record as cancelled; ids of those that then are still at work are returned.

    A job that was started and has not yet begun its attempt sees the record when it does.
    """
    told: set[tuple[int, int]] = set()
    deadline = time.monotonic() + wait_s
    while (left := [job for job in jobs if _is_at_work(study, job)]) and time.monotonic() < deadline:
        for process in _living(left):
            if (process.pid, process.start_ticks) not in told:
                told.add((process.pid, process.start_ticks))
                _send(process, signal.SIGTERM)
        time.sleep(POLL_S)
    killed = _living(left)
    for process in killed:
        _send(process, signal.SIGKILL)
    while any(process.is_alive() for process in killed) and time.monotonic() < deadline + 1:
        time.sleep(POLL_S)
    return [job.job_id for job in left if _is_at_work(study, job)]


def _is_at_work(study: StudyPaths, job: LocalJob) -> bool:
    """Whether its training lives, or its living supervisor has not seen its end."""
    if _living([job]):
        return True
    supervisor = read_supervisor(study, job.submission)
    return supervisor is not None and bool(supervisor.process.is_alive()) and job.job_id not in supervisor.ended


def _living(jobs: Sequence[LocalJob]) -> list[ProcessIdentity]:
    """The processes of this machine that train these jobs."""
    found = []
    for job in jobs:
        for number in job.paths.attempt_numbers():
            record = read_attempt(job.paths.result(number), number)
            if isinstance(record, AttemptRecord) and record.state == "running" and record.process.is_alive():
                found.append(record.process)
    return found


def _send(process: ProcessIdentity, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        if process.is_alive():
            os.kill(process.pid, number)
