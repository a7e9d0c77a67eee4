"""`sbatch --test-only`: whether Slurm would take a job, and when it would start it. No job is made."""

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass

from fly64_hpc.slurm.calls import Answer, SlurmCalls
from fly64_hpc.slurm.sbatch import SbatchAnswer, Verdict, read_answer

TEST_TIMEOUT_S = 20.0
_START = re.compile(r"Job \d+ to start at (?P<start>\S+)(?: .*?)?(?: on (?:nodes? )?(?P<nodes>\S+))? in partition \S+")
_UNSUPPORTED = re.compile(r"unrecognized option|not supported|unknown option", re.IGNORECASE)
_FOR_NOW = re.compile(r"busy|down, drained or reserved|temporarily|required node\S* not available", re.IGNORECASE)


@dataclass(frozen=True)
class StartEstimate:
    """What Slurm says of a job that was not submitted."""

    verdict: Verdict
    """`LEFT_OPEN` where it cannot be told."""
    words: str
    start: datetime.datetime | None = None
    """Local time of this machine, as Slurm writes it."""
    nodes: str = ""


def ask_start(calls: SlurmCalls, arguments: Sequence[str], defaults: Sequence[str] = ()) -> StartEstimate:
    """Ask when a script would start; `defaults` as in `call_sbatch`."""
    return read_estimate(calls("sbatch", "--test-only", *arguments, timeout_s=TEST_TIMEOUT_S, defaults=defaults))


def read_estimate(answer: Answer) -> StartEstimate:
    """Read what `sbatch --test-only` printed."""
    if answer.is_good:
        match = _START.search(answer.err) or _START.search(answer.out)
        if match is None:
            return StartEstimate(Verdict.LEFT_OPEN, f"sbatch --test-only named no start: {answer.words}")
        return StartEstimate(Verdict.TAKEN, match[0], _moment(match["start"]), match["nodes"] or "")
    if answer.code is None or _UNSUPPORTED.search(answer.words):
        return StartEstimate(Verdict.LEFT_OPEN, answer.words)
    if _FOR_NOW.search(answer.words):
        return StartEstimate(Verdict.NO_ROOM, answer.words)
    read: SbatchAnswer = read_answer(answer)
    return StartEstimate(read.verdict, read.words)


def _moment(text: str) -> datetime.datetime | None:
    try:
        return datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
