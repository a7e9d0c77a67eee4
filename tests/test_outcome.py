"""The state of a job from its witnesses: success needs the record and the bundle, silence is unknown."""

from dataclasses import replace
from typing import Any

import pytest

from fly64_hpc.job_record import AttemptRecord, DamagedRecord, JobError, SchedulerIds
from fly64_hpc.job_state import SLURM_STATES, ExecutorFact, JobState
from fly64_hpc.outcome import Witnesses, judge
from fly64_hpc.process_identity import ProcessIdentity, this_process

HERE = this_process()
DEAD = replace(HERE, start_ticks=HERE.start_ticks + 1)
ELSEWHERE = replace(HERE, host="node17")


def record(state: Any, process: ProcessIdentity = ELSEWHERE, **fields: Any) -> AttemptRecord:
    return AttemptRecord(
        attempt=1, state=state, submission=1, config_sha256="c", process=process, scheduler=SchedulerIds(executor="slurm"),
        started_utc="2026-01-01T00:00:00.000Z", **fields,
    )  # fmt: skip


def witnesses(**fields: Any) -> Witnesses:
    known = {"record": None, "attempts": 0, "config_sha256": "c", "bundle_sha256": None, "submitted": True}
    return Witnesses(**(known | {"executor": None} | fields))


def says(state: JobState, *, is_live: bool = True) -> ExecutorFact:
    return ExecutorFact(state, f"slurm: {state.name}", is_live)


SUCCESS = record("succeeded", result={"bundle_sha256": "b"})


@pytest.mark.parametrize("executor", [None, *(says(state) for state in JobState)])
def test_record_and_bundle_are_success_whatever_the_scheduler_says(executor: ExecutorFact | None) -> None:
    assert judge(witnesses(record=SUCCESS, bundle_sha256="b", executor=executor)).state is JobState.SUCCEEDED


@pytest.mark.parametrize("state", sorted(set(SLURM_STATES.values())))
@pytest.mark.parametrize("attempts", [0, 1])
def test_the_scheduler_alone_never_makes_success(state: JobState, attempts: int) -> None:
    assert judge(witnesses(executor=says(state), attempts=attempts)).state is not JobState.SUCCEEDED


def test_a_bundle_that_is_gone_or_altered_is_failure_with_both_hashes() -> None:
    gone = judge(witnesses(record=SUCCESS))
    altered = judge(witnesses(record=SUCCESS, bundle_sha256="x"))
    assert (gone.state, altered.state) == (JobState.FAILED, JobState.FAILED)
    assert "the bundle is missing" in gone.reason
    assert "its sha256 is x, the record says b" in altered.reason


def test_a_raised_error_is_failure_with_its_words() -> None:
    failed = judge(witnesses(record=record("failed", error=JobError(type="ValueError", message="no such luck"))))
    assert failed.state is JobState.FAILED
    assert failed.reason == "attempt 1: no such luck"
    assert failed.error is not None
    assert failed.error.type == "ValueError"


def test_a_process_that_is_gone_without_a_result_was_killed() -> None:
    killed = judge(witnesses(record=record("running", DEAD)))
    assert killed.state is JobState.FAILED
    assert killed.reason.startswith(f"killed: process {DEAD.pid}")


def test_a_living_process_runs() -> None:
    assert judge(witnesses(record=record("running", HERE))).state is JobState.RUNNING


@pytest.mark.parametrize(
    ("executor", "state"),
    [
        (None, JobState.UNKNOWN),
        (says(JobState.RUNNING), JobState.RUNNING),
        (says(JobState.SUCCEEDED), JobState.UNKNOWN),
        (says(JobState.TIMED_OUT), JobState.TIMED_OUT),
        (says(JobState.NODE_FAILED), JobState.NODE_FAILED),
        (says(JobState.CANCELLED), JobState.CANCELLED),
    ],
)
def test_a_record_that_says_running_elsewhere_needs_the_scheduler(executor: ExecutorFact | None, state: JobState) -> None:
    outcome = judge(witnesses(record=record("running"), executor=executor))
    assert outcome.state is state
    assert "attempt 1" in outcome.reason


def test_a_damaged_record_is_unknown_and_named() -> None:
    outcome = judge(witnesses(record=DamagedRecord(attempt=2, reason="result.json of attempt 2 is damaged")))
    assert outcome.state is JobState.UNKNOWN
    assert outcome.reason == "result.json of attempt 2 is damaged; the executor is silent"


def test_without_a_record_silence_is_unknown_and_not_submitted_is_pending() -> None:
    assert judge(witnesses(submitted=False)).reason == "not submitted"
    assert judge(witnesses()).state is JobState.UNKNOWN
    assert judge(witnesses(executor=says(JobState.SUCCEEDED))).state is JobState.UNKNOWN
    assert judge(witnesses(executor=says(JobState.FAILED))).state is JobState.FAILED


@pytest.mark.parametrize("state", ["running", "interrupted", "failed"])
@pytest.mark.parametrize("open_state", [JobState.PENDING, JobState.RUNNING])
def test_what_the_executor_still_has_in_its_hands_is_not_submitted_again(state: str, open_state: JobState) -> None:
    outcome = judge(witnesses(record=record(state), executor=says(open_state)))
    assert (outcome.state, outcome.is_live, outcome.may_be_submitted) == (open_state, True, False)


def test_a_success_whose_bundle_is_gone_is_at_work_while_it_is_trained_again() -> None:
    assert judge(witnesses(record=SUCCESS, executor=says(JobState.RUNNING))).state is JobState.RUNNING


def test_a_newer_submission_that_waits_makes_a_failed_job_pending_again() -> None:
    failed = record("failed", error=JobError(type="E", message="m"))
    waiting = judge(witnesses(record=failed, executor=says(JobState.PENDING)))
    abandoned = judge(witnesses(record=failed, executor=says(JobState.PENDING, is_live=False)))
    assert (waiting.state, waiting.is_live) == (JobState.PENDING, True)
    assert (abandoned.state, abandoned.is_live) == (JobState.FAILED, False)


def test_an_attempt_at_another_configuration_proves_nothing() -> None:
    outcome = judge(witnesses(record=SUCCESS, bundle_sha256="b", config_sha256="other", submitted=False))
    assert outcome.state is JobState.PENDING


@pytest.mark.parametrize("state", list(JobState))
def test_states_are_open_bad_or_neither(state: JobState) -> None:
    assert not (state.is_open and state.is_bad)
    assert (state in (JobState.SUCCEEDED, JobState.SKIPPED)) == (not state.is_open and not state.is_bad)
