"""Processes that outlive the program which started them, found again by their pid files.

A pid file holds the pid and the start time of its process (field 22 of /proc/PID/stat), so that a number which the
kernel has given to somebody else in the meantime is never killed.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from cluster_errors import ClusterError

_WRITE_PID_AND_BECOME = 'read -r stat </proc/$$/stat; set -f; echo $stat | cut -d" " -f1,22 >"$0"; exec "$@"'


def wait_until(what: str, condition: Callable[[], bool], timeout_s: float = 60) -> None:
    """Wait until something holds.

    Raises
    ------
    ClusterError
        It does not within `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise ClusterError(f"Not within {timeout_s:.0f} s: {what}.")
        time.sleep(0.1)


def start(command: Sequence[str], pid_file: Path, log: Path, environment: Mapping[str, str]) -> None:
    """Start a process that does not put itself into the background, in a session of its own, with init as its parent."""
    pid_file.unlink(missing_ok=True)
    with log.open("ab") as output:
        subprocess.run(
            ["setsid", "--fork", "sh", "-c", _WRITE_PID_AND_BECOME, str(pid_file), *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=log.parent,
            env=environment,
            check=True,
        )
    wait_until(f"{pid_file} is written", lambda: pid_file.exists() and bool(pid_file.read_text().strip()), timeout_s=10)


def alive(pid_file: Path) -> bool:
    """Whether the process of a pid file is alive."""
    return _pid(pid_file) is not None


def _pid(pid_file: Path) -> int | None:
    """The pid, where the process that was started still has it."""
    try:
        pid, started = (int(word) for word in pid_file.read_text().split())
    except (FileNotFoundError, ValueError):
        return None
    stat = _stat(pid)
    return pid if stat and stat[0] not in "ZX" and int(stat[19]) == started else None


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat that follow the name: state, parent, ...; empty where there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def stop(pid_file: Path, first: signal.Signals = signal.SIGTERM, timeout_s: float = 20) -> None:
    """End a process by a signal, and by SIGKILL where that did not end it; nothing where it has ended already."""
    for sign in (first, signal.SIGKILL):
        if (pid := _pid(pid_file)) is None:
            break
        with suppress(ProcessLookupError):
            os.kill(pid, sign)
        with suppress(ClusterError):
            wait_until(f"process {pid} has ended", lambda: not alive(pid_file), timeout_s)
    if alive(pid_file):
        raise ClusterError(f"The process of {pid_file} does not end.")
    pid_file.unlink(missing_ok=True)


def kill_grandchild(pid_file: Path, name: str) -> None:
    """Kill the processes called `name` whose grandparent is the process of a pid file, and wait until they are gone."""
    top = _pid(pid_file)
    parents = {pid for pid in _pids() if _parent(pid) == top}
    victims = [pid for pid in _pids() if _parent(pid) in parents and _name(pid) == name]
    for pid in victims:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(f"{name} is killed", lambda: not any(_name(pid) == name for pid in victims), timeout_s=10)


def _pids() -> list[int]:
    return [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()]


def _parent(pid: int) -> int | None:
    stat = _stat(pid)
    return int(stat[1]) if stat else None


def _name(pid: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
