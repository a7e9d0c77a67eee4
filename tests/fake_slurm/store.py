"""The folder in which a fake Slurm lives: its state under a lock, and one folder for each job and each run."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from fake_slurm.records import State

RUN_VARIABLE = "FAKE_SLURM_RUN"
"""In the environment of every process of a run, by which they are found."""
STEP_VARIABLE = "FAKE_SLURM_STEP"
UNLOGGED = "FAKE_SLURM_UNLOGGED"


class Store:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / "state.json"

    def read(self) -> State:
        """The state as it is; changes to it go nowhere."""
        return cast(State, json.loads(self._file.read_bytes()))

    @contextmanager
    def change(self) -> Iterator[State]:
        """The state, under the lock; what was changed is written."""
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            before = self._file.read_text()
            state = cast(State, json.loads(before))
            yield state
            after = json.dumps(state)
            if after != before:
                write_text(self._file, after)

    def create(self, state: State) -> None:
        for name in ("jobs", "runs", "bin"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        write_text(self._file, json.dumps(state))

    def exists(self) -> bool:
        return self._file.exists()

    def stamp(self) -> int:
        """Another one after every change."""
        status = self._file.stat()
        return status.st_mtime_ns ^ status.st_ino

    def job(self, key: str) -> Path:
        return self.folder / "jobs" / key

    def run(self, key: str) -> Path:
        return self.folder / "runs" / key

    def log_call(self, command: list[str]) -> None:
        line = json.dumps(command) + "\n"
        file = os.open(self.folder / "calls.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.write(file, line.encode())
        os.close(file)

    def calls(self) -> list[list[str]]:
        path = self.folder / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def forget_calls(self) -> None:
        (self.folder / "calls.jsonl").unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """All of it or nothing, for readers without the lock."""
    new = path.with_name(f"{path.name}.{os.getpid()}")
    new.write_text(text)
    new.replace(path)


def read_json(path: Path) -> dict[str, Any] | None:
    try:
        return cast("dict[str, Any]", json.loads(path.read_bytes()))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None
