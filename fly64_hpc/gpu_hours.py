"""GPU-hours asked, used and lost: one law, for `status` and for the report.

asked   GPUs times time limit, of every training that Slurm took
used    GPUs times time, and `lost` of it: see `attempt_costs`
"""

import re

from fly64_hpc.attempt_costs import Spent, spent_by_attempt
from fly64_hpc.collector import JobView
from fly64_hpc.job_record import AttemptRecord
from fly64_hpc.resources import Resources
from fly64_hpc.submissions import Submission


def gpus_of(resources: Resources) -> int:
    """How many GPUs one job asks for; those of `gres` too: `gpu:a100:2`."""
    if resources.gres is None:
        return resources.gpus_per_node
    asked = (re.fullmatch(r"gpu(?::[^:,()]+)??(?::(\d+))?(?:\(.*\))?", part) for part in resources.gres.split(","))
    return sum(int(match[1] or 1) for match in asked if match is not None)


def asked_gpu_h(submission: Submission) -> float:
    """GPUs times time limit, over all trainings that Slurm took; nothing where no scheduler was asked."""
    parts = [part for part in submission.parts if part.kind == "train" and part.state == "submitted"]
    return sum(len(part.jobs) * gpus_of(part.resources) * part.resources.time_limit_min / 60 for part in parts)


def job_costs(job: JobView) -> list[tuple[AttemptRecord, Spent]]:
    """What each attempt at a job took, oldest first; one without a readable record is left out."""
    return spent_by_attempt(job.paths, job.files.records, job.files.beats, is_at_work=job.outcome.is_live)


def spent_on(job: JobView) -> Spent:
    """What all attempts at a job took."""
    if job.outcome.is_live and job.record is not None and job.record.state == "running":
        return Spent.total(spent for _, spent in job_costs(job))
    return job.files.spent
