"""A round of retries: what is to be tried again by its cause, handed to the executor that had it, with the code that it had."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from fly64_hpc.checkpoint_index import last_step
from fly64_hpc.collector import JobView, StudyView
from fly64_hpc.dataset_job import have_data
from fly64_hpc.errors import RefusedError
from fly64_hpc.handing_over import Submitter, to_this_machine, to_this_process
from fly64_hpc.job_state import JobState
from fly64_hpc.outcome import is_earlier
from fly64_hpc.provenance import SubmissionProvenance, submission_provenance
from fly64_hpc.resources import Resources
from fly64_hpc.retry_policy import Decision, Failure, decide, insist, retries_so_far
from fly64_hpc.submissions import ExecutorName, Submission, new_submission

RETRIABLE = tuple(state for state in JobState if state not in (JobState.RUNNING, JobState.SUCCEEDED, JobState.SKIPPED))
"""The states in which a job may be tried again."""


def decisions(
    view: StudyView, budget: int | None = None, submission: int | None = None, only: Collection[JobState] = ()
) -> list[Decision]:
    """What is to be done about each job that was submitted (last by this submission), is with nobody, and has not succeeded.

    Where states are named, these jobs alone are tried again, each whatever its cause, and within no budget but one that is given.
    """
    asked = [job for job in view.jobs if job.submission is not None and submission in (None, job.submission.number)]
    ended = [job for job in asked if not job.outcome.is_live]
    open_ends = [job for job in ended if job.outcome.state not in (JobState.SUCCEEDED, JobState.SKIPPED)]
    if only:
        failures = [_failure(view, job, budget) for job in open_ends if job.outcome.state in only]
        return [decide(failure) if _is_spent(failure, budget) else insist(failure) for failure in failures]
    return [_decision(view, job, budget) for job in open_ends]


def _is_spent(failure: Failure, budget: int | None) -> bool:
    return budget is not None and failure.retries >= budget


def _decision(view: StudyView, job: JobView, budget: int | None) -> Decision:
    failure = _failure(view, job, budget)
    if job.cancelled and job.outcome.state is not JobState.CANCELLED:
        return Decision(failure.job_id, False, f"{job.cancelled}, that it be not tried again", failure.resources)
    return decide(failure)


def _failure(view: StudyView, job: JobView, budget: int | None) -> Failure:
    resources = _last_resources(job)
    if budget is not None:
        resources = resources.model_copy(update={"retry": resources.retry.model_copy(update={"budget": budget})})
    return Failure(
        job_id=job.job.job_id,
        outcome=job.outcome,
        resources=resources,
        node=job.node,
        made_progress=_made_progress(job),
        retries=retries_so_far(view.submissions, job.job.job_id),
    )


def _last_resources(job: JobView) -> Resources:
    assert job.submission is not None
    task = job.submission.task(job.job.job_id)
    return task[0].resources if task is not None else job.submission.resources


def _made_progress(job: JobView) -> bool:
    """Whether the last attempt got further than it began, by its record or, where it was killed, by its checkpoints."""
    record = job.record
    if record is None or (job.submission is not None and is_earlier(record.submission, job.submission.number)):
        return False
    if record.step is not None and record.first_step is not None:
        return record.step > record.first_step
    earlier = max((last_step(job.paths, number) for number in range(1, record.attempt)), default=0)
    return last_step(job.paths, record.attempt) > earlier


def retry_round(submitter: Submitter, view: StudyView, chosen: Sequence[Decision]) -> None:
    """Hand over what is to be tried again.

    Raises
    ------
    RefusedError
        The executor refused it.
    SchedulerError
        The executor does not answer.
    """
    again = [decision for decision in chosen if decision.again]
    newest = {job.job.job_id: job.submission for job in view.jobs if job.submission is not None}
    alike: dict[tuple[ExecutorName, str | None], list[Decision]] = {}
    for decision in again:
        before = newest[decision.job_id]
        alike.setdefault((before.executor, before.code), []).append(decision)
    for own in alike.values():
        _hand_over(submitter, view, newest[own[0].job_id], own)


def _hand_over(submitter: Submitter, view: StudyView, before: Submission, again: Sequence[Decision]) -> None:
    if before.executor == "slurm":
        _to_slurm(submitter, view, before, again)
        return
    submission = _new_round(submitter, view, before, again)
    submission.write(submitter.paths.submission(submission.number))
    hand = to_this_machine if before.executor == "local" else to_this_process
    submitter.say(hand(submitter.paths, submission))


def _new_round(submitter: Submitter, view: StudyView, before: Submission, again: Sequence[Decision]) -> Submission:
    """A submission of what `before` had submitted, with its code: what is tried again is the same program."""
    jobs = {decision.job_id for decision in again}
    last = max((job.submission for job in view.jobs if job.submission and job.job.job_id in jobs), key=lambda one: one.number)
    return new_submission(
        submitter.paths,
        executor=before.executor,
        jobs=[decision.job_id for decision in again],
        filters=last.filters,
        resources=last.resources,
        scratch=Path(last.scratch).parent,
        origin="retry",
        reasons={decision.job_id: decision.why for decision in again},
        code=before.code,
        provenance=_provenance(submitter, view, before),
    )


def _provenance(submitter: Submitter, view: StudyView, before: Submission) -> SubmissionProvenance:
    """Of this round; but the code is that of `before`."""
    made = submission_provenance(submitter.paths, view.study)
    return made if before.provenance is None else replace(made, code=before.provenance.code)


def _to_slurm(submitter: Submitter, view: StudyView, before: Submission, again: Sequence[Decision]) -> None:
    """Where no node is left once the bad ones are excluded, no more are excluded than the study does itself."""
    try:
        _round_on_slurm(submitter, view, before, again)
    except RefusedError as error:
        exclude = view.study.design.resources.exclude
        if all(decision.resources.exclude == exclude for decision in again):
            raise
        submitter.say(f"{error.message}; trying without excluding nodes")
        anywhere = [replace(decision, resources=decision.resources.model_copy(update={"exclude": exclude})) for decision in again]
        _round_on_slurm(submitter, view, before, anywhere)


def _round_on_slurm(submitter: Submitter, view: StudyView, before: Submission, again: Sequence[Decision]) -> None:
    submission = _new_round(submitter, view, before, again)
    jobs = [job.job for job in view.jobs if job.job.job_id in submission.jobs]
    makes_data = not all(have_data(view.paths, view.study, job, from_outside=True) for job in jobs)
    requests = [(decision.job_id, decision.resources) for decision in again]
    submitter.to_slurm(submission, requests, makes_data=makes_data)
