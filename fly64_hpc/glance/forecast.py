"""How long a training still takes, beside what is left of its time limit. Pure."""

from dataclasses import dataclass

from fly64_hpc.heartbeat import Heartbeat


@dataclass(frozen=True)
class Forecast:
    """What is left, as far as it is known."""

    training_s: float | None = None
    """Of all steps; starting and evaluation are not among them."""
    is_whole: bool = True
    """Whether that is all; else a lesson is to follow of which nobody knows yet how long it takes."""
    limit_s: float | None = None
    """Of the time limit."""
    warning_s: float = 0.0
    """So long before the limit the training is asked to save and end."""

    @property
    def fits(self) -> bool | None:
        """Whether the training ends before it is asked to; None where that cannot be told."""
        if self.training_s is None or self.limit_s is None:
            return None
        too_long = self.training_s > max(0.0, self.limit_s - self.warning_s)
        return False if too_long else True if self.is_whole else None


def training_left_s(beat: Heartbeat, silence_s: float, later_s: float | None) -> tuple[float | None, bool]:
    """Seconds of training that are left after a silence of so many, and whether that is all.

    Parameters
    ----------
    later_s
        How long the lessons after the one under way take; None where nobody knows.
    """
    if beat.phase == "evaluating":
        return 0.0, True
    if beat.step_s is None or beat.total_steps is None:
        return None, False
    end = beat.lesson_end_step or beat.total_steps
    left_s = max(0.0, (end - beat.step) * beat.step_s - silence_s)
    if end >= beat.total_steps:
        return left_s, True
    return left_s + (later_s or 0.0), later_s is not None
