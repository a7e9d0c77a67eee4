"""The heartbeat tells of progress and of nothing else; silence is stuck only beside what steps took, and never in a hurry."""

import errno
import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fly64_hpc.heartbeat import (
    PATIENT_FLOOR_S,
    STEP_FLOOR_S,
    Heartbeat,
    Pulse,
    is_stuck,
    longest_rest_s,
    read_heartbeat,
    silence_s,
)
from fly64_hpc.job_record import now_utc


def beat(**fields: Any) -> Heartbeat:
    return Heartbeat(**({"attempt": 1, "time_utc": now_utc(), "phase": "training", "longest_silence_s": 1.0} | fields))


def step(number: int, lesson: str = "network") -> dict[str, Any]:
    event = {"event": "step", "lesson": lesson, "step": number, "first_step": 0, "epoch": 0}
    return event | {"lesson_end_step": 40, "total_steps": 60}


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_steps_give_their_mean_and_the_longest_silence(tmp_path: Path, clock: Clock) -> None:
    pulse = Pulse(tmp_path / "heartbeat.json", 3)
    for number, wait_s in ((1, 50.0), (2, 2.0), (3, 8.0), (4, 5.0)):
        clock.now += wait_s
        pulse.note(step(number))
    found = read_heartbeat(tmp_path / "heartbeat.json")
    assert found is not None
    assert (found.attempt, found.phase, found.step, found.step_s, found.longest_silence_s) == (3, "training", 4, 5.0, 8.0)


def test_the_file_is_written_seldom_but_at_each_change_of_phase(tmp_path: Path, clock: Clock) -> None:
    file = tmp_path / "heartbeat.json"
    pulse = Pulse(file, 1)
    pulse.note(step(1))
    clock.now += 1
    pulse.note(step(2))
    assert json.loads(file.read_text())["step"] == 1
    pulse.note({"event": "lesson", "lesson": "refiner"})
    assert (json.loads(file.read_text())["step"], json.loads(file.read_text())["phase"]) == (2, "preparing")
    pulse.note({"event": "evaluating"})
    assert json.loads(file.read_text())["phase"] == "evaluating"


def test_a_new_lesson_has_a_mean_of_its_own(tmp_path: Path, clock: Clock) -> None:
    file = tmp_path / "heartbeat.json"
    pulse = Pulse(file, 1)
    for number in (1, 2):
        clock.now += 100
        pulse.note(step(number))
    clock.now += 6
    pulse.note(step(3, "refiner"))
    found = read_heartbeat(file)
    assert found is not None
    assert (found.lesson, found.step_s, found.longest_silence_s) == ("refiner", None, None)


def test_a_solver_s_passes_are_its_steps(tmp_path: Path, clock: Clock) -> None:
    pulse = Pulse(tmp_path / "heartbeat.json", 1)
    for epoch in (5, 10):
        clock.now += 10
        pulse.note({"event": "epoch", "epoch": epoch, "epochs": 100})
    found = read_heartbeat(tmp_path / "heartbeat.json")
    assert found is not None
    assert (found.phase, found.step, found.total_steps, found.step_s) == ("solving", 10, 100, 2.0)


def test_a_full_disk_costs_the_heartbeat_and_not_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    Pulse(tmp_path / "heartbeat.json", 1).note(step(1))
    assert read_heartbeat(tmp_path / "heartbeat.json") is None


@given(st.floats(0, STEP_FLOOR_S), st.one_of(st.none(), st.floats(0, 1e4)))
def test_below_the_floor_nothing_is_stuck(silence: float, longest: float | None) -> None:
    assert not is_stuck(beat(longest_silence_s=longest), silence)


@given(st.sampled_from(["preparing", "evaluating", "solving"]), st.floats(0, PATIENT_FLOOR_S))
def test_phases_of_unknown_length_and_the_first_step_have_patience(phase: str, silence: float) -> None:
    assert not is_stuck(beat(phase=phase), silence)
    assert not is_stuck(beat(longest_silence_s=None), silence)
    assert not is_stuck(None, silence)


@given(st.floats(0, 1e5), st.floats(0, 1e5))
def test_slow_steps_may_be_silent_for_longer(one: float, other: float) -> None:
    slow, quick = max(one, other), min(one, other)
    assert longest_rest_s(beat(longest_silence_s=slow)) >= longest_rest_s(beat(longest_silence_s=quick)) >= 19 * quick


def test_a_quick_training_that_is_silent_for_a_quarter_of_an_hour_is_stuck() -> None:
    assert is_stuck(beat(longest_silence_s=0.8), 840)
    assert not is_stuck(beat(longest_silence_s=120), 840)


@pytest.mark.parametrize("by_node_s", [-3600, 3600])
def test_a_clock_that_is_wrong_makes_no_job_stuck(tmp_path: Path, by_node_s: float) -> None:
    file, now = tmp_path / "heartbeat.json", datetime.now(UTC)
    made = beat(time_utc=(now + timedelta(seconds=by_node_s)).isoformat(timespec="milliseconds").replace("+00:00", "Z"))
    made.write(file)
    assert silence_s(made, file, now_utc(), now_utc()) < 60
    old = time.time() - 900
    os.utime(file, (old, old))
    assert silence_s(beat(time_utc="2020-01-01T00:00:00.000Z"), file, now_utc(), now_utc()) == pytest.approx(900, abs=60)


@pytest.mark.parametrize("text", ["", "{}", '{"attempt": 1', "[]", '{"attempt": 1, "time_utc": "now", "phase": "training"}'])
def test_a_damaged_heartbeat_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "heartbeat.json").write_text(text)
    assert read_heartbeat(tmp_path / "heartbeat.json") is None
