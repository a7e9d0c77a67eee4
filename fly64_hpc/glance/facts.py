"""What `status` knows of each job beside its outcome: progress, silence, forecast and what it cost. Read once, in one pass."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from fly64_hpc.attempt_costs import Spent
from fly64_hpc.collector import JobView, StudyView, epochs_of
from fly64_hpc.glance.forecast import Forecast, training_left_s
from fly64_hpc.gpu_hours import asked_gpu_h, spent_on
from fly64_hpc.heartbeat import Heartbeat, is_stuck, silence_s
from fly64_hpc.history import LastEpoch, epochs_so_far
from fly64_hpc.job_record import AttemptRecord, now_utc, seconds_between
from fly64_hpc.job_state import JobState
from fly64_hpc.outcome import is_earlier
from fly64_hpc.sweep import Labels

Kind: TypeAlias = tuple[str, int, Labels]
"""The view, its gridsize and the place of the sweep: jobs of one kind take about as long."""

_CLOCKS_DIFFER_S = 60.0
"""Between Slurm's controller and a node, at most."""
_NOTHING_LEFT = Forecast()
_HALTED_WORDS = ("SUSPENDED", "STOPPED")


class JobGlance(NamedTuple):
    """One job as `status` shows it."""

    view: JobView
    last: LastEpoch
    epochs: int | None
    """How many it will have; None where only its solver knows."""
    beat: Heartbeat | None
    """Of the attempt that runs."""
    silence_s: float | None
    """Since the last sign of progress of the attempt that runs; None where none does."""
    forecast: Forecast
    checkpoint_age_s: float | None
    """Of its newest checkpoint, where it is not yet a success."""
    spent: Spent

    @property
    def state(self) -> JobState:
        """How it stands."""
        return self.view.outcome.state

    @property
    def is_halted(self) -> bool:
        """Whether Slurm has suspended it."""
        return self.view.queue is not None and self.view.queue.word in _HALTED_WORDS

    @property
    def is_stuck(self) -> bool:
        """Whether it runs and makes no progress. Nothing is done about it: a person may."""
        return self.silence_s is not None and not self.is_halted and is_stuck(self.beat, self.silence_s)

    @property
    def epoch(self) -> int | None:
        """Epochs completed; None where no attempt has begun."""
        return None if self.view.attempts == 0 else self.last.epoch

    @property
    def lesson(self) -> list[dict[str, Any]]:
        """The epochs of the newest lesson: the losses of two are not to be compared. Only read where it is asked for."""
        rows = epochs_so_far(self.view.paths) if self.last.epoch else []
        return [row for row in rows if row.get("lesson") == self.last.lesson]


@dataclass(frozen=True)
class StudyGlance:
    """The study as `status` shows it."""

    view: StudyView
    jobs: tuple[JobGlance, ...]
    made_utc: str

    @property
    def asked_gpu_h(self) -> float:
        """Of all submissions."""
        return sum(asked_gpu_h(submission) for submission in self.view.submissions)

    @property
    def spent(self) -> Spent:
        """By all attempts."""
        return Spent.total(job.spent for job in self.jobs)


def glance(view: StudyView) -> StudyGlance:
    """What is to be shown of a study that was looked at."""
    now = now_utc()
    kinds = [_kind(job) for job in view.jobs]
    epochs = {kind: epochs_of(view, job) for kind, job in dict(zip(kinds, view.jobs, strict=True)).items()}
    later = _later_lessons(kinds, view.jobs)
    jobs = (_job(job, epochs[kind], later.get(kind), now) for kind, job in zip(kinds, view.jobs, strict=True))
    return StudyGlance(view, tuple(jobs), now)


def _kind(job: JobView) -> Kind:
    return job.job.view, job.job.gridsize, job.job.sweep


def _later_lessons(kinds: Sequence[Kind], jobs: Sequence[JobView]) -> dict[Kind, float]:
    """By kind: how long the later lessons took the jobs that have been through them, the median."""
    taken: dict[Kind, list[float]] = {}
    for kind, job in zip(kinds, jobs, strict=True):
        if job.outcome.state is JobState.SUCCEEDED and job.files.history.later_s is not None:
            taken.setdefault(kind, []).append(job.files.history.later_s)
    return {kind: statistics.median(seconds) for kind, seconds in taken.items()}


def _job(job: JobView, epochs: int | None, later_s: float | None, now: str) -> JobGlance:
    beat, silence, forecast, saved_s = None, None, _NOTHING_LEFT, None
    if job.outcome.state is JobState.RUNNING:
        record = _attempt_at_work(job)
        if record is not None:
            beat = job.files.beats[record.attempt]
            silence = silence_s(beat, job.files.heartbeat(record.attempt), record.started_utc, now)
        forecast = _forecast(job, beat, silence or 0.0, later_s, now)
    last = job.files.history.last
    if last.epochs is not None:
        epochs = last.epochs
    if job.outcome.state is not JobState.SUCCEEDED:
        saved_s = job.files.saved_s
    age = None if saved_s is None else max(0.0, time.time() - saved_s)
    return JobGlance(job, last, epochs, beat, silence, forecast, age, spent_on(job))


def _attempt_at_work(job: JobView) -> AttemptRecord | None:
    """The attempt that runs; None where the newest is of a start before this one: Slurm starts a job again before it says so."""
    record, queue = job.record, job.queue
    if record is None or record.state != "running":
        return None
    if job.submission is not None and is_earlier(record.submission, job.submission.number):
        return None
    start_utc = queue.start_utc if queue is not None else None
    if start_utc is not None and seconds_between(record.started_utc, start_utc) > _CLOCKS_DIFFER_S:
        return None
    return record


def _forecast(job: JobView, beat: Heartbeat | None, silence: float, later_s: float | None, now: str) -> Forecast:
    training_s, is_whole = (None, False) if beat is None else training_left_s(beat, silence, later_s)
    task = job.submission.task(job.job.job_id) if job.submission is not None else None
    if task is None:
        return Forecast(training_s, is_whole)
    resources = task[0].resources
    limit_s: float | None = job.queue.left_s if job.queue is not None else None
    if limit_s is None and job.record is not None and (job.queue is None or job.queue.limit_s is not None):
        limit_s = 60 * resources.time_limit_min - seconds_between(job.record.started_utc, now)
    return Forecast(training_s, is_whole, limit_s, resources.signal_delay_s)
