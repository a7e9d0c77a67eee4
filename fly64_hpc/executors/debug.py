"""This process, through submitit: one job after the other, the legacy dictionary cleared and checked between them."""

import os
import sys
from pathlib import Path

import submitit

from fly64_hpc.cancellations import cancelled_jobs
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.submissions import Ledger, Submission
from fly64_hpc.train_task import SUBMISSION_VARIABLE, run_job
from ptycho_torch.config import PtychoError


def run_here(study_dir: Path, submission: Submission) -> None:
    """Run a submission's jobs in the calling process, in order, until one is told to stop."""
    from ptycho_torch import pipeline  # only here is torch wanted in this process

    os.environ[SUBMISSION_VARIABLE] = str(submission.number)
    executor = submitit.DebugExecutor(folder=submission.scratch)
    paths = StudyPaths(study_dir)
    ledger = Ledger(paths, submission)
    pipeline.clear_legacy_dict()
    for job_id in submission.jobs:
        if job_id in cancelled_jobs(paths, submission.number):
            ledger.note_end(job_id)
            continue
        ledger.note_start(job_id)
        state = executor.submit(run_and_say, str(study_dir), job_id).result()
        ledger.note_end(job_id)
        pipeline.require_clear_legacy_dict()
        if state == "interrupted" and job_id not in cancelled_jobs(paths, submission.number):
            return


def run_and_say(study_dir: str, job_id: str) -> str:
    """Run a job; what it raises is said and not raised, because submitit would open a debugger on it."""
    try:
        return run_job(study_dir, job_id)
    except (PtychoError, OSError) as error:
        sys.stderr.write(f"{job_id}: {error}\n")
        return "failed"
