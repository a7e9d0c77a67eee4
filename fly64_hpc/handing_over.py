"""Handing a submission to an executor: the intent is on disk before anybody is asked, the answer after."""

import time
from collections.abc import Sequence

from fly64_hpc.errors import RefusedError
from fly64_hpc.job_matrix import JobFilter
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.process_identity import this_process
from fly64_hpc.study_loading import LoadedStudy
from fly64_hpc.submissions import ExecutorName, Submission, new_submission, read_supervisor

SUPERVISOR_START_S = 60.0


def record_intent(
    paths: StudyPaths, loaded: LoadedStudy, jobs: Sequence[str], selection: JobFilter, executor: ExecutorName
) -> Submission:
    """Record that some jobs will be handed to an executor; nobody is asked yet."""
    scratch = paths.scratch(loaded.design.study, loaded.sha256)
    scratch.mkdir(parents=True, exist_ok=True)
    return new_submission(
        paths,
        executor=executor,
        jobs=jobs,
        filters=selection.as_dict(),
        resources=loaded.design.resources.model_dump(mode="json"),
        scratch=scratch,
        submitter=this_process(),
    )


def hand_over(paths: StudyPaths, loaded: LoadedStudy, submission: Submission) -> str:
    """Hand a recorded submission to its executor and record the answer; a sentence about it is returned.

    The debug executor returns when the jobs have ended; the others return at once.

    Raises
    ------
    SchedulerError
        The executor refused, or left open whether it took the submission.
    """
    hand = {"slurm": _to_slurm, "local": _to_this_machine, "debug": _to_this_process}[submission.executor]
    return hand(paths, loaded, submission)


def _to_slurm(paths: StudyPaths, loaded: LoadedStudy, submission: Submission) -> str:
    from fly64_hpc.executors.slurm import submit_array  # imports submitit

    try:
        scheduler_job_id = submit_array(paths.root, submission, loaded.design.resources)
    except RefusedError:
        paths.submission(submission.number).unlink()
        raise
    _note_answer(paths, submission, scheduler_job_id)
    return f"submitted {len(submission.jobs)} jobs to Slurm as array {scheduler_job_id}, named {submission.tag}"


def _to_this_machine(paths: StudyPaths, loaded: LoadedStudy, submission: Submission) -> str:
    from fly64_hpc.executors.local import start_supervisor

    supervisor = start_supervisor(paths.root, submission)
    deadline = time.monotonic() + SUPERVISOR_START_S
    while read_supervisor(paths, submission.number) is None:
        if supervisor.poll() is not None or time.monotonic() > deadline:
            supervisor.kill()
            paths.submission(submission.number).unlink()
            raise RefusedError("The local supervisor did not start.", hint=f"Read {submission.scratch}/supervisor.log.")
        time.sleep(0.05)
    _note_answer(paths, submission, str(supervisor.pid))
    return f"started supervisor {supervisor.pid} for {len(submission.jobs)} jobs; scratch in {submission.scratch}"


def _to_this_process(paths: StudyPaths, loaded: LoadedStudy, submission: Submission) -> str:
    from fly64_hpc.executors.debug import run_here

    _note_answer(paths, submission, None)
    run_here(paths.root, submission)
    return f"ran {len(submission.jobs)} jobs in this process"


def _note_answer(paths: StudyPaths, submission: Submission, scheduler_job_id: str | None) -> None:
    answered = submission.model_copy(update={"state": "submitted", "scheduler_job_id": scheduler_job_id})
    answered.write(paths.submission(submission.number))
