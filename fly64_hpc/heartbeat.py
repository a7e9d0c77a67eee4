"""heartbeat.json: what the node's training process says of its progress, and the law by which silence means that it is stuck.

It is written from what the trainer itself reports, in the trainer's own thread: a process that is alive and does nothing says
nothing.
"""

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from fly64_hpc.job_record import Record, Time, now_utc, seconds_between

PERIOD_S = 5.0
"""The file is written at most so often, but for a change of phase."""
STEP_FLOOR_S = 300.0
"""Between two steps: validation, saving and a file system that is slow for a moment take less."""
PATIENT_FLOOR_S = 1800.0
"""Where nobody knows how long it takes: starting, making what a later lesson learns from, evaluating, a solver's passes."""
SILENCE_FACTOR = 20.0
"""Times the longest silence so far."""

Phase = Literal["preparing", "training", "evaluating", "solving"]
_PHASES: dict[str, Phase] = {"lesson": "preparing", "step": "training", "evaluating": "evaluating"}


class Heartbeat(Record):
    """The last sign of progress of one attempt."""

    attempt: int
    time_utc: Time
    phase: Phase
    """What it does since then."""
    lesson: str | None = None
    step: int = 0
    """Steps done over all attempts; a solver's passes."""
    first_step: int = 0
    """Where this attempt began."""
    lesson_end_step: int | None = None
    total_steps: int | None = None
    epoch: int = 0
    """Epochs completed."""
    step_s: float | None = None
    """Mean seconds from one step to the next in this attempt's lesson, validation and saving included; null before the second."""
    longest_silence_s: float | None = None
    """The longest time between two signs of progress in this attempt's lesson."""


class Pulse:
    """Writes an attempt's heartbeat from what its trainer reports; nobody else writes that file."""

    def __init__(self, file: Path, attempt: int) -> None:
        self._file = file
        self._beat = Heartbeat(attempt=attempt, time_utc=now_utc(), phase="preparing")
        self._written_at = -PERIOD_S
        self._since: tuple[float, int] | None = None
        """The moment and the step from which the mean is taken: the first step of the lesson in this attempt."""
        self._last_at = 0.0

    def note(self, event: dict[str, Any]) -> None:
        """Take in one report of the trainer; a disk that is full costs the heartbeat and not the training."""
        before, now = self._beat, time.monotonic()
        if event["event"] == "step":
            self._note_step(event, now)
        elif event["event"] == "epoch" and "train_loss" not in event:
            self._note_step({"step": event["epoch"], "total_steps": event["epochs"], "epoch": event["epoch"]}, now, "solving")
        elif event["event"] in _PHASES:
            self._beat = before.model_copy(update={"phase": _PHASES[event["event"]]})
        if self._beat.phase != before.phase or now - self._written_at >= PERIOD_S:
            self._written_at = now
            with suppress(OSError):
                self._beat.model_copy(update={"time_utc": now_utc()}).write(self._file)

    def _note_step(self, event: dict[str, Any], now: float, phase: Phase = "training") -> None:
        told: dict[str, Any] = {name: event[name] for name in Heartbeat.model_fields if name in event}
        if self._since is None or told.get("lesson") != self._beat.lesson:
            self._since = now, event["step"]
            told |= {"step_s": None, "longest_silence_s": None}
        else:
            began, first = self._since
            told["step_s"] = (now - began) / max(1, event["step"] - first)
            told["longest_silence_s"] = max(self._beat.longest_silence_s or 0.0, now - self._last_at)
        self._last_at = now
        self._beat = self._beat.model_copy(update=told | {"phase": phase})


def read_heartbeat(file: Path | str) -> Heartbeat | None:
    """An attempt's heartbeat; None where it has left none that can be read."""
    try:
        with open(file, "rb", buffering=0) as content:  # noqa: PTH123  # paths of thousands of jobs are text
            return Heartbeat.model_validate_json(content.read())
    except (OSError, ValidationError):
        return None


def silence_s(beat: Heartbeat | None, file: Path | str, started_utc: str, now: str) -> float:
    """Seconds since an attempt's last sign of progress, or since its start.

    Two clocks tell: the node's in the file, and that of the file's server. The one that tells of the shorter silence is believed,
    so that a clock that is wrong makes no job stuck.
    """
    if beat is None:
        return max(0.0, seconds_between(started_utc, now))
    try:
        by_server = time.time() - os.stat(file).st_mtime  # noqa: PTH116
    except OSError:
        by_server = float("inf")
    return max(0.0, min(seconds_between(beat.time_utc, now), by_server))


def longest_rest_s(beat: Heartbeat | None) -> float:
    """How long an attempt may be silent before it counts as stuck."""
    known_s = None if beat is None else beat.longest_silence_s
    is_stepping = beat is not None and beat.phase == "training" and known_s is not None
    return max(STEP_FLOOR_S if is_stepping else PATIENT_FLOOR_S, SILENCE_FACTOR * (known_s or 0.0))


def is_stuck(beat: Heartbeat | None, silence: float) -> bool:
    """Whether an attempt that runs makes no progress, after a silence of so many seconds."""
    return silence > longest_rest_s(beat)
