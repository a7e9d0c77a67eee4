"""A line of the table for each job, or for several of one condition that stand alike."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fly64_hpc.glance import words
from fly64_hpc.glance.facts import JobGlance
from fly64_hpc.job_matrix import Condition
from fly64_hpc.job_state import JobState

UNREMARKABLE = (JobState.SUCCEEDED, JobState.PENDING, JobState.SKIPPED)
"""Jobs of these states share a line where there are too many lines."""


@dataclass(frozen=True)
class Line:
    """What a line is about."""

    jobs: tuple[JobGlance, ...]
    """One, or several that stand alike."""

    @property
    def first(self) -> JobGlance:
        """The job whose facts stand for all."""
        return self.jobs[0]

    @property
    def label(self) -> str:
        """The job's id, or the first's and how many more there are."""
        more = f" and {len(self.jobs) - 1} more" if len(self.jobs) > 1 else ""
        return f"{self.first.view.job.job_id}{more}"

    @property
    def condition(self) -> Condition:
        """Dose, view and place of the sweep."""
        return self.first.view.job.condition

    def only(self, cell: Callable[[JobGlance], str]) -> str:
        """A cell of a single job; several have none."""
        return cell(self.first) if len(self.jobs) == 1 else ""


def lines(jobs: Sequence[JobGlance], most: int | None = None) -> list[Line]:
    """A line a job; where that would be more than `most`, jobs of a condition that only wait or have succeeded share one."""
    if most is None or len(jobs) <= most:
        return [Line((job,)) for job in jobs]
    groups: dict[object, list[JobGlance]] = {}
    for job in jobs:
        alone = job.state not in UNREMARKABLE
        key = job.view.job.job_id if alone else (job.view.job.condition, job.view.job.gridsize, job.state)
        groups.setdefault(key, []).append(job)
    return [Line(tuple(group)) for group in groups.values()]


def loss(job: JobGlance) -> str:
    """The validation loss of the last epoch."""
    return _figure(job.last.val_loss, ".4f")


def _figure(value: float | None, form: str) -> str:
    return words.MISSING if value is None else format(value, form)


def trend(job: JobGlance, width: int = 10) -> str:
    """The validation losses of the lesson under way, as bars."""
    return words.sparkline([float(row["val_loss"]) for row in job.lesson if isinstance(row.get("val_loss"), float)], width)


def train_loss(job: JobGlance) -> str:
    """The training loss of the last epoch."""
    return _figure(job.last.train_loss, ".4f")


def speed(job: JobGlance) -> str:
    """Patterns a second in the last epoch."""
    return _figure(job.last.samples_per_s, ".0f")


def left(job: JobGlance) -> str:
    """What is left of the training, where it goes on."""
    seconds = job.forecast.training_s
    if seconds is None or job.is_stuck or job.is_halted:
        return words.MISSING
    return ("" if job.forecast.is_whole else "> ") + words.rough(seconds)


def saved(job: JobGlance) -> str:
    """The age of the newest checkpoint, of a job that is not yet a success."""
    return words.MISSING if job.checkpoint_age_s is None else words.rough(job.checkpoint_age_s)
