"""This machine: a detached supervisor starts a submission's jobs through submitit, as many at a time as there is room for."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import submitit

from fly64_hpc.cancellations import cancelled_jobs
from fly64_hpc.frozen_code import code_environment
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.submissions import Ledger, Submission, read_submissions, read_supervisor
from fly64_hpc.train_task import SUBMISSION_VARIABLE, run_job

POLL_S = 0.2
NO_LIMIT_MIN = 60 * 24 * 365
"""submitit ends local jobs after a time limit of two minutes unless told otherwise; here there is no queue to be fair to."""


@dataclass(frozen=True)
class Slot:
    """Room for one job at a time: some cores, or a GPU."""

    gpu: int | None = None


def slots(threads_per_job: int, device: str) -> list[Slot]:
    """The room on this machine: a slot for each GPU, or for each `threads_per_job` cores where there is none."""
    gpus = [] if device == "cpu" else visible_gpus()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return [Slot(gpu) for gpu in gpus] or [Slot()] * max(1, cores // threads_per_job)


def visible_gpus() -> list[int]:
    """The NVIDIA GPUs that this process may use, by index."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        return [int(gpu) for gpu in listed.split(",") if gpu.strip().isdigit()]
    folder = Path("/proc/driver/nvidia/gpus")
    return list(range(len(list(folder.iterdir())))) if folder.is_dir() else []


def start_supervisor(study_dir: Path, submission: Submission) -> "subprocess.Popen[bytes]":
    """Start a submission's supervisor in a session of its own, to outlive this shell; it and its jobs run frozen code."""
    scratch = Path(submission.scratch)
    scratch.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "fly64_hpc.local_supervisor", str(study_dir), str(submission.number)]
    environment = dict(os.environ)
    if submission.code is not None:
        environment = code_environment(StudyPaths(study_dir).frozen_code(submission.code), environment)
    with (scratch / "supervisor.log").open("ab") as log:
        return subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )


class Supervisor:
    """Runs one local submission to its end. If it is killed, what it had not started stays pending."""

    def __init__(self, paths: StudyPaths, submission: Submission, room: Sequence[Slot]) -> None:
        self.paths = paths
        self.submission = submission
        self.room = list(room)
        self.ledger = Ledger(paths, submission)
        self.waiting = list(submission.jobs)

    def run(self) -> None:
        """Start jobs as slots come free, until all have ended; those that are cancelled while they wait are not started."""
        self._wait_for_earlier()
        os.environ[SUBMISSION_VARIABLE] = str(self.submission.number)
        running: dict[str, tuple[submitit.Job[str], Slot]] = {}
        while self.waiting or running:
            self._drop_cancelled()
            while self.waiting and self.room:
                job_id, slot = self.waiting.pop(0), self.room.pop(0)
                running[job_id] = (self._start(job_id, slot), slot)
            time.sleep(POLL_S)
            for job_id in [job_id for job_id, (job, _) in running.items() if job.done()]:
                self.room.append(running.pop(job_id)[1])
                self.ledger.note_end(job_id)

    def _drop_cancelled(self) -> None:
        for job_id in cancelled_jobs(self.paths, self.submission.number).intersection(self.waiting):
            self.waiting.remove(job_id)
            self.ledger.note_end(job_id)

    def _wait_for_earlier(self) -> None:
        """Earlier supervisors of this study use the same room: let them finish."""
        for earlier in read_submissions(self.paths):
            if earlier.number < self.submission.number and earlier.executor == "local":
                record = read_supervisor(self.paths, earlier.number)
                while self.waiting and record is not None and record.process.is_alive():
                    time.sleep(POLL_S)
                    self._drop_cancelled()

    def _start(self, job_id: str, slot: Slot) -> "submitit.Job[str]":
        executor = submitit.LocalExecutor(folder=self.submission.scratch)
        gpus = [] if slot.gpu is None else [slot.gpu]
        executor.update_parameters(timeout_min=NO_LIMIT_MIN, gpus_per_node=len(gpus), visible_gpus=gpus)
        job = executor.submit(run_job, str(self.paths.root), job_id)
        self.ledger.note_start(job_id)
        return job
