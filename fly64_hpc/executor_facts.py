"""What the executors say of a study's jobs now, joined to job ids."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.job_state import ExecutorFact, JobState
from fly64_hpc.slurm_states import find_array, query_slurm
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
    problems: list[str] = []
    arrays = {number: array for number, submission in live.items() if (array := _array_of(submission, problems))}
    tasks, more_problems = query_slurm(list(arrays.values()))
    facts: dict[str, ExecutorFact] = {}
    for number, submission in live.items():
        found: dict[str, ExecutorFact | None] = {}
        if number in arrays:
            found |= {job_id: tasks.get((arrays[number], index)) for index, job_id in enumerate(submission.jobs)}
        else:
            found |= _here_facts(paths, submission, problems)
        facts |= {job_id: fact for job_id, fact in found.items() if fact is not None and newest[job_id] is submission}
    return ExecutorFacts(newest, facts, [*problems, *more_problems])


def _array_of(submission: Submission, problems: list[str]) -> str | None:
    """The Slurm array of a submission: as noted, or, where its submitter died before it could note it, found by name."""
    if submission.executor != "slurm":
        return None
    if submission.scheduler_job_id is not None or submission.submitter.is_alive():
        return submission.scheduler_job_id
    return find_array(submission.tag, problems)


def _here_facts(paths: StudyPaths, submission: Submission, problems: Sequence[str]) -> dict[str, ExecutorFact]:
    """Facts of jobs that this machine runs, or that were never handed over."""
    supervisor = read_supervisor(paths, submission.number)
    if supervisor is not None:
        return {job_id: _supervisor_fact(submission, supervisor, job_id) for job_id in submission.jobs}
    return dict.fromkeys(submission.jobs, _submitter_fact(submission, problems))


def _submitter_fact(submission: Submission, problems: Sequence[str]) -> ExecutorFact:
    pid = submission.submitter.pid
    if submission.submitter.is_alive():
        return ExecutorFact(JobState.PENDING, f"process {pid} is submitting it or about to run it")
    if submission.executor == "slurm" and problems:
        return ExecutorFact(JobState.UNKNOWN, f"process {pid} ended before it noted sbatch's answer, and Slurm does not tell")
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
