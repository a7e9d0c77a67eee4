"""The processes of runs: found by a variable in their environment, so that none that they start is missed."""

import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

from fake_slurm.store import RUN_VARIABLE, STEP_VARIABLE, read_json

WORDS = {signal.SIGKILL: "Killed", signal.SIGTERM: "Terminated", signal.SIGSEGV: "Segmentation fault", signal.SIGABRT: "Aborted"}


def start_ticks(pid: int) -> int | None:
    """When a process started, in the kernel's ticks; nothing of a dead one or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def is_alive(pid: int, ticks: int | None) -> bool:
    return ticks is not None and start_ticks(pid) == ticks


def processes_of(run: Path, *, steps_only: bool = False) -> list[int]:
    """The processes of a run, or of its steps only."""
    return [pid for pid, environment in _environments() if _is_of(environment, run, steps_only=steps_only)]


def end_below(folder: Path) -> bool:
    """Kill the processes of every run of a fake Slurm; whether there were any."""
    by_run = processes_by_run(folder)
    for pids in by_run.values():
        send(pids, signal.SIGKILL)
    return bool(by_run)


def processes_by_run(folder: Path) -> dict[str, list[int]]:
    """The processes of every run of a fake Slurm, by the run's key."""
    marker = f"\0{RUN_VARIABLE}={folder / 'runs'}/".encode()
    found: dict[str, list[int]] = {}
    for pid, environment in _environments():
        _, marked, rest = environment.partition(marker)
        if marked:
            found.setdefault(rest.partition(b"\0")[0].decode(), []).append(pid)
    return found


def _environments() -> Iterable[tuple[int, bytes]]:
    for entry in os.listdir("/proc"):  # noqa: PTH208 - ten times as fast as a Path for each
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/environ", "rb") as file:  # noqa: PTH123
                    yield int(entry), b"\0" + file.read()
            except OSError:
                continue


def _is_of(environment: bytes, run: Path, *, steps_only: bool) -> bool:
    is_of_run = f"\0{RUN_VARIABLE}={run}\0".encode() in environment
    return is_of_run and (not steps_only or f"\0{STEP_VARIABLE}=".encode() in environment)


def signal_number(name: str) -> int:
    """Of `USR2`, `SIGUSR2` or `12`."""
    return int(name) if name.isdigit() else signal.Signals[f"SIG{name.removeprefix('SIG')}"]


def send(pids: Iterable[int], *signals: int) -> None:
    for number in signals:
        for pid in pids:
            try:
                os.kill(pid, number)
            except (ProcessLookupError, PermissionError):
                continue


def kill_run(run: Path) -> None:
    """The watcher first, so that nobody notes the end; then until none is left, for what is being killed may have forked."""
    watcher = read_json(run / "watcher.json")
    if watcher and is_alive(watcher["pid"], watcher["ticks"]):
        send([watcher["pid"]], signal.SIGKILL)
    while pids := processes_of(run):
        send(pids, signal.SIGKILL)
        time.sleep(0.005)


def restore_signals() -> None:
    """Python ignores these, and what is executed would inherit that."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)


def exit_parts(status: int) -> tuple[int, int]:
    """The exit code and the signal of a wait status."""
    code = os.waitstatus_to_exitcode(status)
    return (code, 0) if code >= 0 else (0, -code)
