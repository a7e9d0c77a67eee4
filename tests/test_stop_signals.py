"""Being asked to stop: a flag for one process, nothing for its children, and what the signal meant."""

import os
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fly64_hpc.stop_signals import EARLY_S, SLACK_S, STOP_SIGNALS, StopFlag, TimeLimit

FORKED = """
import os, signal, sys
from fly64_hpc.stop_signals import StopFlag
number = getattr(signal, sys.argv[1])
if len(sys.argv) > 2:
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
with StopFlag() as stop:
    child = os.fork()
    if child == 0:
        os.kill(os.getpid(), number)
        os._exit(10 + stop())
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), stop())
"""


def fork(*arguments: str) -> list[str]:
    """How a forked child ended that got a signal, and whether its parent took notice."""
    command = [sys.executable, "-c", FORKED, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split()


def raised(number: signal.Signals) -> StopFlag:
    with StopFlag() as stop:
        signal.raise_signal(number)
        return stop


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_the_first_signal_sets_the_flag_with_its_name_and_moment(number: signal.Signals) -> None:
    with StopFlag() as stop:
        assert not stop()
        before = time.time()
        os.kill(os.getpid(), number)
        assert stop()
        for later in STOP_SIGNALS:
            signal.raise_signal(later)
    assert before <= stop.moment <= time.time()
    assert (stop.signal, stop.reason(None)) == (number, number.name)


def test_no_signal_no_flag_and_no_reason_even_near_a_limit() -> None:
    with StopFlag() as stop:
        pass
    assert not stop()
    assert stop.reason(None) == stop.reason(TimeLimit(end=time.time(), warning_s=60)) == "nothing"


@pytest.mark.parametrize("earlier", [signal.SIG_IGN, signal.SIG_DFL, lambda *_: None])
def test_the_handlers_of_before_come_back_also_after_an_error(earlier: signal.Handlers) -> None:
    kept = {number: signal.signal(number, earlier) for number in STOP_SIGNALS}
    try:
        with pytest.raises(ValueError, match="on purpose"), StopFlag():
            raise ValueError("on purpose")
        assert [signal.getsignal(number) for number in STOP_SIGNALS] == [earlier] * 2
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def test_a_warning_that_a_forked_child_gets_neither_ends_it_nor_reaches_its_parent() -> None:
    assert fork("SIGUSR2") == ["10", "False"]
    assert fork("SIGUSR2", "ignored before") == ["10", "False"]


def test_a_forked_child_that_is_to_end_ends_and_its_parent_goes_on() -> None:
    assert fork("SIGTERM") == [str(-signal.SIGTERM), "False"]


def test_a_child_forked_afterwards_is_left_alone() -> None:
    code = FORKED.replace("    child = os.fork()", "    pass\nif True:\n    child = os.fork()")
    answer = subprocess.run([sys.executable, "-c", code, "SIGUSR2"], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.split() == [str(-signal.SIGUSR2), "False"]


@given(st.floats(-1e4, 1e4), st.floats(1, 1000))
def test_a_limit_explains_the_warning_that_was_asked_for_and_one_a_minute_earlier(after_s: float, warning_s: float) -> None:
    limit = TimeLimit(end=1e6, warning_s=warning_s)
    earliest = limit.end - warning_s - EARLY_S
    assert limit.explains(earliest + abs(after_s))
    assert not limit.explains(earliest - SLACK_S - 1 - abs(after_s))


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_near_its_limit_a_signal_means_the_limit_and_else_itself(number: signal.Signals) -> None:
    stop = raised(number)
    assert stop.reason(TimeLimit(end=stop.moment + 100, warning_s=60)) == "time limit"
    assert stop.reason(TimeLimit(end=stop.moment + 1000, warning_s=60)) == number.name
