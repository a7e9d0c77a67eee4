"""The collector: gathers every job's witnesses, judges them, and writes manifest and checkpoint index.

Everything is read from the study directory and the executors each time, so it may be killed at any moment and run from
any shell; the two files are replaced as a whole.
"""

from dataclasses import dataclass
from typing import Any

from fly64_hpc import checkpoint_index, executor_facts
from fly64_hpc.errors import EXIT_JOB_FAILED, EXIT_OK, StudyDirectoryError
from fly64_hpc.executor_facts import ExecutorFacts
from fly64_hpc.job_matrix import TrainingJob, job_matrix
from fly64_hpc.job_paths import JobPaths, StudyPaths
from fly64_hpc.job_record import (
    AttemptRecord,
    DamagedRecord,
    JobSpec,
    file_digest,
    proven_success,
    read_attempt,
    read_json,
    read_record,
    read_skipped_views,
)
from fly64_hpc.job_state import JobState
from fly64_hpc.manifest import job_entry, manifest
from fly64_hpc.outcome import Outcome, Witnesses, judge
from fly64_hpc.study_directory import StoredStudy, read_study
from fly64_hpc.submissions import Submission, read_submissions
from ptycho_torch.npz_contract import write_json


@dataclass(frozen=True)
class JobView:
    """One job with all that is known of it."""

    job: TrainingJob
    paths: JobPaths
    spec: JobSpec | None
    record: AttemptRecord | None
    """The newest attempt's record, where it is readable."""
    attempts: int
    submission: Submission | None
    """The newest submission that asked for it."""
    outcome: Outcome

    @property
    def is_with_slurm(self) -> bool:
        """Whether its newest submission went to Slurm."""
        return self.submission is not None and self.submission.executor == "slurm"


@dataclass(frozen=True)
class StudyView:
    """A study as it stands."""

    paths: StudyPaths
    study: StoredStudy
    jobs: tuple[JobView, ...]
    submissions: tuple[Submission, ...]
    skipped_views: list[dict[str, Any]]
    problems: tuple[str, ...]
    """What went wrong in asking the executors."""

    @property
    def exit_code(self) -> int:
        """1 where a job that was asked for ended badly."""
        bad = any(view.outcome.state.is_bad for view in self.jobs if view.submission is not None)
        return EXIT_JOB_FAILED if bad else EXIT_OK

    def may_be_running_unseen(self, job: JobView) -> bool:
        """Whether Slurm has had the job, and squeue, which would name it if it ran, gave no answer."""
        squeue_is_silent = any(problem.startswith("squeue") for problem in self.problems)
        return job.is_with_slurm and squeue_is_silent and job.outcome.state is JobState.UNKNOWN

    def is_live(self) -> bool:
        """Whether any job is still waited for or at work."""
        return any(view.outcome.is_live for view in self.jobs)


def look(paths: StudyPaths) -> StudyView:
    """Gather and judge; writes nothing.

    Raises
    ------
    StudyDirectoryError
        There is no study in that directory.
    """
    study = read_study(paths)
    submissions = tuple(read_submissions(paths))
    facts = executor_facts.gather(paths, submissions)
    skipped = read_skipped_views(paths.skip_summary)
    jobs = tuple(_look_at_job(paths, job, facts, skipped) for job in job_matrix(study.design))
    return StudyView(paths, study, jobs, submissions, skipped, tuple(facts.problems))


def collect(paths: StudyPaths) -> StudyView:
    """Look, and write manifest and checkpoint index."""
    view = look(paths)
    entries = [job_entry(paths, job.job, job.spec, job.record, job.outcome, job.submission, job.attempts) for job in view.jobs]
    write_json(paths.manifest, manifest(paths, view.study, entries, view.skipped_views, view.submissions, _created_utc(paths)))
    checkpoint_index.write_index(paths, view.study.design.study, [job.job for job in view.jobs])
    return view


def _created_utc(paths: StudyPaths) -> str | None:
    try:
        created: str = read_json(paths.manifest)["created_utc"]
    except (StudyDirectoryError, KeyError, TypeError):
        return None  # the manifest is derived from the rest: a damaged one is simply written anew
    return created


def _look_at_job(paths: StudyPaths, job: TrainingJob, facts: ExecutorFacts, skipped: list[dict[str, Any]]) -> JobView:
    own = paths.job(job)
    numbers = own.attempt_numbers()
    submission = facts.newest.get(job.job_id)
    try:
        spec = read_record(own.spec, JobSpec) if own.spec.exists() else None
    except StudyDirectoryError as error:
        return JobView(job, own, None, None, len(numbers), submission, Outcome(JobState.UNKNOWN, str(error)))
    record = proven_success(own, spec.config_sha256) if spec else None
    newest = record or (read_attempt(own.result(numbers[-1]), numbers[-1]) if numbers else None)
    readable = newest if isinstance(newest, AttemptRecord) else None
    outcome = _skip(job, skipped) or judge(_witnesses(job, own, spec, newest, len(numbers), submission, facts))
    return JobView(job, own, spec, readable, len(numbers), submission, outcome)


def _skip(job: TrainingJob, skipped: list[dict[str, Any]]) -> Outcome | None:
    for view in skipped:
        if (view["dose"], view["view"]) == (job.dose_photons, job.view):
            return Outcome(JobState.SKIPPED, view["reason"])
    return None


def _witnesses(
    job: TrainingJob,
    own: JobPaths,
    spec: JobSpec | None,
    record: AttemptRecord | DamagedRecord | None,
    attempts: int,
    submission: Submission | None,
    facts: ExecutorFacts,
) -> Witnesses:
    succeeded = isinstance(record, AttemptRecord) and record.state == "succeeded"
    return Witnesses(
        record=record,
        attempts=attempts,
        config_sha256=spec.config_sha256 if spec else None,
        bundle_sha256=file_digest(own.bundle) if succeeded and own.bundle.is_file() else None,
        submitted=submission is not None,
        executor=facts.facts.get(job.job_id),
    )
