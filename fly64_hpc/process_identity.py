"""Which process is meant: a pid alone is used again, a pid with its start time is not."""

import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ProcessIdentity:
    """One process on one boot of one host."""

    host: str
    pid: int
    boot_id: str
    start_ticks: int

    def as_dict(self) -> dict[str, Any]:
        """The identity as JSON has it."""
        return asdict(self)

    def is_alive(self) -> bool | None:
        """Whether the process runs; None where this host cannot know."""
        if self.host != socket.gethostname():
            return None
        if self.boot_id != _boot_id():
            return False
        return _start_ticks(self.pid) == self.start_ticks and _signalable(self.pid)


def this_process() -> ProcessIdentity:
    """The identity of the running process."""
    return process(os.getpid())


def process(pid: int) -> ProcessIdentity:
    """The identity of a process of this host."""
    return ProcessIdentity(socket.gethostname(), pid, _boot_id(), _start_ticks(pid))


def _boot_id() -> str:
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else ""


def _start_ticks(pid: int) -> int:
    """Start time in clock ticks since boot, field 22 of /proc/PID/stat; 0 where there is no such thing, -1 for a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return -1 if fields[0] == "Z" else int(fields[19])


def _signalable(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
