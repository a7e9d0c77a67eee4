"""Being asked to stop: the handler only sets a flag, and training saves and ends at its next step boundary."""

import os
import signal
import time
from dataclasses import dataclass
from types import FrameType
from typing import Any, Self

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR2)
"""What Slurm sends before a time limit, at preemption and at scancel."""

EARLY_S = 60.0
"""So much earlier than asked for Slurm may send its warning."""
SLACK_S = 10.0


@dataclass(frozen=True)
class TimeLimit:
    """When the batch system will end this process, as far as it can be known."""

    end: float
    """Seconds since 1970."""
    warning_s: float
    """The warning that was asked for."""

    def explains(self, moment: float) -> bool:
        """Whether a signal at this moment can be the warning before the limit."""
        return moment >= self.end - self.warning_s - EARLY_S - SLACK_S


class StopFlag:
    """Inside its `with`, set once one of `STOP_SIGNALS` has come to the process that made it; forked children ignore them."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._earlier: dict[signal.Signals, Any] = {}
        self.signal: signal.Signals | None = None
        """The first that came."""
        self.moment = 0.0
        """When it came, in seconds since 1970."""

    def __enter__(self) -> Self:
        self._earlier = {number: signal.signal(number, self._note) for number in STOP_SIGNALS}
        os.register_at_fork(after_in_child=self._forget)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._earlier = {}

    def __call__(self) -> bool:
        """Whether to stop."""
        return self.signal is not None

    def reason(self, limit: TimeLimit | None) -> str:
        """What the signal means: the time limit, where it can be that, or its own name."""
        if limit is not None and limit.explains(self.moment):
            return "time limit"
        return "nothing" if self.signal is None else self.signal.name

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() == self._pid and self.signal is None:
            self.signal, self.moment = signal.Signals(number), time.time()

    def _forget(self) -> None:
        """In a forked data worker: the warning is for its parent, and to be ended is to end."""
        if self._earlier:
            signal.signal(signal.SIGUSR2, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
