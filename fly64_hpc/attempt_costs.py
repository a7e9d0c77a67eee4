"""What the attempts at a job took, and what of it was lost.

used    the time of every attempt; one whose end nobody recorded counts until its last heartbeat
lost    of that, what no later attempt went on from and no checkpoint holds: of an attempt that did not succeed, the share of its
        steps after the step at which the next one began, or, where none has, after its last checkpoint
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fly64_hpc.checkpoint_index import last_step
from fly64_hpc.heartbeat import Heartbeat
from fly64_hpc.job_paths import JobPaths
from fly64_hpc.job_record import AttemptRecord, seconds_between


class Spent(NamedTuple):
    """What attempts took."""

    hours: float = 0.0
    """With a GPU or without."""
    lost_hours: float = 0.0
    gpu_h: float = 0.0
    lost_gpu_h: float = 0.0

    @classmethod
    def total(cls, several: Iterable["Spent"]) -> "Spent":
        """What all of them took."""
        return cls(*map(math.fsum, zip(*several, strict=True)))


def spent_by_attempt(
    paths: JobPaths, records: Sequence[AttemptRecord], beats: Mapping[int, Heartbeat | None], *, is_at_work: bool
) -> list[tuple[AttemptRecord, Spent]]:
    """What each attempt at a job took.

    Parameters
    ----------
    records
        Oldest first.
    beats
        By the number of an attempt its last sign of progress, of those that did not succeed.
    is_at_work
        Whether the newest, where it has not ended, still runs: then it has lost nothing.
    """
    attempts = [_Attempt(one, beats.get(one.attempt)) for one in records]
    shares = [_kept_share(paths, attempts[number:], is_at_work=is_at_work) for number in range(len(attempts))]
    return [(one.record, _spent(one, kept)) for one, kept in zip(attempts, shares, strict=True)]


@dataclass(frozen=True)
class _Attempt:
    record: AttemptRecord
    beat: Heartbeat | None

    @property
    def hours(self) -> float:
        """Until its end, or its last sign of life."""
        end_utc = self.record.ended_utc or (self.beat.time_utc if self.beat else self.record.started_utc)
        return max(0.0, seconds_between(self.record.started_utc, end_utc)) / 3600

    @property
    def first_step(self) -> int | None:
        """Where it began, where it has come so far as to say so."""
        if self.record.first_step is not None:
            return self.record.first_step
        return self.beat.first_step if self.beat is not None and self.beat.step else None

    @property
    def last_step(self) -> int:
        known = (self.record.step, self.beat.step if self.beat else None)
        return max((step for step in known if step is not None), default=0)


def _spent(attempt: _Attempt, kept: float) -> Spent:
    hours, gpus = attempt.hours, attempt.record.scheduler.gpus
    lost = hours * (1.0 - kept)
    return Spent(hours, lost, gpus * hours, gpus * lost)


def _kept_share(paths: JobPaths, attempts: Sequence[_Attempt], *, is_at_work: bool) -> float:
    """Of the first of these attempts, by what those after it went on from."""
    attempt, *later = attempts
    runs = attempt.record.state == "running" and is_at_work and not later
    if attempt.record.state == "succeeded" or runs:
        return 1.0
    begun = [one.first_step for one in later if one.first_step is not None]
    reached = begun[0] if begun else last_step(paths, attempt.record.attempt)
    first = attempt.first_step or 0
    steps = max(attempt.last_step, reached) - first
    return max(0, reached - first) / steps if steps > 0 else 0.0
