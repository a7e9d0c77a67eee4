"""Being asked to stop: the handler only sets a flag, and training saves and ends at its next step boundary."""

import os
import signal
from types import FrameType
from typing import Any, Self

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR2)
"""What Slurm sends before a time limit, at preemption and at scancel."""


class StopFlag:
    """Inside its `with`, set once one of `STOP_SIGNALS` has come to the process that made it; forked children ignore them."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._is_set = False
        self._earlier: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._earlier = {number: signal.signal(number, self._note) for number in STOP_SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)

    def __call__(self) -> bool:
        """Whether to stop."""
        return self._is_set

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() == self._pid:
            self._is_set = True
