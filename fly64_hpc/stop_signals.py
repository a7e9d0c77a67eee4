"""Being asked to stop: the handler only sets a flag, and training saves and ends at its next step boundary."""

import os
import signal
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR2)
"""What Slurm sends before a time limit, at preemption and at scancel."""


class StopFlag:
    """Set once one of `STOP_SIGNALS` has come to the process that made it; forked children ignore them."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._signal: signal.Signals | None = None
        for number in STOP_SIGNALS:
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() == self._pid:
            self._signal = signal.Signals(number)

    def __call__(self) -> bool:
        """Whether to stop."""
        return self._signal is not None

    @property
    def words(self) -> str:
        """The signal's name."""
        return "no signal" if self._signal is None else self._signal.name
