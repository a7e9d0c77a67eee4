"""What squeue and sacct print, read."""

from hypothesis import given
from hypothesis import strategies as st

from fly64_hpc.job_state import SLURM_STATES, JobState
from fly64_hpc.slurm_states import parse_rows

indices = st.lists(st.integers(0, 200), min_size=1, max_size=20, unique=True).map(sorted)


def test_one_task_a_line_and_a_reason() -> None:
    facts = parse_rows("12_0|RUNNING|None\n12_1|PENDING|Resources\n", "squeue")
    assert facts["12", 0].state is JobState.RUNNING
    assert facts["12", 1].words == "squeue: PENDING Resources"


@given(indices)
def test_a_bracket_stands_for_its_tasks(tasks: list[int]) -> None:
    facts = parse_rows(f"7_[{','.join(map(str, tasks))}%3]|PENDING|Priority", "squeue")
    assert sorted(index for _, index in facts) == tasks


def test_ranges_are_whole() -> None:
    assert sorted(parse_rows("7_[0-2,5]|PENDING|Priority", "squeue")) == [("7", 0), ("7", 1), ("7", 2), ("7", 5)]


def test_cancelled_by_somebody_is_cancelled_by_prefix() -> None:
    fact = parse_rows("9_4|CANCELLED by 1000|0:0|n1", "sacct")["9", 4]
    assert fact.state is JobState.CANCELLED
    assert "by 1000" in fact.words


def test_a_state_that_we_do_not_know_is_unknown() -> None:
    assert parse_rows("9_4|DANCING|0:0|n1", "sacct")["9", 4].state is JobState.UNKNOWN


@given(st.text())
def test_noise_is_no_fact_and_no_error(noise: str) -> None:
    assert all(isinstance(index, int) for _, index in parse_rows(noise, "squeue"))


def test_no_word_of_slurm_means_success_but_completed() -> None:
    assert [word for word, state in SLURM_STATES.items() if state is JobState.SUCCEEDED] == ["COMPLETED"]
