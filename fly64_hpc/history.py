"""history.jsonl as others read it: while it is being written, too."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

from fly64_hpc.job_paths import JobPaths

KindT = TypeVar("KindT")
LATER_LESSONS = ("refiner",)
"""What learns after the network."""


class LastEpoch(NamedTuple):
    """The last whole line of a history, as far as it is shown; what it does not have is None, and so is all of no line."""

    epoch: int = 0
    epochs: int | None = None
    """Of how many, as a solver's line has it."""
    lesson: str | None = None
    train_loss: float | None = None
    val_loss: float | None = None
    samples_per_s: float | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "LastEpoch":
        """From a line."""
        figures = (_figure(row.get(name)) for name in cls._fields[3:])
        epoch, epochs = (_only(int, row.get(name)) for name in ("epoch", "epochs"))
        return cls(epoch or 0, epochs, _only(str, row.get("lesson")), *figures)


class HistoryEnd(NamedTuple):
    """How far a training has come."""

    last: LastEpoch = LastEpoch()
    later_s: float | None = None
    """Seconds of the steps of its later lessons; None where it has not been through any."""


def epochs_so_far(paths: JobPaths) -> list[dict[str, Any]]:
    """The whole lines of a job's history."""
    try:
        lines = paths.history.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    try:
        rows = json.loads(f"[{','.join(lines)}]")  # several times as fast as a line at a time
    except ValueError:
        rows = [_parsed(line) for line in lines]
    return [row for row in rows if isinstance(row, dict)]


def history_end(paths: JobPaths) -> HistoryEnd:
    """What the whole lines of a job's history come to."""
    rows = epochs_so_far(paths)
    taken = [_figure(row.get("seconds")) for row in rows if row.get("lesson") in LATER_LESSONS]
    later = [seconds for seconds in taken if seconds is not None]
    return HistoryEnd(LastEpoch.of(rows[-1] if rows else {}), sum(later) if later else None)


def training_seconds(paths: JobPaths) -> float | None:
    """The seconds of all training steps, whatever attempts made them; validation, start-up and evaluation are not among them."""
    rows = epochs_so_far(paths)
    return float(sum(row["seconds"] for row in rows)) if rows else None


def _only(kind: type[KindT], value: Any) -> KindT | None:
    return value if isinstance(value, kind) else None


def _figure(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:  # being written at this moment
        return None
