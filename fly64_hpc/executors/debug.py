"""This process, through submitit: one job after the other, the legacy dictionary cleared and checked between them."""

import os
from pathlib import Path

import submitit

from fly64_hpc.submissions import Submission
from fly64_hpc.train_task import SUBMISSION_VARIABLE, run_job


def run_here(study_dir: Path, submission: Submission) -> None:
    """Run a submission's jobs in the calling process, in order."""
    from ptycho_torch import pipeline  # only here is torch wanted in this process

    os.environ[SUBMISSION_VARIABLE] = str(submission.number)
    executor = submitit.DebugExecutor(folder=submission.scratch)
    pipeline.clear_legacy_dict()
    for job_id in submission.jobs:
        executor.submit(run_job, str(study_dir), job_id).result()
        pipeline.require_clear_legacy_dict()
