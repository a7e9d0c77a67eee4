"""Durations and moments as Slurm's commands print them."""

import re
from datetime import UTC, datetime
from functools import lru_cache

_DURATION = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)")


@lru_cache  # thousands of jobs have the same limit
def duration_s(text: str) -> int | None:
    """Seconds of `1-02:00:00`, `2:00:00` or `30:00`; None for `UNLIMITED`, `N/A`, `INVALID` and whatever else is no duration."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        return None
    days, hours, minutes, seconds = (int(number or 0) for number in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


@lru_cache  # of most jobs that wait it is `N/A`
def moment_utc(text: str) -> str | None:
    """A moment of this machine's time zone, `2026-11-28T20:00:00`, as records have it; None for what is none, as `N/A`."""
    try:
        local = datetime.fromisoformat(text.strip()).astimezone()
    except (ValueError, OverflowError):
        return None
    return local.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
