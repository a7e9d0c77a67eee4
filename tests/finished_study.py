"""The smoke study as the README's command makes it, made once for all workers of a test run."""

import fcntl
import json
import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from command import REPOSITORY, Workplace


@dataclass(frozen=True)
class Finished:
    """The folder in which the command was typed, and what it printed."""

    place: Workplace
    printed: str


def readme_commands() -> list[str]:
    """The README's commands of a shell."""
    blocks = re.findall(r"```sh\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def command_of_the_study() -> str:
    """The one that trains the whole smoke study."""
    (command,) = (
        line
        for line in readme_commands()
        if line.startswith("python -m fly64_hpc.submit --study configs/fly64_smoke.yaml --executor local --wait")
    )
    return command


def finished_study(folder: Path) -> Finished:
    """The study in this folder: trained there by the worker that comes first, while others wait."""
    folder.mkdir(exist_ok=True)
    printed = folder.with_suffix(".json")
    with _locked(folder.with_suffix(".lock")):
        if not printed.exists():
            printed.write_text(json.dumps(_train(folder)))
    return Finished(Workplace(folder), json.loads(printed.read_text()))


def _train(folder: Path) -> str:
    (folder / "configs").symlink_to(REPOSITORY / "configs")
    _, _, _, *arguments = shlex.split(command_of_the_study())
    answer = Workplace(folder).run("submit", *arguments)
    assert answer.code == 0, answer.err + answer.out
    return answer.out


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def folder_of_all_workers(own: Path) -> Path:
    """The folder that this run's workers share; `own` is the worker's."""
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
