"""What the report says, gathered from the study directory once; the sections only write it down."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from fly64_hpc.collector import JobView, StudyView, look
from fly64_hpc.errors import StudyDirectoryError
from fly64_hpc.job_matrix import Condition, first_of_each
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.job_record import AttemptRecord, now_utc, read_attempt, read_json
from fly64_hpc.job_state import JobState
from fly64_hpc.report_page import words
from fly64_hpc.slurm.calls import SlurmCalls
from fly64_hpc.study import StudyDesign
from fly64_hpc.submissions import DatasetJobRecord, read_dataset_job
from ptycho_torch.npz_contract import RECONSTRUCTION_NAME

Thing = TypeVar("Thing")

METHODS = {"network": "network alone", "refined": "refined"}
"""What makes an image of a scan, and how the report calls it."""


@dataclass(frozen=True)
class Job:
    """One job with everything that its attempts left."""

    view: JobView
    attempts: tuple[AttemptRecord, ...]
    """Those with a readable record, oldest first."""

    @property
    def job_id(self) -> str:
        """Its name."""
        return self.view.job.job_id

    @property
    def state(self) -> JobState:
        """How it stands."""
        return self.view.outcome.state

    @property
    def result(self) -> dict[str, Any]:
        """What its node found; empty where it has not succeeded."""
        record = self.view.record
        return (record.result or {}) if self.state is JobState.SUCCEEDED and record is not None else {}

    def figure(self, method: str, name: str) -> float | None:
        """One of its metrics, where it has it."""
        metrics = self.result.get("metrics") or {}
        value = (metrics if method == "network" else metrics.get(method) or {}).get(name)
        return float(value) if value is not None else None

    @property
    def collapse_reason(self) -> str | None:
        """Why its network counts as collapsed, where it does."""
        metrics = self.result.get("metrics") or {}
        return str(metrics.get("collapse_reason") or "flat image") if metrics.get("collapsed") else None

    @property
    def elapsed_s(self) -> float | None:
        """Seconds of all its attempts that have ended."""
        times = [attempt.elapsed_s for attempt in self.attempts if attempt.elapsed_s is not None]
        return sum(times) if times else None

    @property
    def reconstruction(self) -> Path | None:
        """The file of what it made of its scan."""
        file = self.view.paths.root / RECONSTRUCTION_NAME
        return file if self.state is JobState.SUCCEEDED and file.is_file() else None


@dataclass(frozen=True)
class ConditionFacts:
    """A condition with its jobs, which differ in their seeds."""

    condition: Condition
    jobs: tuple[Job, ...]

    @property
    def heading(self) -> str:
        """Dose, view and the values of the sweep."""
        return f"{words.dose(self.condition.dose_photons)} photons, {self.condition.words}"


@dataclass(frozen=True)
class StudyFacts:
    """A study as its report shows it."""

    view: StudyView
    jobs: tuple[Job, ...]
    manifest: dict[str, Any]
    """As it was last collected; empty where nobody has."""
    dataset_jobs: dict[int, DatasetJobRecord]
    """By submission, where one was needed."""
    made_utc: str

    @property
    def design(self) -> StudyDesign:
        """The study itself."""
        return self.view.study.design

    @property
    def paths(self) -> StudyPaths:
        """Where it lies."""
        return self.view.paths

    @property
    def conditions(self) -> tuple[ConditionFacts, ...]:
        """Its doses, views and places of the sweep, in the order of the job matrix."""
        grouped: dict[Condition, list[Job]] = {}
        for job in self.jobs:
            grouped.setdefault(job.view.job.condition, []).append(job)
        return tuple(ConditionFacts(condition, tuple(jobs)) for condition, jobs in grouped.items())

    @property
    def sweep_axes(self) -> tuple[str, ...]:
        """The axes of its sweep."""
        return tuple(self.design.sweep.axes) if self.design.sweep is not None else ()

    @property
    def several_seeds(self) -> bool:
        """Whether conditions are trained more than once."""
        return len({job.view.job.seed for job in self.jobs}) > 1

    @property
    def is_measured(self) -> bool:
        """Whether any scan was measured, so that nobody knows the truth of all."""
        study = self.view.study
        return any(study.of(job).design.base.measured is not None for job in first_of_each(study.jobs, lambda job: job.dataset))


def gather(paths: StudyPaths, calls: SlurmCalls | None = None) -> StudyFacts:
    """Look at a study once; writes nothing.

    Raises
    ------
    StudyDirectoryError
        There is no study in that directory.
    """
    view = look(paths, calls)
    jobs = tuple(Job(job, tuple(_attempts(job))) for job in view.jobs)
    records = {submission.number: read_dataset_job(paths, submission.number) for submission in view.submissions}
    made = {number: record for number, record in records.items() if record is not None}
    return StudyFacts(view, jobs, _manifest(paths), made, now_utc())


def shown(things: Sequence[Thing], most: int, what: str) -> tuple[Sequence[Thing], str]:
    """The first of several things, and the sentence that says that there are more; empty where all are shown."""
    if len(things) <= most:
        return things, ""
    return things[:most], f"Of {len(things):,} {what} the first {most:,} are shown, so that this page stays small enough to send."


def _attempts(job: JobView) -> list[AttemptRecord]:
    records = [read_attempt(job.paths.result(number), number) for number in job.paths.attempt_numbers()]
    return [record for record in records if isinstance(record, AttemptRecord)]


def _manifest(paths: StudyPaths) -> dict[str, Any]:
    try:
        manifest = read_json(paths.manifest)
    except StudyDirectoryError:
        return {}
    return manifest if isinstance(manifest, dict) else {}
