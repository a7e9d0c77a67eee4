"""history.jsonl as others read it: while it is being written, too."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from fly64_hpc.job_paths import JobPaths

LATER_LESSONS = ("refiner",)
"""What learns after the network."""


class HistoryEnd(NamedTuple):
    """How far a training has come."""

    last: Mapping[str, Any] | None = None
    """The last whole line of its history; None where there is none."""
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
    later = [float(row["seconds"]) for row in rows if row.get("lesson") in LATER_LESSONS and "seconds" in row]
    return HistoryEnd(rows[-1] if rows else None, sum(later) if later else None)


def last_epoch(paths: JobPaths) -> dict[str, Any] | None:
    """The last whole line of a job's history."""
    rows = epochs_so_far(paths)
    return rows[-1] if rows else None


def training_seconds(paths: JobPaths) -> float | None:
    """The seconds of all training steps, whatever attempts made them; validation, start-up and evaluation are not among them."""
    rows = epochs_so_far(paths)
    return float(sum(row["seconds"] for row in rows)) if rows else None


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:  # being written at this moment
        return None
