"""srun: a step of the job in whose script it stands, in a session of its own; its record is a file of the run."""

import json
import os
import signal
import sys
import time
from pathlib import Path

from fake_slurm import options, processes
from fake_slurm.options import Refusal
from fake_slurm.store import RUN_VARIABLE, STEP_VARIABLE, Store, read_json, write_text

_FLAGS = (
    "unbuffered", "u", "exclusive", "label", "l", "quiet", "Q", "verbose", "v", "overlap", "kill-on-bad-exit", "K", "no-kill",
    "k", "disable-status", "X", "pty", "preserve-env", "E", "exact", "whole", "oversubscribe", "s", "overcommit", "O",
    "spread-job",
)  # fmt: skip
_IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT)


def srun(store: Store, arguments: list[str]) -> None:
    """Run a command to its end and exit as it does."""
    chosen, command = _read(arguments)
    if not command:
        raise Refusal("srun: fatal: No command given to execute.")
    run = os.environ.get(RUN_VARIABLE)
    if run is None or not store.exists():
        os.execvp(command[0], command)
    sys.exit(_run_step(Path(run), chosen, command))


def _read(arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    """Which options take a value is known of the others only: all do but the flags."""
    chosen: dict[str, str] = {}
    rest = list(arguments)
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        if word == "--":
            break
        name, equals, value = word.lstrip("-").partition("=")
        if name in _FLAGS or equals or (not word.startswith("--") and len(word) > 2):
            chosen[name] = value
        elif rest:
            chosen[name] = rest.pop(0)
    return chosen, rest


def _run_step(run: Path, chosen: dict[str, str], command: list[str]) -> int:
    number = _reserve(run)
    record = run / f"step_{number}.json"
    output = _file(chosen.get("output", chosen.get("o", "")))
    error = _file(chosen.get("error", chosen.get("e", "")))
    for ignored in _IGNORED:
        signal.signal(ignored, signal.SIG_IGN)
    node, started = os.environ.get("SLURMD_NODENAME", ""), time.time()
    pid = os.fork()
    if pid == 0:
        _become(run, number, output, error or output, command)
    facts = {
        "pid": pid,
        "ticks": processes.start_ticks(pid),
        "name": Path(command[0]).name,
        "started": started,
        "error": error or output,
    }
    write_text(record, json.dumps(facts))
    _, status, usage = os.wait4(pid, 0)
    code, killer = processes.exit_parts(status)
    write_text(record, json.dumps(facts | {"code": code, "signal": killer, "ended": time.time(), "rss_kib": usage.ru_maxrss}))
    return _say(node, os.environ.get("SLURM_JOB_ID", ""), number, code, killer)


def _say(node: str, job_id: str, number: int, code: int, killer: int) -> int:
    """As srun says how its task ended, and its own exit code."""
    if killer:
        word = processes.WORDS.get(signal.Signals(killer), signal.strsignal(killer))
        print(f"srun: error: {node}: task 0: {word}\nsrun: Force Terminated StepId={job_id}.{number}", file=sys.stderr)
        return 128 + killer
    if code:
        print(f"srun: error: {node}: task 0: Exited with exit code {code}", file=sys.stderr)
    return code


def _reserve(run: Path) -> int:
    """The step's number: the first that no other srun of this run has."""
    number = 0
    while True:
        try:
            (run / f"step_{number}.json").open("x").close()
        except FileExistsError:
            number += 1
        else:
            return number


def _file(pattern: str) -> str:
    return os.path.abspath(options.expand(pattern, file_letters(os.environ, task="0"))) if pattern else ""  # noqa: PTH100


def file_letters(environment: "os._Environ[str] | dict[str, str]", task: str) -> dict[str, str]:
    """What the letters of a file name stand for."""
    return {
        "A": environment.get("SLURM_ARRAY_JOB_ID", environment["SLURM_JOB_ID"]),
        "a": environment.get("SLURM_ARRAY_TASK_ID", "4294967294"),
        "j": environment["SLURM_JOB_ID"],
        "t": task,
        "n": "0",
        "N": environment["SLURMD_NODENAME"],
        "x": environment["SLURM_JOB_NAME"],
        "u": environment["SLURM_JOB_USER"],
        "s": environment.get("SLURM_STEP_ID", "0"),
    }


def _become(run: Path, number: int, output: str, error: str, command: list[str]) -> None:
    """In the child: never returns."""
    code = 127
    try:
        os.setsid()
        processes.restore_signals()
        for ignored in _IGNORED:
            signal.signal(ignored, signal.SIG_DFL)
        for path, target in ((output, 1), (error, 2)):
            if path:
                file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
                os.dup2(file, target)
        variables = {
            STEP_VARIABLE: str(number),
            RUN_VARIABLE: str(run),
            "SLURM_STEP_ID": str(number),
            "SLURM_STEPID": str(number),
        }
        os.execvpe(command[0], command, os.environ | variables)
    except FileNotFoundError as error_:
        print(f"slurmstepd: error: execve(): {command[0]}: {error_.strerror}", file=sys.stderr, flush=True)
        code = 2
    finally:
        os._exit(code)


def steps_of(run: Path) -> list[dict[str, object]]:
    """The records of a run's steps, first one first."""
    paths = sorted(run.glob("step_*.json"), key=lambda path: int(path.stem.partition("_")[2]))
    return [record | {"number": int(path.stem.partition("_")[2])} for path in paths if (record := read_json(path))]
