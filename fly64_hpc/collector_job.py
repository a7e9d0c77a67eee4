"""The collector job: after the arrays of a submission, writes the manifest, and submits again what a retry may save."""

import os

from fly64_hpc.collector import StudyView, collect
from fly64_hpc.datasets import Say
from fly64_hpc.errors import RefusedError, SchedulerError
from fly64_hpc.handing_over import Submitter
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.job_record import read_record
from fly64_hpc.retrying import decisions, retry_round
from fly64_hpc.slurm.calls import SlurmCalls, submit_environment
from fly64_hpc.submissions import Submission, submitting
from fly64_hpc.watching import Pause, summary_line

COME_AGAIN_S = 60
TRIES = 20
PATIENCE_S = 600.0
"""So long a collector job waits for room in Slurm's queue before it tries anew, so that others get the submit lock."""
MOST_PARTS = 10_000
"""A submission whose jobs are requeued without end is left to people."""


def run_collector_job(paths: StudyPaths, number: int, index: int, say: Say) -> None:
    """As part `index` of a submission: collect, carry out retries, and come again where jobs of it are at work still."""
    calls = SlurmCalls(environment=submit_environment(os.environ))
    pause = Pause()
    for tries_left in reversed(range(TRIES)):
        try:
            with submitting(paths, say) as lock:
                _collect_and_retry(Submitter(paths, lock, calls, say, patience_s=PATIENCE_S), number, index)
            break
        except RefusedError as error:
            say(f"the retries are refused: {error.message}")
            break
        except SchedulerError as error:
            if not tries_left:
                raise
            say(f"{error.message} Waiting")
            pause.wait()
    say(summary_line(collect(paths, calls)))
    say(calls.summary())


def _collect_and_retry(submitter: Submitter, number: int, index: int) -> None:
    paths, say = submitter.paths, submitter.say
    submitter.adopt()
    view = collect(paths, submitter.calls)
    if view.unheard:
        raise SchedulerError(f"Slurm does not answer: {'; '.join(view.problems)}.")
    submitter.release(view.held_tasks)
    chosen = decisions(view, submission=number)
    for decision in chosen:
        say(str(decision))
    own = read_record(paths.submission(number), Submission)
    if (at_work := _parts_at_work(view, own)) and _may_come_again(own, index):
        say(f"{len(at_work)} arrays of this submission are at work still; another collector job comes after them")
        submitter.come_again(own, at_work, COME_AGAIN_S)
    retry_round(submitter, view, chosen)


def _parts_at_work(view: StudyView, submission: Submission) -> list[int]:
    """The arrays of a submission that hold a job at work: a requeued job may outlive what its collector job waited for."""
    live = {job.job.job_id for job in view.jobs if job.outcome.is_live and job.submission == submission}
    arrays = [(index, part) for index, part in enumerate(submission.parts) if part.kind == "train" and part.state != "refused"]
    return [index for index, part in arrays if live & set(part.jobs)]


def _may_come_again(submission: Submission, index: int) -> bool:
    """Unless this one was killed after it had handed over its successor, or there were too many."""
    later = [part for part in submission.parts[index + 1 :] if part.kind == "collect"]
    return not later and len(submission.parts) < MOST_PARTS
