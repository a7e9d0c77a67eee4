"""The states of a job, and what each means."""

from enum import StrEnum
from typing import NamedTuple


class JobState(StrEnum):
    """A job's state as the manifest has it."""

    PENDING = "pending"
    """Not started; nothing stands in the way of submitting it (again), or it waits its turn."""
    RUNNING = "running"
    """Its process is alive, or the scheduler says that it runs."""
    SUCCEEDED = "succeeded"
    """The node's record says so and the bundle's sha256 matches it."""
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    NODE_FAILED = "node_failed"
    PREEMPTED = "preempted"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    """No proof of either, or a contradiction; both sides are shown."""
    SKIPPED = "skipped"
    """Its view could not be made; the reason is in skip_summary.json."""

    @property
    def is_open(self) -> bool:
        """Whether time alone may still change it."""
        return self in (JobState.PENDING, JobState.RUNNING)

    @property
    def is_bad(self) -> bool:
        """Whether a study that holds it ends with exit code 1."""
        return not self.is_open and self not in (JobState.SUCCEEDED, JobState.SKIPPED)


class QueueFacts(NamedTuple):
    """What Slurm's queue says of a job that waits or runs."""

    word: str
    """Slurm's word for the state."""
    reason: str = ""
    """Slurm's word for why it waits; empty where it gives none."""
    limit_s: int | None = None
    """Its time limit; None where there is none, or nobody says."""
    left_s: int | None = None
    """What is left of it."""
    start_utc: str | None = None
    """When it started or, by Slurm's estimate, will."""


class ExecutorFact(NamedTuple):
    """What an executor says of one job."""

    state: JobState
    words: str
    """The executor's own words."""
    is_live: bool = True
    """Whether somebody will still act on an open state; false where the supervisor or submitter is gone."""
    node: str = ""
    before: JobState | None = None
    """How the job's earlier start ended, where the executor took it back to start it again."""
    signal: int | None = None
    """The signal that ended it, where one did."""
    memory: str = ""
    """How much memory it used, in words, where the executor knows."""
    held_task: str = ""
    """What Slurm calls a task that it holds because its own launch of it failed; it waits until it is released."""
    queue: QueueFacts | None = None
    """What the queue says, where the job stands there without an end."""
    is_lost: bool = False
    """Whether the executor once had the job, and has forgotten it without an end."""


SLURM_STATES = {
    "PENDING": JobState.PENDING,
    "CONFIGURING": JobState.PENDING,
    "POWER_UP_NODE": JobState.PENDING,
    "REQUEUED": JobState.PENDING,
    "REQUEUE_HOLD": JobState.PENDING,
    "REQUEUE_FED": JobState.PENDING,
    "SPECIAL_EXIT": JobState.PENDING,
    "RUNNING": JobState.RUNNING,
    "COMPLETING": JobState.RUNNING,
    "STAGE_OUT": JobState.RUNNING,
    "SIGNALING": JobState.RUNNING,
    "SUSPENDED": JobState.RUNNING,
    "STOPPED": JobState.RUNNING,
    "RESIZING": JobState.RUNNING,
    "COMPLETED": JobState.SUCCEEDED,
    "FAILED": JobState.FAILED,
    "BOOT_FAIL": JobState.NODE_FAILED,
    "LAUNCH_FAILED": JobState.NODE_FAILED,
    "RECONFIG_FAIL": JobState.NODE_FAILED,
    "NODE_FAIL": JobState.NODE_FAILED,
    "OUT_OF_MEMORY": JobState.OUT_OF_MEMORY,
    "TIMEOUT": JobState.TIMED_OUT,
    "DEADLINE": JobState.TIMED_OUT,
    "PREEMPTED": JobState.PREEMPTED,
    "CANCELLED": JobState.CANCELLED,
    "REVOKED": JobState.CANCELLED,
}
"""Slurm's word to ours; what is not here is unknown."""
