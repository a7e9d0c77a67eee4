"""The state of a job from its witnesses: success needs the record and the bundle, silence is unknown."""

from dataclasses import replace
from typing import Any

import pytest

from fly64_hpc.job_record import AttemptRecord, DamagedRecord, JobError, SchedulerIds
from fly64_hpc.job_state import SLURM_STATES, ExecutorFact, JobState
from fly64_hpc.outcome import Cause, Outcome, Witnesses, error_cause, judge
from fly64_hpc.process_identity import ProcessIdentity, this_process
from fly64_hpc.slurm.task_logs import LogEvidence

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


def says(state: JobState, **fields: Any) -> ExecutorFact:
    return ExecutorFact(state, f"slurm: {state.name}", **fields)


def outcome(record: AttemptRecord | DamagedRecord | None = None, executor: ExecutorFact | None = None, **fields: Any) -> Outcome:
    return judge(witnesses(record=record, executor=executor, **fields))


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
    judged = outcome(record("running"), executor)
    assert judged.state is state
    assert "attempt 1" in judged.reason


def test_a_damaged_record_is_unknown_and_named() -> None:
    judged = outcome(DamagedRecord(attempt=2, reason="result.json of attempt 2 is damaged"))
    assert (judged.state, judged.cause) == (JobState.UNKNOWN, Cause.SILENCE)
    assert judged.reason == "result.json of attempt 2 is damaged; the executor is silent"


def test_without_a_record_silence_is_unknown_and_not_submitted_is_pending() -> None:
    assert judge(witnesses(submitted=False)).reason == "not submitted"
    assert judge(witnesses()).state is JobState.UNKNOWN
    assert judge(witnesses(executor=says(JobState.SUCCEEDED))).state is JobState.UNKNOWN
    assert judge(witnesses(executor=says(JobState.FAILED))).state is JobState.FAILED


@pytest.mark.parametrize("state", ["running", "interrupted", "failed"])
@pytest.mark.parametrize("open_state", [JobState.PENDING, JobState.RUNNING])
def test_what_the_executor_still_has_in_its_hands_is_not_submitted_again(state: str, open_state: JobState) -> None:
    judged = outcome(record(state), says(open_state))
    assert (judged.state, judged.is_live, judged.may_be_submitted) == (open_state, True, False)


def test_a_success_whose_bundle_is_gone_is_at_work_while_it_is_trained_again() -> None:
    assert judge(witnesses(record=SUCCESS, executor=says(JobState.RUNNING))).state is JobState.RUNNING


def test_a_newer_submission_that_waits_makes_a_failed_job_pending_again() -> None:
    failed = record("failed", error=JobError(type="E", message="m"))
    waiting = judge(witnesses(record=failed, executor=says(JobState.PENDING)))
    abandoned = judge(witnesses(record=failed, executor=says(JobState.PENDING, is_live=False)))
    assert (waiting.state, waiting.is_live) == (JobState.PENDING, True)
    assert (abandoned.state, abandoned.is_live) == (JobState.FAILED, False)


def test_an_attempt_at_another_configuration_proves_nothing() -> None:
    assert outcome(SUCCESS, bundle_sha256="b", config_sha256="other", submitted=False).state is JobState.PENDING


@pytest.mark.parametrize("state", list(JobState))
def test_states_are_open_bad_or_neither(state: JobState) -> None:
    assert not (state.is_open and state.is_bad)
    assert (state in (JobState.SUCCEEDED, JobState.SKIPPED)) == (not state.is_open and not state.is_bad)


TIME_LIMIT = "time limit"
BAD = [state for state in JobState if state.is_bad and state is not JobState.UNKNOWN]
STATES_OF_RECORDS = ["running", "failed", "interrupted"]
CAUSES = {
    JobState.TIMED_OUT: Cause.TIME_LIMIT, JobState.PREEMPTED: Cause.PREEMPTED, JobState.NODE_FAILED: Cause.NODE_FAILED,
    JobState.OUT_OF_MEMORY: Cause.HOST_MEMORY, JobState.CANCELLED: Cause.CANCELLED,
}  # fmt: skip


@pytest.mark.parametrize(
    ("type_", "cause"),
    [("ValueError", Cause.RAISED), ("OutOfMemoryError", Cause.GPU_MEMORY), ("MemoryError", Cause.HOST_MEMORY),
     ("ModuleNotFoundError", Cause.ENVIRONMENT), ("MissingTorchError", Cause.ENVIRONMENT),
     ("_ArrayMemoryError", Cause.HOST_MEMORY)],
)  # fmt: skip
def test_a_recorded_error_has_its_cause(type_: str, cause: Cause) -> None:
    assert outcome(record("failed", error=JobError(type=type_, message="m"))).cause is cause


def test_a_failure_without_an_error_was_raised_all_the_same() -> None:
    assert error_cause(None) is Cause.RAISED


@pytest.mark.parametrize("kept", [None, *STATES_OF_RECORDS])
@pytest.mark.parametrize("before", [JobState.PREEMPTED, JobState.NODE_FAILED])
def test_what_waits_after_a_preemption_or_a_node_s_failure_says_so_and_is_at_work(kept: str | None, before: JobState) -> None:
    judged = outcome(record(kept) if kept else None, says(JobState.PENDING, before=before))
    assert (judged.state, judged.is_live, judged.may_be_submitted) == (before, True, False)


def test_once_it_runs_again_it_runs_and_a_requeue_by_hand_is_no_state() -> None:
    assert outcome(record("interrupted"), says(JobState.RUNNING, before=JobState.PREEMPTED)).state is JobState.RUNNING
    assert outcome(record("interrupted"), says(JobState.PENDING, before=JobState.PENDING)).state is JobState.PENDING


@pytest.mark.parametrize("kept", [None, "running", "interrupted"])
def test_where_nobody_answers_it_may_run_and_is_waited_for(kept: str | None) -> None:
    judged = outcome(record(kept) if kept else None, unheard="squeue failed: no connection")
    assert (judged.state, judged.is_live, judged.may_be_submitted) == (JobState.UNKNOWN, True, False)
    assert "squeue failed: no connection" in judged.reason


@pytest.mark.parametrize("bundle_sha256", [None, "x"])
def test_a_success_whose_bundle_is_gone_may_be_in_training_while_nobody_answers(bundle_sha256: str | None) -> None:
    judged = outcome(SUCCESS, bundle_sha256=bundle_sha256, unheard="squeue failed")
    assert (judged.state, judged.is_live, judged.may_be_submitted) == (JobState.UNKNOWN, True, False)


def test_nor_does_a_damaged_record_prove_that_nothing_runs() -> None:
    judged = outcome(DamagedRecord(attempt=1, reason="damaged"), unheard="squeue failed")
    assert (judged.state, judged.is_live, judged.may_be_submitted) == (JobState.UNKNOWN, True, False)
    assert judged.reason == "damaged; squeue failed"


FAILED: dict[str, Any] = {"error": JobError(type="ValueError", message="no such luck")}


def test_an_end_with_an_error_is_one_although_nobody_answers_unless_the_job_was_submitted_again() -> None:
    failed = record("failed", **FAILED)
    own, newer = (outcome(failed, unheard="squeue failed", newest_submission=number) for number in (1, 2))
    assert (own.state, own.cause, own.may_be_submitted) == (JobState.FAILED, Cause.RAISED, True)
    assert (newer.state, newer.is_live, newer.may_be_submitted) == (JobState.UNKNOWN, True, False)


@pytest.mark.parametrize("state", [*BAD, JobState.UNKNOWN, JobState.SUCCEEDED])
@pytest.mark.parametrize("kept", STATES_OF_RECORDS)
def test_what_an_earlier_submission_left_says_nothing_of_how_the_newest_ended(kept: str, state: JobState) -> None:
    earlier, none = outcome(record(kept, **FAILED), says(state), newest_submission=2), outcome(None, says(state))
    assert (earlier.state, earlier.cause, earlier.is_live) == (none.state, none.cause, none.is_live)
    assert f"slurm: {state.name}" in earlier.reason


@pytest.mark.parametrize("kept", STATES_OF_RECORDS)
def test_but_it_stands_where_the_newest_never_reached_anybody(kept: str) -> None:
    nothing_since = says(JobState.PENDING, is_live=False)
    newer, own = (outcome(record(kept, **FAILED), nothing_since, newest_submission=number) for number in (2, 1))
    assert newer == own
    assert "attempt 1" in newer.reason


def test_a_job_that_nobody_ever_took_never_started_and_may_be_submitted() -> None:
    judged = outcome(None, says(JobState.PENDING, is_live=False))
    assert (judged.state, judged.cause, judged.may_be_submitted) == (JobState.PENDING, Cause.UNSTARTED, True)


def test_a_success_needs_nobody_s_answer() -> None:
    assert outcome(SUCCESS, bundle_sha256="b", unheard="squeue failed").state is JobState.SUCCEEDED


@pytest.mark.parametrize("state", BAD)
def test_who_ended_an_interrupted_attempt_decides_what_it_is(state: JobState) -> None:
    judged = outcome(record("interrupted", stopped_by="SIGTERM"), says(state))
    assert "was interrupted and saved" in judged.reason
    expected = (state, CAUSES[state]) if state in CAUSES else (JobState.PENDING, Cause.INTERRUPTED)
    assert (judged.state, judged.cause) == expected


@pytest.mark.parametrize("executor", [None, says(JobState.FAILED)])
def test_interrupted_by_the_time_limit_or_by_a_signal(executor: ExecutorFact | None) -> None:
    by_limit = outcome(record("interrupted", stopped_by=TIME_LIMIT), executor)
    by_signal = outcome(record("interrupted", stopped_by="SIGUSR2"), executor)
    assert (by_limit.state, by_limit.cause) == (JobState.TIMED_OUT, Cause.TIME_LIMIT)
    assert (by_signal.state, by_signal.cause) == (JobState.PENDING, Cause.INTERRUPTED)
    assert by_limit.may_be_submitted
    assert by_signal.may_be_submitted


@pytest.mark.parametrize("state", CAUSES)
@pytest.mark.parametrize("kept", [None, "running"])
def test_what_slurm_says_of_the_end_is_the_state_and_the_cause(state: JobState, kept: str | None) -> None:
    judged = outcome(record(kept) if kept else None, says(state))
    assert (judged.state, judged.cause, judged.is_live) == (state, CAUSES[state], False)
    assert judged.error is not None
    assert f"slurm: {state.name}" in judged.error.message


@pytest.mark.parametrize("log", [LogEvidence(), LogEvidence(was_killed=True)])
def test_a_kill_without_a_trace_has_both_readings_and_the_memory(log: LogEvidence) -> None:
    executor = says(JobState.FAILED, signal=None if log.was_killed else 9, memory="13M of 100M memory used")
    judged = outcome(record("running"), executor, log=log)
    assert (judged.state, judged.cause) == (JobState.FAILED, Cause.KILLED)
    for words in ("killed (signal 9)", "by hand, or for memory without a trace", "slurm: FAILED", "13M of 100M memory used"):
        assert words in judged.reason


@pytest.mark.parametrize("kept", [None, "running"])
def test_the_log_s_word_on_memory_beats_a_bare_failure(kept: str | None) -> None:
    log = LogEvidence(memory="Detected 1 oom-kill event", was_killed=True)
    judged = outcome(record(kept) if kept else None, says(JobState.FAILED, signal=9), log=log)
    assert (judged.state, judged.cause) == (JobState.OUT_OF_MEMORY, Cause.HOST_MEMORY)
    assert "Detected 1 oom-kill event" in judged.reason


def test_a_log_s_word_on_memory_changes_no_other_end() -> None:
    log = LogEvidence(memory="Detected 1 oom-kill event")
    assert outcome(None, says(JobState.TIMED_OUT), log=log).state is JobState.TIMED_OUT


def test_a_failure_without_a_record_is_the_environment_s_with_the_log_s_last_words() -> None:
    judged = outcome(None, says(JobState.FAILED), log=LogEvidence(last_words="module: not found"))
    assert (judged.state, judged.cause) == (JobState.FAILED, Cause.ENVIRONMENT)
    assert judged.error is not None
    assert judged.error.hint == "Mend resources.setup, or the modules that it loads; then submit again."
    assert "its log ends with 'module: not found'" in judged.reason
    assert outcome(record("running"), says(JobState.FAILED)).cause is Cause.KILLED


@pytest.mark.parametrize("kept", [None, "running"])
def test_what_slurm_has_lost_is_unknown_and_lost(kept: str | None) -> None:
    judged = outcome(record(kept) if kept else None, says(JobState.UNKNOWN, is_live=False, is_lost=True))
    assert (judged.state, judged.cause, judged.is_live) == (JobState.UNKNOWN, Cause.LOST, False)
    assert outcome(record(kept) if kept else None, says(JobState.UNKNOWN)).cause is Cause.SILENCE


@pytest.mark.parametrize("executor", [None, *(says(state) for state in JobState)])
@pytest.mark.parametrize("kept", [None, *STATES_OF_RECORDS])
def test_what_ended_badly_has_a_cause_and_what_is_at_work_is_not_handed_over_again(
    executor: ExecutorFact | None, kept: str | None
) -> None:
    judged = outcome(record(kept) if kept else None, executor)
    assert judged.reason
    assert not (judged.is_live and judged.may_be_submitted)
    assert judged.cause is not Cause.NONE or judged.is_live or not judged.state.is_bad
