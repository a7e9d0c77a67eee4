"""The state of a job from its witnesses. Pure: the collector gathers them, this judges.

    the node's record   what the attempt itself wrote
    the bundle          whether the weights are there and have the recorded sha256
    the executor        what Slurm, the supervisor or the process table says
    the log             what the node printed when a process was ended from outside

Success needs the record and the bundle. The executor alone never makes success; silence or a contradiction is `unknown`.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache

from fly64_hpc.job_record import AttemptRecord, DamagedRecord, JobError
from fly64_hpc.job_state import ExecutorFact, JobState
from fly64_hpc.slurm.task_logs import NO_EVIDENCE, LogEvidence

_READ_LOG = "Read the job's log, then submit again."
_SIGKILL = 9


class Cause(StrEnum):
    """Why a job is not (yet) a success: what a retry is decided by."""

    NONE = "none"
    RAISED = "an exception"
    ENVIRONMENT = "a broken environment"
    KILLED = "killed"
    HOST_MEMORY = "host out of memory"
    GPU_MEMORY = "GPU out of memory"
    TIME_LIMIT = "time limit"
    PREEMPTED = "preempted"
    NODE_FAILED = "node failure"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    LOST = "lost by the scheduler"
    BUNDLE = "a damaged bundle"
    SILENCE = "no proof"
    UNSTARTED = "never started"


_CAUSE_OF_ERROR = {
    "MissingTorchError": Cause.ENVIRONMENT,
    "ModuleNotFoundError": Cause.ENVIRONMENT,
    "ImportError": Cause.ENVIRONMENT,
    "OutOfMemoryError": Cause.GPU_MEMORY,
    "MemoryError": Cause.HOST_MEMORY,
    "_ArrayMemoryError": Cause.HOST_MEMORY,
}
_CAUSE_OF_STATE = {
    JobState.TIMED_OUT: Cause.TIME_LIMIT,
    JobState.PREEMPTED: Cause.PREEMPTED,
    JobState.NODE_FAILED: Cause.NODE_FAILED,
    JobState.OUT_OF_MEMORY: Cause.HOST_MEMORY,
    JobState.CANCELLED: Cause.CANCELLED,
}


@dataclass(frozen=True)
class Witnesses:
    """All that is known of one job."""

    record: AttemptRecord | DamagedRecord | None
    """The newest attempt's record, where there is an attempt with one."""
    attempts: int
    """Attempts begun."""
    config_sha256: str | None
    """The digest of the job as job.json has it; None where there is no job.json yet."""
    bundle_sha256: str | None
    """The digest of the bundle as it lies there; None where it is missing."""
    submitted: bool
    """Whether any submission asked for the job."""
    executor: ExecutorFact | None
    """What the executor of the newest submission says; None where it is silent."""
    newest_submission: int | None = None
    """The number of the newest submission that asked for the job."""
    unheard: str = ""
    """Why the executor cannot be heard, where it does not answer at all."""
    log: LogEvidence = NO_EVIDENCE
    cancelled: str = ""
    """Who cancelled the job in its newest submission, and when; nothing where nobody did."""


@dataclass(frozen=True)
class Outcome:
    """A job's state, the reason in words, and its error where it has one."""

    state: JobState
    reason: str
    error: JobError | None = None
    is_live: bool = False
    """Whether somebody is still at work on it, or may be: waiting is worth while and submitting again is not."""
    cause: Cause = Cause.NONE

    @property
    def may_be_submitted(self) -> bool:
        """Whether a submit should hand the job over (again)."""
        return not self.is_live and self.state is not JobState.SUCCEEDED


@cache
def success(attempt: int) -> Outcome:
    """Of a job whose attempt recorded its success and whose bundle has the recorded sha256: no other witness outbids the two."""
    return Outcome(JobState.SUCCEEDED, f"attempt {attempt} finished, bundle sha256 matches")


def judge(witnesses: Witnesses) -> Outcome:
    """The state that the witnesses prove."""
    outcome = _judge(witnesses)
    return _cancelled(outcome, witnesses.cancelled) if witnesses.cancelled else outcome


def _cancelled(outcome: Outcome, by_whom: str) -> Outcome:
    """What a person cancelled is cancelled once it has ended, unless it came to its success before."""
    if outcome.state is JobState.SUCCEEDED:
        return outcome
    if outcome.is_live:
        return replace(outcome, reason=f"{outcome.reason}; {by_whom}, and has not ended yet")
    hint = "Submit again: the job goes on from its last checkpoint."
    return _failure("Cancelled", f"{by_whom}; {outcome.reason}", hint, Cause.CANCELLED, JobState.CANCELLED)


def _judge(witnesses: Witnesses) -> Outcome:
    record, executor = _of_this_config(witnesses), witnesses.executor
    succeeded = record if isinstance(record, AttemptRecord) and record.state == "succeeded" else None
    if succeeded is not None and (succeeded.result or {}).get("bundle_sha256") == witnesses.bundle_sha256:
        return success(succeeded.attempt)
    if executor is not None and executor.state.is_open and executor.is_live:
        return _at_work(record, executor)
    if witnesses.unheard and (
        _is_history(record, witnesses) or not isinstance(record, AttemptRecord) or record.state != "failed"
    ):
        return _unheard(record, witnesses.unheard)
    if record is None or _is_history(record, witnesses):
        return _judge_without_record(witnesses)
    if isinstance(record, DamagedRecord):
        return Outcome(JobState.UNKNOWN, f"{record.reason}; {_words(executor)}", cause=Cause.SILENCE)
    if record.state == "succeeded":
        return _judge_bundle(record, witnesses.bundle_sha256)
    return _judge_unfinished(record, witnesses)


def _at_work(record: AttemptRecord | DamagedRecord | None, executor: ExecutorFact) -> Outcome:
    """The executor still has the job in its hands, whatever an earlier attempt or start of it left."""
    began = f"attempt {record.attempt} on {record.process.host}; " if isinstance(record, AttemptRecord) else ""
    waits_again = executor.state is JobState.PENDING and executor.before in (JobState.NODE_FAILED, JobState.PREEMPTED)
    state = executor.before if waits_again and executor.before is not None else executor.state
    return Outcome(state, f"{began}{executor.words}", is_live=True)


def _is_history(record: AttemptRecord | DamagedRecord | None, witnesses: Witnesses) -> bool:
    """Whether a record is of an earlier submission, and the newest one has come so far that it matters no more."""
    executor = witnesses.executor
    nothing_since = executor is not None and executor.state is JobState.PENDING and not executor.is_live
    return (
        isinstance(record, AttemptRecord)
        and is_earlier(record.submission, witnesses.newest_submission)
        and not nothing_since
        and not (record.state == "running" and record.process.is_alive())
    )


def is_earlier(submission: int, newest_submission: int | None) -> bool:
    """Whether an attempt of a submission belongs to an earlier one; one that was begun by hand belongs to none, 0."""
    return newest_submission is not None and 0 < submission < newest_submission


def _unheard(record: AttemptRecord | DamagedRecord | None, problem: str) -> Outcome:
    """Nobody can say whether the job runs; it may, so it is waited for."""
    began = "no attempt left a record"
    if isinstance(record, AttemptRecord):
        began = f"the record of attempt {record.attempt} says {record.state}"
    elif record is not None:
        began = record.reason
    return Outcome(JobState.UNKNOWN, f"{began}; {problem}", is_live=True, cause=Cause.SILENCE)


def _of_this_config(witnesses: Witnesses) -> AttemptRecord | DamagedRecord | None:
    """The record, unless it is of an attempt at another configuration or other data."""
    record = witnesses.record
    foreign = isinstance(record, AttemptRecord) and witnesses.config_sha256 not in (None, record.config_sha256)
    return None if foreign else record


def _judge_bundle(record: AttemptRecord, bundle_sha256: str | None) -> Outcome:
    if bundle_sha256 is None:
        return _bundle_failure(f"the bundle is missing (model.safetensors of attempt {record.attempt} was deleted)")
    expected = (record.result or {}).get("bundle_sha256")
    return _bundle_failure(f"the bundle was altered: its sha256 is {bundle_sha256}, the record says {expected}")


def _bundle_failure(reason: str) -> Outcome:
    return _failure("BundleError", reason, "Run submit again: the job goes on from its last checkpoint.", Cause.BUNDLE)


def _failure(type_: str, reason: str, hint: str, cause: Cause, state: JobState = JobState.FAILED) -> Outcome:
    return Outcome(state, reason, JobError(type=type_, message=reason, hint=hint), cause=cause)


def _judge_unfinished(record: AttemptRecord, witnesses: Witnesses) -> Outcome:
    if record.state == "failed":
        message = record.error.message if record.error else "without a message"
        return Outcome(JobState.FAILED, f"attempt {record.attempt}: {message}", record.error, cause=error_cause(record.error))
    if record.state == "interrupted":
        return _judge_interrupted(record, witnesses.executor)
    executor, alive = witnesses.executor, record.process.is_alive()
    if alive:
        return Outcome(JobState.RUNNING, f"attempt {record.attempt} on {record.process.host}", is_live=True)
    if alive is False and _says_no_more(executor, witnesses.log):
        return _killed(f"process {record.process.pid} of attempt {record.attempt} ended without a result", None)
    if executor is None or executor.state in (JobState.UNKNOWN, JobState.SUCCEEDED) or executor.state.is_open:
        reason = f"the record of attempt {record.attempt} says running on {record.process.host}; {_words(executor)}"
        return Outcome(JobState.UNKNOWN, reason, cause=_silence(executor))
    return _ended(executor, witnesses.log, f"attempt {record.attempt} left no end in its record", has_begun=True)


def _says_no_more(executor: ExecutorFact | None, log: LogEvidence) -> bool:
    """Whether nobody knows more of an end than that the process is gone."""
    if executor is None:
        return True
    return executor.state is JobState.FAILED and executor.signal is None and not (log.memory or log.was_killed)


def error_cause(error: JobError | None) -> Cause:
    """What kind of failure a recorded error is."""
    if error is None:
        return Cause.RAISED
    return _CAUSE_OF_ERROR.get(error.type, Cause.RAISED)


def _judge_interrupted(record: AttemptRecord, executor: ExecutorFact | None) -> Outcome:
    """The trainer was told to stop, and saved; who told it decides what the state is."""
    saved = f"attempt {record.attempt} was interrupted and saved"
    if executor is not None and executor.state in _CAUSE_OF_STATE:
        return Outcome(executor.state, f"{saved}; {executor.words}", record.error, cause=_CAUSE_OF_STATE[executor.state])
    if record.stopped_by == "time limit":
        reason = f"{saved} before its time limit; {_words(executor)}"
        return Outcome(JobState.TIMED_OUT, reason, record.error, cause=Cause.TIME_LIMIT)
    return Outcome(JobState.PENDING, f"{saved}; submit again to go on", cause=Cause.INTERRUPTED)


def _killed(detail: str, executor: ExecutorFact | None) -> Outcome:
    signal = executor.signal if executor is not None and executor.signal else _SIGKILL
    memory = f"; {executor.memory}" if executor is not None and executor.memory else ""
    reason = f"killed: {detail}{memory}"
    if executor is not None:
        reason = f"killed (signal {signal}) by hand, or for memory without a trace: {executor.words}; {detail}{memory}"
    return _failure("Killed", reason, "Run submit again: the job goes on from its last checkpoint.", Cause.KILLED)


def _judge_without_record(witnesses: Witnesses) -> Outcome:
    executor = witnesses.executor
    if not witnesses.submitted:
        return Outcome(JobState.PENDING, "not submitted")
    if executor is None:
        return Outcome(JobState.UNKNOWN, f"{_attempts(witnesses)}; {_words(executor)}", cause=Cause.SILENCE)
    if executor.state is JobState.PENDING:
        return Outcome(JobState.PENDING, executor.words, cause=Cause.UNSTARTED)
    if not executor.state.is_bad or executor.state is JobState.UNKNOWN:
        return Outcome(JobState.UNKNOWN, f"{_attempts(witnesses)}; {executor.words}", cause=_silence(executor))
    return _ended(executor, witnesses.log, _attempts(witnesses))


def _attempts(witnesses: Witnesses) -> str:
    if isinstance(witnesses.record, AttemptRecord) and is_earlier(witnesses.record.submission, witnesses.newest_submission):
        return f"attempt {witnesses.record.attempt} was of an earlier submission"
    return f"attempt {witnesses.attempts} left no record" if witnesses.attempts else "no attempt left a record"


def _silence(executor: ExecutorFact | None) -> Cause:
    return Cause.LOST if executor is not None and executor.is_lost else Cause.SILENCE


def _ended(executor: ExecutorFact, log: LogEvidence, detail: str, *, has_begun: bool = False) -> Outcome:
    """The executor says that it ended badly, and the node left no end: with what the log and the steps say."""
    if executor.state is JobState.FAILED and log.memory:
        reason = f"out of memory: the node says {log.memory!r}; {executor.words}; {detail}"
        return _out_of_memory(reason)
    if executor.state is JobState.OUT_OF_MEMORY:
        return _out_of_memory(f"{executor.words}; {detail}")
    if executor.state is JobState.FAILED and (executor.signal == _SIGKILL or log.was_killed):
        return _killed(detail, executor)
    reason = f"{executor.words}; {detail}"
    if executor.state is JobState.FAILED:
        said = f"; its log ends with {log.last_words!r}" if log.last_words else ""
        cause = Cause.KILLED if has_begun else Cause.ENVIRONMENT
        hint = _READ_LOG if has_begun else "Mend resources.setup, or the modules that it loads; then submit again."
        return _failure("NodeError", f"{reason}{said}", hint, cause)
    cause = _CAUSE_OF_STATE.get(executor.state, Cause.SILENCE)
    return _failure(executor.state.value, reason, _READ_LOG, cause, executor.state)


def _out_of_memory(reason: str) -> Outcome:
    hint = "Ask for more resources.mem; retry does so by itself."
    return _failure("OutOfMemory", reason, hint, Cause.HOST_MEMORY, JobState.OUT_OF_MEMORY)


def _words(executor: ExecutorFact | None) -> str:
    return executor.words if executor else "the executor is silent"
