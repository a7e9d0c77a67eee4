"""Whether a job that did not succeed is tried again, by the cause of its failure and within a budget. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fly64_hpc.outcome import Cause, Outcome
from fly64_hpc.resources import Resources, more_memory
from fly64_hpc.submissions import Submission


@dataclass(frozen=True)
class Failure:
    """What a retry is decided by."""

    job_id: str
    outcome: Outcome
    resources: Resources
    """What the job asked for when it was last submitted."""
    node: str
    """Where it last ran; empty where nobody knows."""
    made_progress: bool
    """Whether its last attempt went beyond the step at which it began."""
    retries: int
    """Times that it has been tried again since it was submitted by hand."""


@dataclass(frozen=True)
class Decision:
    """Again, with what resources; or not. And why."""

    job_id: str
    again: bool
    why: str
    resources: Resources

    def __str__(self) -> str:
        return f"{self.job_id}: {'again' if self.again else 'left'}: {self.why}"


def decide(failure: Failure) -> Decision:
    """What is to be done about a job that has ended without success.

    Again: what the cluster did to it, an interruption, and a time limit that left it further than before. With more memory: a
    node that ran out of it. Not: what would only happen again.
    """
    decision = _RULES.get(failure.outcome.cause, _stop)(failure)
    budget = failure.resources.retry.budget
    if decision.again and failure.retries >= budget:
        return _not_again(failure, f"{decision.why}, but its budget of {budget} retries is used up")
    return decision


def insist(failure: Failure) -> Decision:
    """Again, because a person asked for jobs in this state: whatever the cause and the budget, with the resources of the rule."""
    rule = _RULES.get(failure.outcome.cause, _stop)(failure)
    why = rule.why if rule.again else f"asked for as {failure.outcome.state.value}: again"
    return Decision(failure.job_id, True, why, rule.resources)


def retries_so_far(submissions: Sequence[Submission], job_id: str) -> int:
    """How often a job has been tried again since it was last submitted by hand."""
    count = 0
    for submission in submissions:
        if job_id in submission.jobs and submission.state != "refused":
            count = count + 1 if submission.origin == "retry" else 0
    return count


def _again(failure: Failure, why: str, resources: Resources | None = None) -> Decision:
    return Decision(failure.job_id, True, why, resources or failure.resources)


def _not_again(failure: Failure, why: str) -> Decision:
    return Decision(failure.job_id, False, why, failure.resources)


def _stop(failure: Failure) -> Decision:
    return _not_again(failure, f"{failure.outcome.cause.value}: not tried again by itself ({failure.outcome.reason})")


def _elsewhere(failure: Failure) -> Decision:
    cause, node = failure.outcome.cause.value, failure.node
    if not node or node in failure.resources.exclude:
        return _again(failure, f"{cause}: again")
    resources = failure.resources.model_copy(update={"exclude": (*failure.resources.exclude, node)})
    return _again(failure, f"{cause}: again, on another node than {node}", resources)


def _continue(failure: Failure) -> Decision:
    return _again(failure, f"{failure.outcome.cause.value}: again, from its checkpoint")


def _start(failure: Failure) -> Decision:
    return _again(failure, "never started: again")


def _after_time_limit(failure: Failure) -> Decision:
    if failure.made_progress:
        return _again(failure, "time limit with progress: again, from its checkpoint")
    return _not_again(failure, "time limit without progress: it would only happen again; raise resources.time")


def _with_more_memory(failure: Failure) -> Decision:
    resources, limits = failure.resources, failure.resources.retry
    if resources.mem is None or limits.mem_cap is None:
        return _not_again(failure, "host out of memory: resources.mem or resources.retry.mem_cap is not set; ask for more memory")
    mem = more_memory(resources.mem, limits.mem_factor, limits.mem_cap)
    if mem is None:
        return _not_again(failure, f"host out of memory at {resources.mem}, and resources.retry.mem_cap is {limits.mem_cap}")
    why = f"host out of memory: again with {mem} instead of {resources.mem}"
    return _again(failure, why, resources.model_copy(update={"mem": mem}))


def _gpu_memory(failure: Failure) -> Decision:
    return _not_again(
        failure, "GPU out of memory: more host memory would not help; lower training.batch_size, or ask for a larger GPU"
    )


_RULES: dict[Cause, Callable[[Failure], Decision]] = {
    Cause.PREEMPTED: _elsewhere,
    Cause.NODE_FAILED: _elsewhere,
    Cause.ENVIRONMENT: _elsewhere,
    Cause.INTERRUPTED: _continue,
    Cause.LOST: _continue,
    Cause.UNSTARTED: _start,
    Cause.TIME_LIMIT: _after_time_limit,
    Cause.HOST_MEMORY: _with_more_memory,
    Cause.GPU_MEMORY: _gpu_memory,
}
