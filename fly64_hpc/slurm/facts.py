"""From what squeue and sacct say of a task to one fact about it. Pure.

squeue knows what waits and runs now. sacct lags by up to seconds, but knows how things ended, what was requeued, and what the
steps of a job went through.
"""

import pwd
import re

from fly64_hpc.job_state import SLURM_STATES, ExecutorFact, JobState, QueueFacts
from fly64_hpc.resources import memory_mib
from fly64_hpc.slurm.states import Incarnation, QueueRow, Seen, SlurmReport

LAG_S = 60.0
"""So long after its submission a job may still be missing in both answers."""
HELD_WORDS = "launch failed requeued held"
"""squeue's reason for a task whose launch failed, as when the controller was killed in the middle of it."""
_SIGNAL_9 = 9
_SIGNALS = range(1, 65)
_NO_LASTING_END = (JobState.PREEMPTED, JobState.NODE_FAILED, JobState.UNKNOWN)
"""Slurm itself starts such a job again, or its word is none that we know: only squeue can tell that it is over."""


def task_fact(report: SlurmReport, tag: str, index: int | None, age_s: float) -> ExecutorFact | None:
    """The fact about one task that was submitted `age_s` seconds ago; None where Slurm says nothing of it."""
    seen = report.seen(tag, index)
    if seen.queue is not None and SLURM_STATES.get(seen.queue.word, JobState.PENDING).is_open:
        return _open_fact(seen.queue, seen, index)
    if seen.incarnations and not _state(seen.incarnations[-1].word).is_open:
        newest = seen.incarnations[-1]
        is_taken_back = not report.squeue_answered and _state(newest.word) in _NO_LASTING_END
        return None if is_taken_back else _ended_fact(newest)
    if seen.queue is not None:
        row = seen.queue
        return ExecutorFact(_state(row.word), f"squeue: {_joined(row.word, row.reason)}", node=row.node)
    if not seen.incarnations:
        return None
    return _unlisted_fact(seen.incarnations[-1], squeue_answered=report.squeue_answered, age_s=age_s)


def _open_fact(row: QueueRow, seen: Seen, index: int | None) -> ExecutorFact:
    ended = [start for start in seen.incarnations if start.word == "REQUEUED" or not _state(start.word).is_open]
    before = ended[-1] if ended else None
    words = f"squeue: {_joined(row.word, row.reason)}"
    if before is not None:
        words += f"; before that sacct: {_joined(before.word, before.detail, before.node)}"
    state = SLURM_STATES.get(row.word, JobState.PENDING)  # what squeue lists without an end that we know has none yet
    queue = QueueFacts(row.word, row.reason, row.limit_s, row.left_s, row.start_utc)
    node = row.node or (before.node if before else "")
    return ExecutorFact(
        state,
        words,
        node=node,
        before=_state(before.word) if before else None,
        held_task=_held_task(row, index),
        queue=queue,
    )


def _held_task(row: QueueRow, index: int | None) -> str:
    if HELD_WORDS not in row.reason.replace("_", " "):
        return ""
    return row.job_id if index is None else f"{row.job_id}_{index}"


def _unlisted_fact(incarnation: Incarnation, *, squeue_answered: bool, age_s: float) -> ExecutorFact:
    """sacct has it waiting or running, squeue does not list it."""
    words = f"sacct: {_joined(incarnation.word, incarnation.detail, incarnation.node)}"
    if not squeue_answered or age_s < LAG_S:
        return ExecutorFact(_state(incarnation.word), words, node=incarnation.node)
    lost = f"Slurm has lost it: squeue does not list it, {words}"
    return ExecutorFact(JobState.UNKNOWN, lost, is_live=False, node=incarnation.node, is_lost=True)


def _ended_fact(incarnation: Incarnation) -> ExecutorFact:
    signal = killed_by([incarnation.exit_code, *incarnation.step_exit_codes])
    memory = memory_evidence(incarnation) if signal == _SIGNAL_9 or "OUT_OF_MEMORY" in incarnation.step_words else ""
    state = _state(incarnation.word)
    if memory and state in (JobState.FAILED, JobState.CANCELLED) and not incarnation.detail:
        state = JobState.OUT_OF_MEMORY
    words = f"sacct: {_joined(incarnation.word, _by_whom(incarnation.detail), incarnation.exit_code, incarnation.node, memory)}"
    return ExecutorFact(state, words, node=incarnation.node, signal=signal, memory=memory or memory_use(incarnation))


def killed_by(exit_codes: list[str]) -> int | None:
    """The signal in exit codes of the form `code:signal`; shells add 128 to it, srun writes it as a code."""
    for text in exit_codes:
        code, _, signal = text.partition(":")
        if signal.isdigit() and int(signal) > 0:
            return int(signal)
        if code.isdigit() and int(code) - 128 in _SIGNALS:
            return int(code) - 128
    return None


def memory_evidence(incarnation: Incarnation) -> str:
    """Why a killed task ran out of memory, where Slurm tells; else nothing."""
    if any(word.startswith("OUT_OF_ME") for word in (incarnation.word, *incarnation.step_words)):
        return "a step ran out of memory"
    use = memory_use(incarnation)
    return use if use and _used_mib(incarnation) > memory_mib(incarnation.asked_memory) else ""


def memory_use(incarnation: Incarnation) -> str:
    """The most memory that was seen in use, beside what was asked for; nothing where Slurm has not seen any."""
    try:
        asked, used = memory_mib(incarnation.asked_memory), _used_mib(incarnation)
    except ValueError:
        return ""
    return f"{used:.0f}M of {asked:.0f}M memory used" if used and asked else ""


def _used_mib(incarnation: Incarnation) -> float:
    return max((memory_mib(used) for used in incarnation.used_memory), default=0.0)


def _by_whom(detail: str) -> str:
    """`by 1000` with the name of the user, where this machine knows it."""
    match = re.fullmatch(r"by (\d+)", detail)
    if match is None:
        return detail
    try:
        return f"{detail} ({pwd.getpwuid(int(match[1])).pw_name})"
    except KeyError:
        return detail


def _state(word: str) -> JobState:
    return SLURM_STATES.get(word.rstrip("+"), JobState.UNKNOWN)


def _joined(*words: str) -> str:
    return " ".join(word for word in words if word)
