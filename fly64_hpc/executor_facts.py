"""What the executors say of a study's jobs now, joined to job ids."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.job_state import ExecutorFact, JobState
from fly64_hpc.slurm_states import query_slurm
from fly64_hpc.submissions import Submission, SupervisorRecord, read_supervisor


@dataclass(frozen=True)
class ExecutorFacts:
    """For each job that was ever submitted: its newest submission, and what that one's executor says."""

    newest: Mapping[str, Submission]
    facts: Mapping[str, ExecutorFact]
    problems: Sequence[str]


def gather(paths: StudyPaths, submissions: Sequence[Submission]) -> ExecutorFacts:
    """Ask every executor once."""
    newest = {job_id: submission for submission in submissions for job_id in submission.jobs}
    live = {submission.number: submission for submission in newest.values()}
    facts: dict[str, ExecutorFact] = {}
    arrays = [submission for submission in live.values() if submission.executor == "slurm" and submission.scheduler_job_id]
    tasks, problems = query_slurm([str(submission.scheduler_job_id) for submission in arrays])
    for submission in arrays:
        for index, job_id in enumerate(submission.jobs):
            if newest[job_id] is submission and (str(submission.scheduler_job_id), index) in tasks:
                facts[job_id] = tasks[str(submission.scheduler_job_id), index]
    for submission in live.values():
        if submission.executor != "slurm" or submission.scheduler_job_id is None:
            here = _here_facts(paths, submission)
            facts |= {job_id: fact for job_id, fact in here.items() if newest[job_id] is submission}
    return ExecutorFacts(newest, facts, problems)


def _here_facts(paths: StudyPaths, submission: Submission) -> dict[str, ExecutorFact]:
    """Facts of jobs that this machine runs, or that were never handed over."""
    supervisor = read_supervisor(paths, submission.number)
    if supervisor is not None:
        return {job_id: _supervisor_fact(submission, supervisor, job_id) for job_id in submission.jobs}
    return dict.fromkeys(submission.jobs, _submitter_fact(submission))


def _submitter_fact(submission: Submission) -> ExecutorFact:
    pid = submission.submitter.pid
    if submission.submitter.is_alive():
        return ExecutorFact(JobState.PENDING, f"process {pid} is submitting it or about to run it")
    if submission.executor == "slurm":
        return ExecutorFact(
            JobState.UNKNOWN, f"process {pid} ended before it noted sbatch's answer; look for {submission.tag} in squeue"
        )
    return ExecutorFact(JobState.PENDING, f"process {pid} ended before it started this job; submit again", is_live=False)


def _supervisor_fact(submission: Submission, supervisor: SupervisorRecord, job_id: str) -> ExecutorFact:
    alive = supervisor.process.is_alive()
    if job_id in supervisor.ended:
        return ExecutorFact(JobState.FAILED, f"its process ended; its output is in {submission.scratch}")
    if job_id in supervisor.started:
        state = JobState.RUNNING if alive else JobState.UNKNOWN
        return ExecutorFact(state, f"started by supervisor {supervisor.process.pid}")
    if alive:
        return ExecutorFact(JobState.PENDING, "waits for a free slot on this machine")
    return ExecutorFact(JobState.PENDING, "the supervisor ended before it started this job; submit again", is_live=False)
