"""What is tried again, by the cause of the failure, with what resources, and how often."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_study import blank_submission

from fly64_hpc.job_state import JobState
from fly64_hpc.outcome import Cause, Outcome
from fly64_hpc.resources import Resources, RetryLimits, memory_mib
from fly64_hpc.retry_policy import Decision, Failure, decide, retries_so_far

ELSEWHERE = [Cause.PREEMPTED, Cause.NODE_FAILED, Cause.ENVIRONMENT]
AGAIN = {*ELSEWHERE, Cause.INTERRUPTED, Cause.LOST, Cause.UNSTARTED, Cause.TIME_LIMIT, Cause.HOST_MEMORY}
NODES = st.sampled_from(["g1", "g2", "g3", ""])


def failure(cause: Cause, resources: Resources | None = None, **fields: Any) -> Failure:
    known: dict[str, Any] = {"node": "g1", "made_progress": True, "retries": 0}
    outcome = Outcome(JobState.FAILED, "why it failed", cause=cause)
    return Failure(job_id="j", outcome=outcome, resources=resources or Resources(), **(known | fields))


def decision(cause: Cause, resources: Resources | None = None, **fields: Any) -> Decision:
    return decide(failure(cause, resources, **fields))


@pytest.mark.parametrize("cause", list(Cause))
def test_the_cause_alone_decides_whether_it_is_worth_another_try(cause: Cause) -> None:
    assert decision(cause).again is (cause in AGAIN)


@pytest.mark.parametrize("cause", list(Cause))
def test_every_decision_names_its_cause(cause: Cause) -> None:
    made = decision(cause)
    assert made.job_id == "j"
    assert cause.value in made.why


@pytest.mark.parametrize("cause", sorted(set(Cause) - AGAIN - {Cause.GPU_MEMORY}))
def test_what_is_left_is_left_with_the_reason(cause: Cause) -> None:
    assert "why it failed" in decision(cause).why


@given(st.sampled_from(list(Cause)), st.integers(0, 9), st.integers(0, 9))
def test_never_more_often_than_the_budget(cause: Cause, budget: int, retries: int) -> None:
    made = decision(cause, Resources(retry=RetryLimits(budget=budget)), retries=retries)
    assert made.again is (cause in AGAIN and retries < budget)
    if cause in AGAIN and retries >= budget:
        assert made.why.endswith(f"but its budget of {budget} retries is used up")


@given(st.sampled_from(list(Cause)), NODES, st.booleans())
def test_only_memory_and_nodes_change(cause: Cause, node: str, made_progress: bool) -> None:
    asked = Resources(partition="gpu", time="1:00:00", mem="8G")
    changed = decision(cause, asked, node=node, made_progress=made_progress).resources
    assert changed.model_copy(update={"mem": asked.mem, "exclude": ()}) == asked
    assert changed.mem == asked.mem or cause is Cause.HOST_MEMORY
    assert changed.exclude == () or cause in ELSEWHERE


def test_a_time_limit_is_worth_another_try_only_after_progress() -> None:
    assert decision(Cause.TIME_LIMIT, made_progress=True).again
    stuck = decision(Cause.TIME_LIMIT, made_progress=False)
    assert not stuck.again
    assert "raise resources.time" in stuck.why


@pytest.mark.parametrize("cause", ELSEWHERE)
@given(nodes=st.lists(NODES, max_size=6))
def test_another_node_each_time_and_no_node_twice(cause: Cause, nodes: list[str]) -> None:
    resources = Resources(exclude=("bad",))
    for node in nodes:
        resources = decision(cause, resources, node=node).resources
    assert resources.exclude[0] == "bad"
    assert sorted(resources.exclude) == sorted({"bad", *nodes} - {""})


def test_a_full_gpu_is_not_helped_with_the_node_s_memory() -> None:
    made = decision(Cause.GPU_MEMORY)
    assert (made.again, made.resources) == (False, Resources())
    assert "training.batch_size" in made.why


@given(st.integers(1, 200), st.floats(1.01, 5), st.integers(1, 200))
def test_memory_grows_up_to_the_cap_and_then_no_further(asked: int, factor: float, cap: int) -> None:
    limits = RetryLimits(mem_factor=factor, mem_cap=f"{cap}G", budget=100)
    made = decision(Cause.HOST_MEMORY, Resources(mem=f"{asked}G", retry=limits))
    assert made.again is (asked < cap)
    grown = memory_mib(made.resources.mem or "0")
    assert grown <= max(asked, cap) * 1024
    assert (grown > asked * 1024) is made.again


@given(st.integers(100, 9000), st.floats(1.05, 3))
def test_memory_stops_growing_after_finitely_many_tries(asked: int, factor: float) -> None:
    resources = Resources(mem=f"{asked}M", retry=RetryLimits(mem_factor=factor, mem_cap="64G", budget=100))
    for _ in range(200):
        made = decision(Cause.HOST_MEMORY, resources)
        resources = made.resources
    assert not made.again
    assert memory_mib(resources.mem or "") == memory_mib("64G")


@pytest.mark.parametrize("resources", [Resources(mem=None), Resources(retry=RetryLimits(mem_cap=None))])
def test_without_a_number_there_is_no_more_memory(resources: Resources) -> None:
    made = decision(Cause.HOST_MEMORY, resources)
    assert not made.again
    assert "is not set" in made.why


KINDS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "submit": (("j", "k"), {"origin": "submit"}),
    "retry": (("j", "k"), {"origin": "retry"}),
    "of others": (("k",), {"origin": "retry"}),
    "refused submit": (("j",), {"origin": "submit", "state": "refused"}),
    "refused retry": (("j",), {"origin": "retry", "state": "refused"}),
}


@given(st.lists(st.sampled_from(sorted(KINDS)), max_size=12))
def test_retries_count_since_the_last_submit_by_hand_and_what_was_refused_counts_for_nothing(history: list[str]) -> None:
    submissions = [blank_submission(*KINDS[kind][0], **KINDS[kind][1]) for kind in history]
    since = [kind for kind in history if kind in ("submit", "retry")]
    by_hand = [place for place, kind in enumerate(since) if kind == "submit"]
    assert retries_so_far(submissions, "j") == len(since[by_hand[-1] + 1 if by_hand else 0 :])
    assert retries_so_far(submissions, "never submitted") == 0
