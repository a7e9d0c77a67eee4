"""Two ways of doing the same, taken in turn, so that a machine that others use too is as slow for one as for the other."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median


@dataclass
class Pairs:
    """Seconds of both, run by run."""

    ours_s: list[float] = field(default_factory=list)
    reference_s: list[float] = field(default_factory=list)

    @property
    def speed_ratios(self) -> list[float]:
        """How many times as fast as the reference ours is, run by run."""
        return [reference / ours for ours, reference in zip(self.ours_s, self.reference_s, strict=True)]

    @property
    def speed_ratio(self) -> float:
        """The median of them."""
        return median(self.speed_ratios)


def alternated(ours: Callable[[], object], reference: Callable[[], object], runs: int) -> Pairs:
    """Run both once to warm up, then in turn."""
    ours()
    reference()
    pairs = Pairs()
    for _ in range(runs):
        pairs.ours_s.append(seconds(ours))
        pairs.reference_s.append(seconds(reference))
    return pairs


def seconds(work: Callable[[], object]) -> float:
    """How long a call takes, by the wall."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
