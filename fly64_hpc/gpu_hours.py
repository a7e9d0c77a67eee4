"""GPU-hours asked, used and lost: one law, for `status` and for the report. Pure but for reading the attempts.

asked   GPUs times time limit, of every training that Slurm took
used    GPUs times time, of every attempt; one whose end nobody recorded counts until its last heartbeat
lost    of those used, what no later attempt went on from and no checkpoint holds: of an attempt that did not succeed, the
        share of its steps after the step at which the next one began, or, where none has, after its last checkpoint
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fly64_hpc.checkpoint_index import last_step
from fly64_hpc.collector import JobView
from fly64_hpc.heartbeat import Heartbeat, read_heartbeat
from fly64_hpc.job_record import AttemptRecord, read_attempt, seconds_between
from fly64_hpc.resources import Resources
from fly64_hpc.submissions import Submission


@dataclass(frozen=True)
class Spent:
    """What attempts took."""

    hours: float = 0.0
    """With a GPU or without."""
    lost_hours: float = 0.0
    gpu_h: float = 0.0
    lost_gpu_h: float = 0.0

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(
            self.hours + other.hours,
            self.lost_hours + other.lost_hours,
            self.gpu_h + other.gpu_h,
            self.lost_gpu_h + other.lost_gpu_h,
        )


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


def spent_by_attempt(job: JobView) -> list[tuple[AttemptRecord, Spent]]:
    """What each attempt at a job took, oldest first; one without a readable record is left out."""
    attempts = _attempts(job)
    return [(one.record, _spent(job, one, attempts[number + 1 :])) for number, one in enumerate(attempts)]


def spent_on(job: JobView) -> Spent:
    """What all attempts at a job took."""
    success = job.files.success
    if job.attempts == 1 and success is not None and success.ended_utc is not None:  # nothing need be read
        hours = max(0.0, seconds_between(success.started_utc, success.ended_utc)) / 3600
        return Spent(hours, 0.0, success.gpus * hours, 0.0)
    return sum((spent for _, spent in spent_by_attempt(job)), Spent())


@dataclass(frozen=True)
class _Attempt:
    record: AttemptRecord
    beat: Heartbeat | None

    @property
    def hours(self) -> float:
        """Until its end, or its last sign of life."""
        end_utc = self.record.ended_utc or (self.beat.time_utc if self.beat else self.record.started_utc)
        return max(0.0, seconds_between(self.record.started_utc, end_utc)) / 3600

    @property
    def first_step(self) -> int | None:
        """Where it began, where it has come so far as to say so."""
        if self.record.first_step is not None:
            return self.record.first_step
        return self.beat.first_step if self.beat is not None and self.beat.step else None

    @property
    def last_step(self) -> int:
        known = (self.record.step, self.beat.step if self.beat else None)
        return max((step for step in known if step is not None), default=0)


def _attempts(job: JobView) -> list[_Attempt]:
    if job.attempts == 1 and job.record is not None:
        records = [job.record]  # read already
    else:
        read = [read_attempt(job.paths.result(number), number) for number in job.paths.attempt_numbers()]
        records = [record for record in read if isinstance(record, AttemptRecord)]
    return [
        _Attempt(one, None if one.state == "succeeded" else read_heartbeat(job.paths.heartbeat(one.attempt))) for one in records
    ]


def _spent(job: JobView, attempt: _Attempt, later: Sequence[_Attempt]) -> Spent:
    hours, gpus = attempt.hours, attempt.record.scheduler.gpus
    lost = hours * (1.0 - _kept_share(job, attempt, later))
    return Spent(hours, lost, gpus * hours, gpus * lost)


def _kept_share(job: JobView, attempt: _Attempt, later: Sequence[_Attempt]) -> float:
    is_at_work = attempt.record.state == "running" and job.outcome.is_live and not later
    if attempt.record.state == "succeeded" or is_at_work:
        return 1.0
    begun = [one.first_step for one in later if one.first_step is not None]
    reached = begun[0] if begun else last_step(job.paths, attempt.record.attempt)
    first = attempt.first_step or 0
    steps = max(attempt.last_step, reached) - first
    return max(0, reached - first) / steps if steps > 0 else 0.0
