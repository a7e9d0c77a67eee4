"""The state of a job from its witnesses. Pure: the collector gathers them, this judges.

    the node's record   what the attempt itself wrote
    the bundle          whether the weights are there and have the recorded sha256
    the executor        what Slurm, the supervisor or the process table says

Success needs the record and the bundle. The executor alone never makes success; silence or a contradiction is `unknown`.
"""

from dataclasses import dataclass

from fly64_hpc.job_record import AttemptRecord, DamagedRecord, JobError
from fly64_hpc.job_state import ExecutorFact, JobState


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


@dataclass(frozen=True)
class Outcome:
    """A job's state, the reason in words, and its error where it has one."""

    state: JobState
    reason: str
    error: JobError | None = None
    is_live: bool = False
    """Whether somebody is still at work on it, so that waiting is worth while and submitting again is not."""

    @property
    def may_be_submitted(self) -> bool:
        """Whether a submit should hand the job over (again)."""
        return not self.is_live and self.state is not JobState.SUCCEEDED


def judge(witnesses: Witnesses) -> Outcome:
    """The state that the witnesses prove."""
    record, executor = _of_this_config(witnesses), witnesses.executor
    succeeded = record if isinstance(record, AttemptRecord) and record.state == "succeeded" else None
    if succeeded is not None and (succeeded.result or {}).get("bundle_sha256") == witnesses.bundle_sha256:
        return Outcome(JobState.SUCCEEDED, f"attempt {succeeded.attempt} finished, bundle sha256 matches")
    if executor is not None and executor.state.is_open and executor.is_live:
        return _at_work(record, executor)
    if succeeded is not None:
        return _judge_bundle(succeeded, witnesses.bundle_sha256)
    if isinstance(record, DamagedRecord):
        return Outcome(JobState.UNKNOWN, f"{record.reason}; {_words(executor)}")
    if record is not None:
        return _judge_unfinished(record, executor)
    return _judge_without_record(witnesses)


def _at_work(record: AttemptRecord | DamagedRecord | None, executor: ExecutorFact) -> Outcome:
    """The executor still has the job in its hands, whatever an earlier attempt or start of it left."""
    began = f"attempt {record.attempt} on {record.process.host}; " if isinstance(record, AttemptRecord) else ""
    return Outcome(executor.state, f"{began}{executor.words}", is_live=True)


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
    error = JobError(type="BundleError", message=reason, hint="Run submit again: the job goes on from its last checkpoint.")
    return Outcome(JobState.FAILED, reason, error)


def _judge_unfinished(record: AttemptRecord, executor: ExecutorFact | None) -> Outcome:
    if record.state == "failed":
        message = record.error.message if record.error else "without a message"
        return Outcome(JobState.FAILED, f"attempt {record.attempt}: {message}", record.error)
    if record.state == "interrupted":
        return Outcome(JobState.PENDING, f"attempt {record.attempt} was interrupted and saved; submit again to go on")
    alive = record.process.is_alive()
    if alive:
        return Outcome(JobState.RUNNING, f"attempt {record.attempt} on {record.process.host}", is_live=True)
    if executor is not None and executor.state is JobState.SUCCEEDED and alive is None:
        return Outcome(JobState.UNKNOWN, f"the record of attempt {record.attempt} says running; {executor.words}")
    if executor is not None and executor.state.is_bad and (alive is None or executor.state is not JobState.FAILED):
        return _ended(executor, f"attempt {record.attempt} left no end in its record")
    if alive is None:
        return Outcome(
            JobState.UNKNOWN, f"the record of attempt {record.attempt} says running on {record.process.host}; {_words(executor)}"
        )
    return _killed(record)


def _killed(record: AttemptRecord) -> Outcome:
    reason = f"killed: process {record.process.pid} of attempt {record.attempt} ended without a result"
    error = JobError(type="Killed", message=reason, hint="Run submit again: the job goes on from its last checkpoint.")
    return Outcome(JobState.FAILED, reason, error)


def _judge_without_record(witnesses: Witnesses) -> Outcome:
    executor = witnesses.executor
    if not witnesses.submitted:
        return Outcome(JobState.PENDING, "not submitted")
    if executor is None:
        return Outcome(JobState.UNKNOWN, f"{_attempts(witnesses)}; {_words(executor)}")
    if executor.state is JobState.PENDING:
        return Outcome(JobState.PENDING, executor.words)
    if not executor.state.is_bad or executor.state is JobState.UNKNOWN:
        return Outcome(JobState.UNKNOWN, f"{_attempts(witnesses)}; {executor.words}")
    return _ended(executor, _attempts(witnesses))


def _attempts(witnesses: Witnesses) -> str:
    return f"attempt {witnesses.attempts} left no record" if witnesses.attempts else "no attempt left a record"


def _ended(executor: ExecutorFact, detail: str) -> Outcome:
    reason = f"{executor.words}; {detail}"
    return Outcome(
        executor.state, reason, JobError(type=executor.state.value, message=reason, hint="Read the job's log, then submit again.")
    )


def _words(executor: ExecutorFact | None) -> str:
    return executor.words if executor else "the executor is silent"
