"""From what squeue and sacct say to one fact: who of the two is believed when, and what killed a task."""

import os
import pwd

import pytest
from scripted_slurm import ScriptedSlurm
from test_slurm_states import KILLED, PREEMPTED

from fly64_hpc.job_state import SLURM_STATES, ExecutorFact, JobState
from fly64_hpc.slurm.facts import LAG_S, killed_by, task_fact
from fly64_hpc.slurm.states import ask

SINCE = "2026-03-01T00:30:00.000Z"
OLD_S = 10 * LAG_S
TIME_LIMIT = "13_0|limtag|TIMEOUT|0:0|g3|100M|\n13_0.batch|batch|CANCELLED|0:15|g3||9M\n13_0.0|python3|CANCELLED|0:9|g3||90M\n"
REQUEUED = "12_0|reqtag|REQUEUED|0:0|g2|100M|\n12_0.0|python3|FAILED|75:0|g2||13424K\n12_0|reqtag|RUNNING|0:0|g2|100M|\n"


def said(squeue: str | None, sacct: str | None, *, age_s: float = OLD_S, tag: str = "t") -> ExecutorFact | None:
    """The fact about task 0 of a name; None as an answer means that the command did not answer."""
    report = ask([tag], SINCE, ScriptedSlurm(answers={"squeue": squeue, "sacct": sacct}))
    return task_fact(report, tag, 0, age_s)


def fact(squeue: str | None, sacct: str | None, *, age_s: float = OLD_S, tag: str = "t") -> ExecutorFact:
    found = said(squeue, sacct, age_s=age_s, tag=tag)
    assert found is not None
    return found


def ended(state: str, code: str = "0:0", asked: str = "100M", used: str = "", step: str = "FAILED") -> ExecutorFact:
    """The fact about a task of which sacct has an end, with one step."""
    return fact("", f"9_0|t|{state}|{code}|g1|{asked}|\n9_0.0|python3|{step}|{code}|g1||{used}\n")


def test_squeue_is_believed_of_what_waits_or_runs() -> None:
    running = fact("lowtag|2|0|RUNNING|None|g1", PREEMPTED, tag="lowtag")
    assert (running.state, running.node, running.is_live) == (JobState.RUNNING, "g1", True)
    assert fact("t|2|0|RUNNING|None|g1", "2_0|t|COMPLETED|0:0|g1|1G|").state is JobState.RUNNING


def test_a_preempted_task_that_waits_says_both_and_where_it_was() -> None:
    waiting = fact("lowtag|2|0|PENDING|BeginTime|", PREEMPTED, tag="lowtag")
    assert (waiting.state, waiting.before, waiting.node) == (JobState.PENDING, JobState.PREEMPTED, "g1")
    assert waiting.words == "squeue: PENDING BeginTime; before that sacct: PREEMPTED g1"


def test_a_task_whose_node_failed_and_that_waits_again_says_so() -> None:
    sacct = "5_0|t|NODE_FAIL|1:0|g2|1G|\n5_0|t|PENDING|0:0|None assigned|1G|\n"
    assert fact("t|5|0|PENDING|BeginTime|", sacct).before is JobState.NODE_FAILED


def test_a_requeue_by_hand_is_neither() -> None:
    again = fact("reqtag|12|0|RUNNING|None|g2", REQUEUED, tag="reqtag")
    assert (again.state, again.before) == (JobState.RUNNING, JobState.PENDING)
    assert "before that sacct: REQUEUED g2" in again.words


def test_how_it_ended_is_sacct_s_to_say() -> None:
    squeue = "memtag|14|0|FAILED|NonZeroExitCode|g3"
    assert fact(squeue, KILLED, tag="memtag").words.startswith("sacct: ")
    early = fact(squeue, "14_0|memtag|RUNNING|0:0|g3|100M|", tag="memtag")
    assert (early.state, early.words, early.node) == (JobState.FAILED, "squeue: FAILED NonZeroExitCode", "g3")


def test_nothing_said_is_no_fact() -> None:
    assert said("", "") is None
    assert said(None, None) is None


@pytest.mark.parametrize("word", ["PENDING", "RUNNING"])
def test_what_squeue_does_not_list_is_lost_once_the_lag_is_over(word: str) -> None:
    sacct = f"9_0|t|{word}|0:0|g1|1G|"
    new, old, unheard = fact("", sacct, age_s=LAG_S / 2), fact("", sacct, age_s=2 * LAG_S), fact(None, sacct)
    assert (new.state, new.is_live, new.is_lost) == (SLURM_STATES[word], True, False)
    assert (old.state, old.is_live, old.is_lost, old.node) == (JobState.UNKNOWN, False, True, "g1")
    assert (unheard.state, unheard.is_live, unheard.is_lost) == (SLURM_STATES[word], True, False)


def test_a_step_that_ran_out_of_memory_says_what_the_job_hides() -> None:
    fact = ended("FAILED", "1:0", step="OUT_OF_MEMORY")
    assert fact.state is JobState.OUT_OF_MEMORY
    assert "a step ran out of memory" in fact.words


def test_signal_9_with_more_memory_than_asked_for_is_out_of_memory() -> None:
    killed = fact("", KILLED, tag="memtag")
    assert (killed.state, killed.signal, killed.node) == (JobState.OUT_OF_MEMORY, 9, "g3")
    assert "185M of 100M memory used" in killed.words


def test_signal_9_alone_stays_a_failure_with_the_memory_that_was_used() -> None:
    killed = ended("FAILED", "0:9", used="13M")
    assert (killed.state, killed.signal, killed.memory) == (JobState.FAILED, 9, "13M of 100M memory used")


@pytest.mark.parametrize("asked", ["0", "?", "", "16E"])
def test_where_no_memory_was_asked_for_none_was_exceeded(asked: str) -> None:
    """`sacct` writes 0 for --mem=0, and where the site does not track memory."""
    killed = ended("FAILED", "0:9", asked=asked, used="13M")
    assert (killed.state, killed.memory, killed.words) == (JobState.FAILED, "", "sacct: FAILED 0:9 g1")


def test_more_memory_than_asked_for_without_a_kill_is_no_reason() -> None:
    assert ended("FAILED", "1:0", used="500M").state is JobState.FAILED


def test_a_time_limit_stays_one_although_its_steps_were_killed() -> None:
    assert fact("", TIME_LIMIT, tag="limtag").state is JobState.TIMED_OUT


@pytest.mark.parametrize(("user_id", "name"), [(os.getuid(), pwd.getpwuid(os.getuid()).pw_name), (4_000_000_123, None)])
def test_who_cancelled_is_named_where_this_machine_knows(user_id: int, name: str | None) -> None:
    fact = ended(f"CANCELLED by {user_id}")
    assert fact.state is JobState.CANCELLED
    assert f"CANCELLED by {user_id}" in fact.words
    assert (f"({name})" in fact.words) is (name is not None)


def test_a_task_that_somebody_cancelled_is_not_out_of_memory() -> None:
    assert ended("CANCELLED by 1000", "0:9", used="500M", step="CANCELLED by 1000").state is JobState.CANCELLED


@pytest.mark.parametrize(
    ("codes", "signal"),
    [(["0:9"], 9), (["9:0", "9:0", "0:9"], 9), (["137:0"], 9), (["143:0"], 15), (["1:0", "0:0"], None), (["75:0"], None),
     ([], None), (["192:0"], 64), (["193:0"], None), (["255:0"], None), (["128:0"], None), (["?"], None), ([""], None)],
)  # fmt: skip
def test_the_signal_is_read_from_either_half(codes: list[str], signal: int | None) -> None:
    assert killed_by(codes) == signal


def test_no_word_of_slurm_means_success_but_completed() -> None:
    assert [word for word, state in SLURM_STATES.items() if state is JobState.SUCCEEDED] == ["COMPLETED"]


@pytest.mark.parametrize(("word", "state"), SLURM_STATES.items())
def test_every_word_gives_its_state_by_either(word: str, state: JobState) -> None:
    assert fact(f"t|9|0|{word}|None|g1", "").state is state
    assert fact(f"t|9|0|{word}|None|g1", None).state is state
    assert fact("", f"9_0|t|{word}|0:0|g1|1G|", age_s=0).state is state


@pytest.mark.parametrize("sacct", ["", None, "9_0|t|FAILED|1:0|g1|1G|", "9_0|t|DANCING|0:0|g1|1G|"])
def test_what_squeue_lists_under_a_word_that_we_do_not_know_has_not_ended(sacct: str | None) -> None:
    found = fact("t|9|0|DANCING|None|g1", sacct)
    assert (found.state, found.is_live, found.node) == (JobState.PENDING, True, "g1")
    assert found.words.startswith("squeue: DANCING")


def test_what_sacct_alone_calls_by_a_word_that_we_do_not_know_is_unknown() -> None:
    assert fact("", "9_0|t|DANCING|0:0|g1|1G|").state is JobState.UNKNOWN


@pytest.mark.parametrize("word", ["PREEMPTED", "NODE_FAIL", "BOOT_FAIL"])
def test_what_slurm_takes_back_has_not_ended_while_squeue_is_silent(word: str) -> None:
    """It may wait or run again, where sacct has not caught up."""
    assert said(None, f"9_0|t|{word}|0:0|g1|1G|") is None
    assert fact("", f"9_0|t|{word}|0:0|g1|1G|").state is SLURM_STATES[word]


@pytest.mark.parametrize("word", ["FAILED", "TIMEOUT", "OUT_OF_MEMORY", "CANCELLED by 0", "COMPLETED"])
def test_any_other_end_is_one_whoever_is_silent(word: str) -> None:
    assert fact(None, f"9_0|t|{word}|0:0|g1|1G|").state is SLURM_STATES[word.partition(" ")[0]]
