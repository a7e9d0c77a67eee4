"""Requests to the batch system: Slurm's times, and names that look like numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fly64_hpc.resources import Resources, time_limit_min


@given(days=st.integers(0, 30), hours=st.integers(0, 23), minutes=st.integers(0, 59), seconds=st.integers(0, 59))
def test_a_written_time_is_read_back_rounded_up(days: int, hours: int, minutes: int, seconds: int) -> None:
    total_min = days * 1440 + hours * 60 + minutes + (seconds > 0)
    if total_min:
        assert time_limit_min(f"{days}-{hours:02d}:{minutes:02d}:{seconds:02d}") == total_min


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("04:00:00", 240), ("4:00:00", 240), ("10:00", 10), ("90", 90), (90, 90),
     ("1-12", 2160), ("1-12:30", 2190), ("4h", 240), ("90m", 90), ("1.5h", 90), ("2d", 2880), ("0:30", 1)],
)  # fmt: skip
def test_every_form_of_a_time_limit(text: object, minutes: int) -> None:
    assert time_limit_min(text) == minutes


@pytest.mark.parametrize("text", ["", "soon", "-5", "0", "4 hours", "1:2:3:4", "00:00:00"])
def test_what_is_no_time_limit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no time limit"):
        time_limit_min(text)


def test_an_account_of_digits_is_text() -> None:
    assert Resources.model_validate({"account": 1234, "mem": 4000}).account == "1234"


@pytest.mark.parametrize(
    ("field", "value"), [("partition", "a b"), ("mem", "lots"), ("setup", ["a\nb"]), ("gpus_per_node", -1), ("tome", 1)]
)
def test_what_would_break_a_script_is_refused(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=field):
        Resources.model_validate({field: value})
