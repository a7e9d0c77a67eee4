"""One call of sbatch, and what its answer means: taken, no room now, refused, or left open."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from fly64_hpc.slurm.calls import Answer, SlurmCalls

SBATCH_TIMEOUT_S = 200.0
"""Longer than sbatch's own tries, fifteen with pauses of 1, 2 ... 15 s, when the controller is busy or its queue is full."""

_JOB_ID = re.compile(r"(\d+)(?:;\S+)?")
_NO_ROOM = re.compile(r"MaxSubmit|MaxJobCount|Submit\w*Limit|temporarily un(able to accept|available)", re.IGNORECASE)
_LEFT_OPEN = re.compile(
    r"timed out|unable to contact|zero bytes|connection re|communication|transport|(send|receive) failure|standby", re.IGNORECASE
)


class Verdict(Enum):
    """What became of a request."""

    TAKEN = auto()
    NO_ROOM = auto()
    """A limit on how many jobs may wait at the same time: later there is room."""
    REFUSED = auto()
    LEFT_OPEN = auto()
    """The request may have arrived although the answer did not: only the job's name can tell."""


@dataclass(frozen=True)
class SbatchAnswer:
    """What sbatch made of a script."""

    verdict: Verdict
    words: str
    job_id: str | None = None


def call_sbatch(calls: SlurmCalls, arguments: list[str], lock: int | None = None, defaults: Sequence[str] = ()) -> SbatchAnswer:
    """Hand a script to sbatch; `defaults` are the user's variables that may fill what the script leaves open.

    `lock`, a locked file, is held open by sbatch too: whoever waits for the lock then knows that no sbatch of a killed
    submitter is still on its way.
    """
    held_open = () if lock is None else (lock,)
    answer = calls("sbatch", "--parsable", *arguments, timeout_s=SBATCH_TIMEOUT_S, held_open=held_open, defaults=defaults)
    return read_answer(answer)


def read_answer(answer: Answer) -> SbatchAnswer:
    """Tell the job id from whatever a site prints around it, and kinds of errors from each other."""
    if answer.is_good:
        ids = [match[1] for line in answer.out.splitlines() if (match := _JOB_ID.fullmatch(line.strip()))]
        if len(ids) == 1:
            return SbatchAnswer(Verdict.TAKEN, f"job {ids[0]}", ids[0])
        return SbatchAnswer(Verdict.LEFT_OPEN, f"sbatch answered without one job id: {answer.out.strip()!r}")
    if answer.code is None or _LEFT_OPEN.search(answer.words):
        return SbatchAnswer(Verdict.LEFT_OPEN, answer.words)
    verdict = Verdict.NO_ROOM if _NO_ROOM.search(answer.words) else Verdict.REFUSED
    return SbatchAnswer(verdict, answer.words)
