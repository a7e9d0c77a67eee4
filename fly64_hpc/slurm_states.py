"""What Slurm says of a study's jobs: at most one squeue and one sacct call, whatever their number."""

import re
import subprocess
from collections.abc import Sequence

from fly64_hpc.job_state import SLURM_STATES, ExecutorFact, JobState

CALL_TIMEOUT_S = 30.0
_RANGE = re.compile(r"(\d+)_\[([\d,:\-]+)(?:%\d+)?\]")
_TASK = re.compile(r"(\d+)_(\d+)")

TaskId = tuple[str, int]
"""Array job id and array index."""


def query_slurm(job_ids: Sequence[str]) -> tuple[dict[TaskId, ExecutorFact], list[str]]:
    """Ask Slurm for the tasks of some arrays: the facts, and what went wrong in asking.

    squeue is believed before sacct, which lags behind.
    """
    if not job_ids:
        return {}, []
    ids = ",".join(job_ids)
    problems: list[str] = []
    sacct = _call(
        ["sacct", "--jobs", ids, "--allocations", "--noheader", "--parsable2", "--format=JobID,State,ExitCode,NodeList"], problems
    )
    squeue = _call(
        ["squeue", "--jobs", ids, "--array", "--noheader", "--states=all", "--format=%i|%T|%r"], problems, absent="Invalid job id"
    )
    facts = parse_rows(sacct, "sacct")
    facts |= parse_rows(squeue, "squeue")
    return facts, problems


def parse_rows(text: str, source: str) -> dict[TaskId, ExecutorFact]:
    """Read `id|STATE|detail...` lines; `12_[0-3,7%2]` stands for several waiting tasks."""
    facts: dict[TaskId, ExecutorFact] = {}
    for line in text.splitlines():
        cells = line.strip().split("|")
        if len(cells) < 2:
            continue
        word = cells[1].split()[0] if cells[1] else ""
        detail = " ".join(cell for cell in cells[2:] if cell and cell != "None")
        fact = ExecutorFact(SLURM_STATES.get(word, JobState.UNKNOWN), f"{source}: {cells[1]} {detail}".rstrip())
        facts |= dict.fromkeys(_task_ids(cells[0]), fact)
    return facts


def _task_ids(text: str) -> list[TaskId]:
    if match := _TASK.fullmatch(text):
        return [(match[1], int(match[2]))]
    if match := _RANGE.fullmatch(text):
        return [(match[1], index) for part in match[2].split(",") for index in _span(part)]
    return []


def _span(part: str) -> range:
    """`4`, `0-3` or `0-8:2`."""
    bounds, _, step = part.partition(":")
    first, _, last = bounds.partition("-")
    return range(int(first), int(last or first) + 1, int(step or 1))


def find_array(name: str, problems: list[str]) -> str | None:
    """The id of the array that Slurm knows by `name`, where it knows one; what went wrong in asking is added to `problems`."""
    asked = (
        ["squeue", "--name", name, "--noheader", "--states=all", "--format=%F"],
        ["sacct", "--name", name, "--allocations", "--noheader", "--parsable2", "--format=JobID"],
    )
    for command in asked:
        ids = [line.strip().split("_")[0] for line in _call(command, problems).splitlines() if line.strip()]
        if ids:
            return ids[0]
    return None


def _call(command: list[str], problems: list[str], absent: str = "") -> str:
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=CALL_TIMEOUT_S, check=False)
    except FileNotFoundError:
        problems.append(f"{command[0]} is not on the PATH of this machine")
    except subprocess.TimeoutExpired:
        problems.append(f"{command[0]} did not answer within {CALL_TIMEOUT_S:.0f} s")
    else:
        if answer.returncode == 0:
            return answer.stdout
        if not absent or absent not in answer.stderr:
            problems.append(
                f"{command[0]} failed: {answer.stderr.strip().splitlines()[-1] if answer.stderr.strip() else answer.returncode}"
            )
    return ""
