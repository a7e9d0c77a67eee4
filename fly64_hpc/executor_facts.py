"""What the executors say of a study's jobs now, joined to job ids."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.job_record import now_utc, seconds_between
from fly64_hpc.job_state import ExecutorFact, JobState
from fly64_hpc.process_identity import ProcessIdentity
from fly64_hpc.slurm.calls import SlurmCalls
from fly64_hpc.slurm.facts import LAG_S, task_fact
from fly64_hpc.slurm.states import SlurmReport, ask
from fly64_hpc.slurm.task_logs import NO_EVIDENCE, LogEvidence, read_log, task_log
from fly64_hpc.submissions import (
    Part,
    Submission,
    SupervisorRecord,
    read_dataset_job,
    read_supervisor,
    somebody_submits,
)


@dataclass(frozen=True)
class ExecutorFacts:
    """For each job that was ever submitted: its newest submission, and what that one's executor says."""

    newest: Mapping[str, Submission]
    facts: Mapping[str, ExecutorFact]
    unheard: frozenset[str] = frozenset()
    """Jobs of which nothing is known because the scheduler does not answer."""
    open_parts: tuple[str, ...] = ()
    """Dataset and collector jobs that wait or run."""
    problems: Sequence[str] = ()


def newest_submissions(submissions: Sequence[Submission]) -> dict[str, Submission]:
    """The newest submission of each job that was ever submitted and not refused."""
    return {job_id: submission for submission in submissions if submission.state != "refused" for job_id in submission.jobs}


def gather(
    paths: StudyPaths, submissions: Sequence[Submission], settled: frozenset[str] = frozenset(), calls: SlurmCalls | None = None
) -> ExecutorFacts:
    """Ask every executor once; `settled` jobs have proven success, and no more is told of one than that Slurm has it still."""
    newest = newest_submissions(submissions)
    asked = {
        submission.number: submission
        for job_id, submission in newest.items()
        if job_id not in settled or submission is submissions[-1]
    }
    on_slurm = [submission for submission in asked.values() if submission.executor == "slurm"]
    slurm = _Slurm(paths, on_slurm, calls or SlurmCalls())
    problems: list[str] = list(slurm.report.problems)
    facts: dict[str, ExecutorFact] = {}
    for submission in asked.values():
        own = [job_id for job_id in submission.jobs if newest[job_id] is submission]
        if submission.executor == "slurm":
            queued = slurm.queued(submission)
            facts |= slurm.facts(submission, [one for one in own if one not in settled or one in queued])
        else:
            facts |= _here_facts(paths, submission, [one for one in own if one not in settled])
    named = {job_id for submission in on_slurm for job_id in submission.jobs if newest[job_id] is submission}
    mute = named - settled - facts.keys()
    unheard = frozenset() if slurm.report.squeue_answered else frozenset(mute)
    return ExecutorFacts(newest, facts, unheard, tuple(slurm.open_parts()), problems)


def log_evidence(submission: Submission | None, job_id: str) -> LogEvidence:
    """What the log of a job's task says, where it ran on Slurm."""
    found = submission.task(job_id) if submission is not None else None
    if submission is None or found is None or found[0].scheduler_job_id is None:
        return NO_EVIDENCE
    part, index = found
    return read_log(task_log(submission.scratch, str(part.scheduler_job_id), index))


@dataclass(frozen=True)
class _Slurm:
    """The submissions to Slurm that matter, and its one answer about all of them."""

    paths: StudyPaths
    submissions: Sequence[Submission]
    calls: SlurmCalls
    now_utc: str = field(default_factory=now_utc)
    _ages_s: dict[int, float] = field(default_factory=dict)
    """By submission."""
    _dataset_failures: dict[int, str] = field(default_factory=dict)
    """By submission: why its dataset job failed, or nothing."""

    @cached_property
    def report(self) -> SlurmReport:
        parts = [part for submission in self.submissions for part in submission.parts if part.state != "refused"]
        ids = [part.scheduler_job_id for part in parts if part.scheduler_job_id is not None]
        since_utc = min((submission.created_utc for submission in self.submissions), default=self.now_utc)
        return ask([part.tag for part in parts], since_utc, self.calls, ids if len(ids) == len(parts) else ())

    @cached_property
    def submitter_is_here(self) -> bool:
        return somebody_submits(self.paths)

    def queued(self, submission: Submission) -> set[str]:
        """The jobs that squeue names, which it may even where one has succeeded: Slurm may hold its next start."""
        jobs = {part.tag: part.jobs for part in submission.parts if part.kind == "train"}
        tasks = [key for key, seen in self.report.tasks.items() if seen.queue is not None and key[0] in jobs]
        return {jobs[tag][index] for tag, index in tasks if index is not None and index < len(jobs[tag])}

    def facts(self, submission: Submission, jobs: Sequence[str]) -> dict[str, ExecutorFact]:
        found = {job_id: self._job_fact(submission, job_id) for job_id in jobs}
        return {job_id: fact for job_id, fact in found.items() if fact is not None}

    def open_parts(self) -> list[str]:
        parts = [(submission, part) for submission in self.submissions for part in submission.parts if part.kind != "train"]
        return [part.tag for submission, part in parts if (fact := self._part_fact(submission, part)) and fact.state.is_open]

    def _job_fact(self, submission: Submission, job_id: str) -> ExecutorFact | None:
        task = submission.task(job_id)
        if task is None:
            return self._not_handed_over(submission)
        part, index = task
        fact = task_fact(self.report, part.tag, index, self._age_s(submission))
        if fact is None and part.state == "intended":
            return self._not_handed_over(submission)
        if fact is None or fact.state in (JobState.CANCELLED, JobState.PENDING):
            return self._after_dataset_job(submission, part, fact) or fact or self._silent(submission)
        return fact

    def _not_handed_over(self, submission: Submission) -> ExecutorFact | None:
        """Slurm does not name it, and nobody has noted that Slurm took it."""
        if self.submitter_is_here:
            return ExecutorFact(JobState.PENDING, "is being submitted")
        if not self.report.squeue_answered:
            return None
        submitter = submission.submitter
        words = f"process {submitter.pid} on {submitter.host} ended before it handed this job over; submit again"
        return ExecutorFact(JobState.PENDING, words, is_live=False)

    def _silent(self, submission: Submission) -> ExecutorFact | None:
        """Neither of the two names a job that Slurm took: it is new, or Slurm has lost it."""
        if not self.report.squeue_answered:
            return None
        if self._age_s(submission) < LAG_S:
            return ExecutorFact(JobState.PENDING, "was submitted a moment ago")
        if not self.report.sacct_answered:
            return None
        return ExecutorFact(JobState.UNKNOWN, "neither squeue nor sacct knows it", is_live=False, is_lost=True)

    def _after_dataset_job(self, submission: Submission, part: Part, fact: ExecutorFact | None) -> ExecutorFact | None:
        """A job whose dataset job has failed is cancelled, with the cause."""
        failed = self._dataset_failure(submission) if submission.standing(part.after_ok) else ""
        if failed and not (fact is not None and fact.state.is_open and "Dependency" not in fact.words):
            return ExecutorFact(JobState.CANCELLED, f"cancelled, because the dataset job failed: {failed}", is_live=False)
        return None

    def _dataset_failure(self, submission: Submission) -> str:
        if submission.number not in self._dataset_failures:
            (data,) = (part for part in submission.parts if part.kind == "data")
            self._dataset_failures[submission.number] = self._why_failed(submission, data)
        return self._dataset_failures[submission.number]

    def _why_failed(self, submission: Submission, data: Part) -> str:
        """By its own record, or, where that has no end, by what Slurm says of it; nothing where it has not failed."""
        record, made = read_dataset_job(self.paths, submission.number), self._part_fact(submission, data)
        if record is not None and record.state == "failed":
            return record.error
        has_succeeded = record is not None and record.state == "succeeded"
        return f"it ended without a record ({made.words})" if made is not None and made.state.is_bad and not has_succeeded else ""

    def _part_fact(self, submission: Submission, part: Part) -> ExecutorFact | None:
        return task_fact(self.report, part.tag, None, self._age_s(submission))

    def _age_s(self, submission: Submission) -> float:
        if submission.number not in self._ages_s:
            self._ages_s[submission.number] = seconds_between(submission.created_utc, self.now_utc)
        return self._ages_s[submission.number]


def _here_facts(paths: StudyPaths, submission: Submission, jobs: Sequence[str]) -> dict[str, ExecutorFact]:
    """Facts of jobs that this machine runs, or that were never handed over."""
    supervisor = read_supervisor(paths, submission.number)
    if supervisor is not None:
        return {job_id: _supervisor_fact(submission, supervisor, job_id) for job_id in jobs}
    return dict.fromkeys(jobs, _submitter_fact(submission))


def _submitter_fact(submission: Submission) -> ExecutorFact:
    pid, alive = submission.submitter.pid, submission.submitter.is_alive()
    if alive is not False:
        return ExecutorFact(JobState.PENDING, f"process {pid} is submitting it or about to run it{_unseen(submission.submitter)}")
    return ExecutorFact(JobState.PENDING, f"process {pid} ended before it started this job; submit again", is_live=False)


def _unseen(process: ProcessIdentity) -> str:
    """What must be said of a process of another machine, which may be alive for all that is known here."""
    return f", on {process.host} as far as this machine can know" if process.is_alive() is None else ""


def _supervisor_fact(submission: Submission, supervisor: SupervisorRecord, job_id: str) -> ExecutorFact:
    alive = supervisor.process.is_alive()
    if job_id in supervisor.ended and job_id not in supervisor.started:
        return ExecutorFact(JobState.CANCELLED, "it was not started", is_live=False)
    if job_id in supervisor.ended:
        return ExecutorFact(JobState.FAILED, f"its process ended; its output is in {submission.scratch}")
    if job_id in supervisor.started:
        state = JobState.RUNNING if alive is not False else JobState.UNKNOWN
        return ExecutorFact(state, f"started by supervisor {supervisor.process.pid}{_unseen(supervisor.process)}")
    if alive is not False:
        return ExecutorFact(JobState.PENDING, f"waits for a free slot on its machine{_unseen(supervisor.process)}")
    return ExecutorFact(JobState.PENDING, "the supervisor ended before it started this job; submit again", is_live=False)
