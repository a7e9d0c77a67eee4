"""The collector: gathers every job's witnesses, judges them, and writes manifest and checkpoint index.

Everything is read from the study directory and the executors each time, so it may be killed at any moment and run from
any shell; the two files are replaced as a whole.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from fly64_hpc import checkpoint_index, executor_facts
from fly64_hpc.cancellations import Cancelled, cancelled_by_job, read_cancellations
from fly64_hpc.errors import EXIT_JOB_FAILED, EXIT_OK, StudyDirectoryError
from fly64_hpc.executor_facts import ExecutorFacts, log_evidence
from fly64_hpc.file_lock import locked
from fly64_hpc.job_matrix import TrainingJob
from fly64_hpc.job_on_disk import JobOnDisk, read_job
from fly64_hpc.job_paths import JobPaths, StudyPaths
from fly64_hpc.job_record import (
    AttemptRecord,
    JobSpec,
    bundle_digest,
    read_json,
    read_skipped_views,
    skipped_condition,
)
from fly64_hpc.job_state import JobState, QueueFacts
from fly64_hpc.known_jobs import KnownJobs
from fly64_hpc.manifest import job_entry, manifest
from fly64_hpc.outcome import Outcome, Witnesses, is_earlier, judge, success
from fly64_hpc.slurm.calls import SlurmCalls
from fly64_hpc.slurm.task_logs import NO_EVIDENCE
from fly64_hpc.study_directory import StoredStudy, read_study
from fly64_hpc.submissions import Submission, read_submissions
from ptycho_torch.config import write_json


class JobView(NamedTuple):
    """One job with all that is known of it."""

    files: JobOnDisk
    """What its files say."""
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
    def job(self) -> TrainingJob:
        """Its cell of the matrix."""
        return self.files.job

    @property
    def paths(self) -> JobPaths:
        """Where its files lie."""
        return self.files.paths

    @property
    def spec(self) -> JobSpec | None:
        """What it is, where its job.json is readable."""
        return self.files.spec

    @property
    def record(self) -> AttemptRecord | None:
        """The newest attempt's record, where it is readable."""
        record = self.files.record
        return record if isinstance(record, AttemptRecord) else None

    @property
    def attempts(self) -> int:
        """Attempts begun."""
        return self.files.attempts

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


def look(paths: StudyPaths, calls: SlurmCalls | None = None, known: KnownJobs | None = None) -> StudyView:
    """Gather and judge; writes nothing. Slurm is asked once, and not at all about what has proven its success.

    Parameters
    ----------
    known
        What was found of jobs before; none of them where every file is to be read.

    Raises
    ------
    StudyDirectoryError
        There is no study in that directory.
    """
    study = read_study(paths)
    submissions = tuple(read_submissions(paths))
    roots = zip(study.jobs, paths.job_roots(study.jobs), strict=True)
    files = [read_job(job, root, known or KnownJobs()) for job, root in roots]
    proven = frozenset(one.job.job_id for one in files if one.success is not None)
    facts = executor_facts.gather(paths, submissions, proven, calls)
    skipped = read_skipped_views(paths.skip_summary)
    cancelled = cancelled_by_job(read_cancellations(paths))
    jobs = tuple(_look_at_job(one, facts, skipped, cancelled) for one in files)
    unheard = frozenset(job.job.job_id for job in jobs if job.job.job_id in facts.unheard and job.outcome.is_live)
    return StudyView(paths, study, jobs, submissions, skipped, tuple(facts.problems), unheard, facts.open_parts)


def look_again(paths: StudyPaths, calls: SlurmCalls | None, known: KnownJobs) -> StudyView:
    """Look, and note what was found: the next look need not read the same again."""
    looked_ns = time.time_ns()
    view = look(paths, calls, known)
    for job in view.jobs:
        if not job.files.is_known:
            known.note(job.job.job_id, job.files.root, job.files.to_keep(), looked_ns)
    return view


def collect(paths: StudyPaths, calls: SlurmCalls | None = None, known: KnownJobs | None = None) -> StudyView:
    """Look, and write manifest and checkpoint index; see `look`."""
    known = known or KnownJobs()
    with _one_collector(paths):
        view = look_again(paths, calls, known)
        entries = [_entry(paths, job) for job in view.jobs]
        write_json(
            paths.manifest, manifest(paths, view.study, entries, view.skipped_views, view.submissions, _created_utc(paths))
        )
        known.write(paths.known_jobs)
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


def _look_at_job(
    files: JobOnDisk, facts: ExecutorFacts, skipped: list[dict[str, Any]], cancelled: Mapping[tuple[str, int], Cancelled]
) -> JobView:
    job_id = files.job.job_id
    submission, fact = facts.newest.get(job_id), facts.facts.get(job_id)
    cancel = None if submission is None else cancelled.get((job_id, submission.number))
    by_whom = cancel.by_whom if cancel else ""
    node = (fact.node if fact else "") or _own_node(files, submission)
    return JobView(
        files=files,
        submission=submission,
        outcome=_outcome(files, skipped, submission, facts, "" if cancel and cancel.had_ended else by_whom),
        node=node,
        held_task=fact.held_task if fact else "",
        cancelled=by_whom,
        queue=fact.queue if fact else None,
    )


def _outcome(
    files: JobOnDisk, skipped: list[dict[str, Any]], submission: Submission | None, facts: ExecutorFacts, cancelled: str
) -> Outcome:
    if files.damage:
        return Outcome(JobState.UNKNOWN, files.damage)
    if (skip := _skip(files.job, skipped)) is not None:
        return skip
    if files.success is not None:
        return success(files.success.attempt)
    return judge(_witnesses(files, submission, facts, cancelled))


def _own_node(files: JobOnDisk, submission: Submission | None) -> str:
    """Where the newest attempt says that it ran; empty where it is of an earlier submission."""
    if files.success is not None:
        attempt_of, node = files.success.submission, files.success.node
    elif isinstance(files.record, AttemptRecord):
        attempt_of, node = files.record.submission, files.record.scheduler.node
    else:
        return ""
    return "" if node is None or (submission is not None and is_earlier(attempt_of, submission.number)) else node


def _skip(job: TrainingJob, skipped: list[dict[str, Any]]) -> Outcome | None:
    for view in skipped:
        if skipped_condition(view) == job.data:
            return Outcome(JobState.SKIPPED, view["reason"])
    return None


def _witnesses(files: JobOnDisk, submission: Submission | None, facts: ExecutorFacts, cancelled: str) -> Witnesses:
    job_id = files.job.job_id
    record = files.record if isinstance(files.record, AttemptRecord) and files.record.state == "succeeded" else None
    fact = facts.facts.get(job_id)
    ended_badly = fact is not None and fact.state.is_bad and record is None
    return Witnesses(
        record=files.record,
        attempts=files.attempts,
        config_sha256=files.config_sha256,
        bundle_sha256=bundle_digest(files.paths, record) if record else None,
        submitted=submission is not None,
        executor=fact,
        newest_submission=submission.number if submission is not None else None,
        unheard="; ".join(facts.problems) if job_id in facts.unheard else "",
        log=log_evidence(submission, job_id) if ended_badly and not _tells_its_end(files, submission) else NO_EVIDENCE,
        cancelled=cancelled,
    )


def _tells_its_end(files: JobOnDisk, submission: Submission | None) -> bool:
    """Whether the newest attempt, of this configuration and submission, says itself how it ended: then no log is asked."""
    record = files.record
    if not isinstance(record, AttemptRecord) or record.state not in ("failed", "interrupted"):
        return False
    is_history = submission is not None and is_earlier(record.submission, submission.number)
    return record.config_sha256 == files.config_sha256 and not is_history
