"""Handing jobs to an executor: the intent is on disk before anybody is asked, the answer after."""

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fly64_hpc.datasets import Say
from fly64_hpc.errors import RefusedError
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.resources import Resources
from fly64_hpc.slurm.calls import SlurmCalls
from fly64_hpc.submissions import Submission, read_submissions, read_supervisor

SUPERVISOR_START_S = 60.0

JobRequest = tuple[str, Resources]
"""A job id and what the job asks of the batch system."""


@dataclass(frozen=True)
class Submitter:
    """Who submits: holds the study's submit lock."""

    paths: StudyPaths
    lock: int
    calls: SlurmCalls
    say: Say
    patience_s: float = math.inf
    """How long to wait for room in Slurm's queue."""

    def adopt(self) -> None:
        """Finish what an earlier submitter to Slurm was killed in: find what Slurm has by name, hand over the rest.

        Raises
        ------
        SchedulerError
            Slurm does not answer.
        """
        for submission in read_submissions(self.paths):
            if submission.executor == "slurm" and submission.state == "intended":
                left_by = f"process {submission.submitter.pid} on {submission.submitter.host}"
                self.say(f"submission {submission.number} was left unfinished by {left_by}; going on with it")
                try:
                    self._slurm(submission, is_adopted=True)
                except RefusedError as error:
                    self.say(f"submission {submission.number} is given up: {error.message}")

    def to_slurm(self, submission: Submission, requests: Sequence[JobRequest], *, makes_data: bool) -> Submission:
        """Hand a new submission to Slurm; it is returned as it then stands.

        Raises
        ------
        RefusedError
            sbatch refused; nothing was submitted.
        SchedulerError
            sbatch left open whether it took a part, or does not answer; the next submit goes on with it.
        """
        from fly64_hpc.executors.slurm import with_parts  # imports submitit

        planned = with_parts(submission, requests, self.calls, makes_data=makes_data)
        planned.write(self.paths.submission(planned.number))
        submitted = self._slurm(planned, is_adopted=False)
        self.say(_slurm_words(submitted))
        return submitted

    def release(self, held_tasks: Iterable[str]) -> None:
        """Let Slurm start what it holds because a launch of its own failed; whether it did start is the attempts' to tell."""
        for task in held_tasks:
            answer = self.calls("scontrol", "release", task)
            outcome = "released" if answer.is_good else f"cannot be released: {answer.words}"
            self.say(f"{task}, which Slurm held after its launch failed, is {outcome}")

    def come_again(self, submission: Submission, at_work: Sequence[int], delay_s: int) -> None:
        """Hand over another collector job of a submission, for when the arrays at work have ended."""
        from fly64_hpc.executors.slurm import with_collector

        longer = with_collector(submission, at_work, delay_s)
        longer.write(self.paths.submission(longer.number))
        self._slurm(longer, is_adopted=True)

    def _slurm(self, submission: Submission, *, is_adopted: bool) -> Submission:
        from fly64_hpc.executors.slurm import SlurmHandOver

        hand_over = SlurmHandOver(self.paths, submission, self.calls, self.lock, self.say, self.patience_s)
        return hand_over.run(is_adopted=is_adopted)


def _slurm_words(submission: Submission) -> str:
    parts = [part for part in submission.parts if part.state == "submitted"]
    ids = {kind: [str(part.scheduler_job_id) for part in parts if part.kind == kind] for kind in ("data", "train", "collect")}
    arrays = f"{'array' if len(ids['train']) == 1 else 'arrays'} {', '.join(ids['train'])}"
    data = f", after dataset job {ids['data'][0]}" if ids["data"] else ""
    return (
        f"submitted {len(submission.jobs)} jobs to Slurm as {arrays}{data}; collector job {', '.join(ids['collect'])}; "
        f"their names begin with {submission.tag}"
    )


def to_this_machine(paths: StudyPaths, submission: Submission) -> str:
    """Start the supervisor of a recorded submission; a sentence about it is returned.

    Raises
    ------
    RefusedError
        It did not start.
    """
    from fly64_hpc.executors.local import start_supervisor

    supervisor = start_supervisor(paths.root, submission)
    deadline = time.monotonic() + SUPERVISOR_START_S
    while read_supervisor(paths, submission.number) is None:
        if supervisor.poll() is not None or time.monotonic() > deadline:
            supervisor.kill()
            submission.model_copy(update={"state": "refused"}).write(paths.submission(submission.number))
            raise RefusedError("The local supervisor did not start.", hint=f"Read {submission.scratch}/supervisor.log.")
        time.sleep(0.05)
    _note_answer(paths, submission, str(supervisor.pid))
    return f"started supervisor {supervisor.pid} for {len(submission.jobs)} jobs; scratch in {submission.scratch}"


def to_this_process(paths: StudyPaths, submission: Submission) -> str:
    """Run the jobs of a recorded submission here, one after the other; a sentence about it is returned."""
    from fly64_hpc.executors.debug import run_here

    _note_answer(paths, submission, None)
    run_here(paths.root, submission)
    return f"ran {len(submission.jobs)} jobs in this process"


def study_scratch(paths: StudyPaths, study: str, study_sha256: str) -> Path:
    """Where the scratch of a study's submissions lies; made where it is missing."""
    scratch = paths.scratch(study, study_sha256)
    scratch.mkdir(parents=True, exist_ok=True)
    return scratch


def _note_answer(paths: StudyPaths, submission: Submission, scheduler_job_id: str | None) -> None:
    answered = submission.model_copy(update={"state": "submitted", "scheduler_job_id": scheduler_job_id})
    answered.write(paths.submission(submission.number))
