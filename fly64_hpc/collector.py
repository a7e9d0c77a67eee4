"""The collector: gathers every job's witnesses, judges them, and writes manifest and checkpoint index.

Everything is read from the study directory and the executors each time, so it may be killed at any moment and run from
any shell; the two files are replaced as a whole.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fly64_hpc import checkpoint_index, executor_facts, file_digests
from fly64_hpc.cancellations import Cancelled, cancelled_by_job, read_cancellations
from fly64_hpc.errors import EXIT_JOB_FAILED, EXIT_OK, StudyDirectoryError
from fly64_hpc.executor_facts import ExecutorFacts, log_evidence
from fly64_hpc.file_lock import locked
from fly64_hpc.job_matrix import TrainingJob
from fly64_hpc.job_paths import JobPaths, StudyPaths
from fly64_hpc.job_record import (
    AttemptRecord,
    DamagedRecord,
    JobSpec,
    bundle_digest,
    bundle_of,
    proven_success,
    read_attempt,
    read_json,
    read_record,
    read_skipped_views,
    skipped_condition,
)
from fly64_hpc.job_state import JobState, QueueFacts
from fly64_hpc.manifest import job_entry, manifest
from fly64_hpc.outcome import Outcome, Witnesses, is_earlier, judge
from fly64_hpc.slurm.calls import SlurmCalls
from fly64_hpc.slurm.task_logs import NO_EVIDENCE
from fly64_hpc.study_directory import StoredStudy, read_study
from fly64_hpc.submissions import Submission, read_submissions
from ptycho_torch.config import write_json


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

    node: str = ""
    """Where it runs or last ran; empty where nobody says."""
    held_task: str = ""
    """What Slurm calls it, where it is held after a failed launch."""
    cancelled: str = ""
    """Who cancelled it, or that it be tried again, in its newest submission, and when; nothing where nobody did."""
    queue: QueueFacts | None = None
    """What Slurm's queue says of it, where it waits or runs there."""

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
    unheard: frozenset[str]
    """Jobs of which nobody can say whether they run, because Slurm does not answer."""
    open_parts: tuple[str, ...]
    """Dataset and collector jobs that wait or run."""

    @property
    def held_tasks(self) -> list[str]:
        """What Slurm holds after a failed launch, as Slurm calls it."""
        return [job.held_task for job in self.jobs if job.held_task]

    @property
    def exit_code(self) -> int:
        """1 where a job that was asked for ended badly, or nobody knows how."""
        asked = [view.outcome for view in self.jobs if view.submission is not None]
        bad = any(outcome.state.is_bad and (not outcome.is_live or outcome.state is JobState.UNKNOWN) for outcome in asked)
        return EXIT_JOB_FAILED if bad else EXIT_OK

    def of_job(self, job: TrainingJob) -> JobView:
        """What is known of one of its jobs."""
        return next(one for one in self.jobs if one.job.job_id == job.job_id)

    def is_live(self) -> bool:
        """Whether any job is still waited for or at work, or a collector job is still to come."""
        return bool(self.open_parts) or any(view.outcome.is_live for view in self.jobs)


def look(paths: StudyPaths, calls: SlurmCalls | None = None) -> StudyView:
    """Gather and judge; writes nothing. Slurm is asked once, and not at all about what has proven its success.

    Raises
    ------
    StudyDirectoryError
        There is no study in that directory.
    """
    study = read_study(paths)
    submissions = tuple(read_submissions(paths))
    kept = [_read_job(paths, job) for job in study.jobs]
    settled = frozenset(job.job.job_id for job in kept if job.has_succeeded)
    facts = executor_facts.gather(paths, submissions, settled, calls)
    skipped = read_skipped_views(paths.skip_summary)
    cancelled = cancelled_by_job(read_cancellations(paths))
    jobs = tuple(_look_at_job(job, facts, skipped, cancelled) for job in kept)
    unheard = frozenset(job.job.job_id for job in jobs if job.job.job_id in facts.unheard and job.outcome.is_live)
    return StudyView(paths, study, jobs, submissions, skipped, tuple(facts.problems), unheard, facts.open_parts)


def collect(paths: StudyPaths, calls: SlurmCalls | None = None) -> StudyView:
    """Look, and write manifest and checkpoint index."""
    with _one_collector(paths):
        view = look(paths, calls)
        entries = [_entry(paths, job) for job in view.jobs]
        write_json(
            paths.manifest, manifest(paths, view.study, entries, view.skipped_views, view.submissions, _created_utc(paths))
        )
        proven = [bundle_of(job.paths, job.record) for job in view.jobs if job.record and job.outcome.state is JobState.SUCCEEDED]
        file_digests.remember(paths.verified_bundles, paths.root, proven)
        if not paths.is_phase_f:  # solvers leave no checkpoints
            checkpoint_index.write_index(paths, view.study.design.study, [job.job for job in view.jobs])
    return view


def epochs_of(view: StudyView, job: JobView) -> int | None:
    """How many epochs a job's training has; None of a solver, which alone knows."""
    return None if view.paths.is_phase_f else view.study.of(job.job).design.training.total_epochs


def _entry(paths: StudyPaths, job: JobView) -> dict[str, Any]:
    return job_entry(paths, job.job, job.spec, job.record, job.outcome, job.submission, job.attempts)


@contextmanager
def _one_collector(paths: StudyPaths) -> Iterator[None]:
    """Collectors write after one another, so that an older look never overwrites a newer one."""
    if not paths.root.is_dir():
        yield  # what is missing is said by who reads it
        return
    with locked(paths.collect_lock):
        yield


def _created_utc(paths: StudyPaths) -> str | None:
    try:
        created: str = read_json(paths.manifest)["created_utc"]
    except (StudyDirectoryError, KeyError, TypeError):
        return None  # the manifest is derived from the rest: a damaged one is simply written anew
    return created


@dataclass(frozen=True)
class _KeptJob:
    """What the study directory alone says of a job."""

    job: TrainingJob
    paths: JobPaths
    spec: JobSpec | None
    damage: str
    """What is wrong with job.json."""
    record: AttemptRecord | DamagedRecord | None
    attempts: int
    has_succeeded: bool


def _read_job(paths: StudyPaths, job: TrainingJob) -> _KeptJob:
    own = paths.job(job)
    numbers = own.attempt_numbers()
    try:
        spec = read_record(own.spec, JobSpec) if own.spec.exists() else None
    except StudyDirectoryError as error:
        return _KeptJob(job, own, None, str(error), None, len(numbers), has_succeeded=False)
    success = proven_success(own, spec.config_sha256, numbers) if spec else None
    record = success or (read_attempt(own.result(numbers[-1]), numbers[-1]) if numbers else None)
    return _KeptJob(job, own, spec, "", record, len(numbers), has_succeeded=success is not None)


def _look_at_job(
    kept: _KeptJob, facts: ExecutorFacts, skipped: list[dict[str, Any]], cancelled: Mapping[tuple[str, int], Cancelled]
) -> JobView:
    job_id = kept.job.job_id
    submission, fact = facts.newest.get(job_id), facts.facts.get(job_id)
    cancel = None if submission is None else cancelled.get((job_id, submission.number))
    by_whom = cancel.by_whom if cancel else ""
    readable = kept.record if isinstance(kept.record, AttemptRecord) else None
    if kept.damage:
        outcome = Outcome(JobState.UNKNOWN, kept.damage)
    else:
        outcome = _skip(kept.job, skipped) or judge(
            _witnesses(kept, submission, facts, "" if cancel and cancel.had_ended else by_whom)
        )
    own_node = (readable.scheduler.node or "") if readable and not _is_earlier(readable, submission) else ""
    node = (fact.node if fact else "") or own_node
    return JobView(
        job=kept.job,
        paths=kept.paths,
        spec=kept.spec,
        record=readable,
        attempts=kept.attempts,
        submission=submission,
        outcome=outcome,
        node=node,
        held_task=fact.held_task if fact else "",
        cancelled=by_whom,
        queue=fact.queue if fact else None,
    )


def _is_earlier(record: AttemptRecord, submission: Submission | None) -> bool:
    return submission is not None and is_earlier(record, submission.number)


def _skip(job: TrainingJob, skipped: list[dict[str, Any]]) -> Outcome | None:
    for view in skipped:
        if skipped_condition(view) == job.data:
            return Outcome(JobState.SKIPPED, view["reason"])
    return None


def _witnesses(kept: _KeptJob, submission: Submission | None, facts: ExecutorFacts, cancelled: str) -> Witnesses:
    record = kept.record if isinstance(kept.record, AttemptRecord) and kept.record.state == "succeeded" else None
    fact = facts.facts.get(kept.job.job_id)
    ended_badly = fact is not None and fact.state.is_bad and record is None
    return Witnesses(
        record=kept.record,
        attempts=kept.attempts,
        config_sha256=kept.spec.config_sha256 if kept.spec else None,
        bundle_sha256=bundle_digest(kept.paths, record) if record else None,
        submitted=submission is not None,
        executor=fact,
        newest_submission=submission.number if submission is not None else None,
        unheard="; ".join(facts.problems) if kept.job.job_id in facts.unheard else "",
        log=log_evidence(submission, kept.job.job_id) if ended_badly else NO_EVIDENCE,
        cancelled=cancelled,
    )
