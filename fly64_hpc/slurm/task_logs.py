"""What a task printed, as evidence: the node often says why a process ended where the scheduler does not."""

import re
from dataclasses import dataclass
from pathlib import Path

TAIL_BYTES = 16_384
_MEMORY = re.compile(r"exceeded (job )?memory limit|oom[-_]kill|out of memory|detected \d+ oom", re.IGNORECASE)
_OF_A_GPU = re.compile(r"cuda|\bhip\b|\bgpu\b|nccl", re.IGNORECASE)
_KILLED = re.compile(r"task \d+: Killed")
_NOISE = re.compile(r"srun: |slurmstepd|^\s*$|^In: |^Out: ")


@dataclass(frozen=True)
class LogEvidence:
    """What the end of a task's log says."""

    memory: str = ""
    """The line that says that memory ran out."""
    was_killed: bool = False
    last_words: str = ""
    """The last line that is not the batch system's."""


NO_EVIDENCE = LogEvidence()


def read_log(path: Path) -> LogEvidence:
    """Read the end of a log; nothing is evidence of nothing."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return NO_EVIDENCE
    memory = [line.strip() for line in lines if _MEMORY.search(line) and not _OF_A_GPU.search(line)]
    own = [line.strip() for line in lines if not _NOISE.search(line)]
    return LogEvidence(memory[0] if memory else "", any(_KILLED.search(line) for line in lines), own[-1][:300] if own else "")


def task_log(scratch: str, job_id: str, index: int | None) -> Path:
    """Where a task's errors go, as submitit names it."""
    name = job_id if index is None else f"{job_id}_{index}"
    return Path(scratch) / f"{name}_0_log.err"
