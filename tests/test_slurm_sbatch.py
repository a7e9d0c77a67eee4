"""What an answer of sbatch means: taken, no room now, refused, or left open; and that its words are kept."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_slurm import ScriptedSlurm

from fly64_hpc.slurm.calls import Answer, SlurmCalls
from fly64_hpc.slurm.sbatch import SBATCH_TIMEOUT_S, Verdict, call_sbatch, read_answer

FAILED = "sbatch: error: Batch job submission failed: "
POLICY = FAILED + "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
BANNER = st.text(alphabet=st.characters(exclude_categories=["Nd", "C"])).map(lambda text: f"{text}.")


def refusal(words: str) -> Answer:
    return Answer(1, "", words)


@given(st.integers(1, 10**9), st.sampled_from(["", ";cluster", ";gpu-2"]), BANNER, BANNER)
def test_the_id_is_told_from_what_a_site_prints_around_it(number: int, cluster: str, before: str, after: str) -> None:
    answer = read_answer(Answer(0, f"{before}\n  {number}{cluster} \n{after}\n", ""))
    assert (answer.verdict, answer.job_id) == (Verdict.TAKEN, str(number))


def test_a_number_in_a_sentence_is_no_id() -> None:
    assert read_answer(Answer(0, "Your previous job 42 is done.\n123\n", "")).job_id == "123"


@pytest.mark.parametrize("out", ["", "\n", "41\n42\n", "Submitted batch job 42", "something, somehow"])
def test_none_or_two_numbers_are_left_open_with_the_words(out: str) -> None:
    answer = read_answer(Answer(0, out, ""))
    assert (answer.verdict, answer.job_id) == (Verdict.LEFT_OPEN, None)
    assert out.strip() in answer.words.encode().decode("unicode_escape")


@pytest.mark.parametrize(
    "words",
    [f"sbatch: error: QOSMaxSubmitJobPerUserLimit\n{POLICY}",
     f"sbatch: error: AssocMaxSubmitJobLimit\n{POLICY}",
     f"sbatch: error: AssocGrpSubmitJobsLimit\n{POLICY}",
     f"sbatch: error: QOSGrpSubmitJobsLimit\n{POLICY}",
     f"sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying\n{FAILED}Resource temporarily unavailable"],
)  # fmt: skip
def test_a_limit_on_how_many_may_wait_is_no_room(words: str) -> None:
    assert read_answer(refusal(words)).verdict is Verdict.NO_ROOM


@pytest.mark.parametrize(
    "words",
    ["invalid partition specified: moon", "Invalid account or account/partition combination specified",
     "Requested node configuration is not available", "Invalid qos specification", "Invalid job array specification",
     "Requested time limit is invalid (missing or exceeds some limit)", "Job dependency problem",
     "Memory specification can not be satisfied", "Access/permission denied", "Invalid generic resource (gres) specification"],
)  # fmt: skip
def test_a_request_that_will_never_do_is_refused_in_sbatch_s_own_words(words: str) -> None:
    answer = read_answer(refusal(FAILED + words))
    assert (answer.verdict, answer.job_id) == (Verdict.REFUSED, None)
    assert words in answer.words


@pytest.mark.parametrize(
    "words",
    ["Socket timed out on send/recv operation", "Unable to contact slurm controller (connect failure)",
     "Zero Bytes were transmitted or received", "Connection refused", "Connection reset by peer",
     "Communication connection failure", "Transport endpoint is not connected",
     "Message receive failure", "Slurm backup controller in standby mode"],
)  # fmt: skip
def test_a_broken_connection_leaves_it_open(words: str) -> None:
    answer = read_answer(refusal(FAILED + words))
    assert answer.verdict is Verdict.LEFT_OPEN
    assert words in answer.words


def test_no_answer_at_all_leaves_it_open() -> None:
    answer = read_answer(Answer(None, "", "sbatch did not answer within 90 s"))
    assert (answer.verdict, answer.words) == (Verdict.LEFT_OPEN, "sbatch did not answer within 90 s")


def test_a_warning_besides_the_id_changes_nothing() -> None:
    assert read_answer(Answer(0, "123\n", "sbatch: warning: you are near your limit: MaxSubmit")).job_id == "123"


def test_of_many_lines_the_errors_are_the_words() -> None:
    assert read_answer(refusal("sbatch: lua: hello\nsbatch: error: no such account\n")).words == "sbatch: error: no such account"
    assert "exit code 1" in read_answer(refusal("")).words


def test_sbatch_is_asked_for_the_bare_id() -> None:
    slurm = ScriptedSlurm(answers={"sbatch": "7"})
    assert call_sbatch(slurm, ["--job-name=t", "s.sh"]).job_id == "7"
    assert slurm.asked == [("sbatch", "--parsable", "--job-name=t", "s.sh")]
    assert slurm.defaults == [()]


def test_of_the_user_s_variables_sbatch_sees_the_named_ones_only(tmp_path: Path) -> None:
    """They beat what a script says."""
    program = tmp_path / "sbatch"
    program.write_text(f'#!/bin/sh\necho "p=$SBATCH_PARTITION q=$SBATCH_QOS w=$SBATCH_WAIT" >> {tmp_path}/seen\necho 7\n')
    program.chmod(0o755)
    mine = {"PATH": str(tmp_path), "SBATCH_PARTITION": "debug", "SBATCH_QOS": "high", "SBATCH_WAIT": "1"}
    for defaults in ((), ("SBATCH_PARTITION",), ("SBATCH_PARTITION", "SBATCH_QOS")):
        assert call_sbatch(SlurmCalls(environment=mine), ["s.sh"], defaults=defaults).job_id == "7"
    assert (tmp_path / "seen").read_text().splitlines() == ["p= q= w=", "p=debug q= w=", "p=debug q=high w="]


def test_sbatch_may_come_to_the_end_of_its_own_tries() -> None:
    """With a full queue it tries 15 times, with pauses of 1, 2 ... 15 s, before it says that there is no room."""
    assert sum(range(1, 16)) < SBATCH_TIMEOUT_S
