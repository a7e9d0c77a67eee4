"""Waiting for a study with its progress shown: live on a terminal, plain lines in a log."""

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from fly64_hpc.collector import JobView, StudyView, collect, epochs_of, look_again
from fly64_hpc.command_line import Output
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.job_state import JobState
from fly64_hpc.known_jobs import KnownJobs
from fly64_hpc.slurm.calls import SlurmCalls

MOST_RUNNING = 12
"""Of jobs, in the line of progress."""
POLL_S = 0.5
PLAIN_PERIOD_S = 10.0
COLLECT_PERIOD_S = 15.0
MOST_COLLECTING = 10.0
"""A study so large that it takes long to collect is collected so many times as seldom."""
FIRST_SLURM_POLL_S, LONGEST_SLURM_POLL_S = 5.0, 60.0
"""Between calls of Slurm: often enough to see a job end, seldom enough for the scheduler, and below half of any MinJobAge."""
LONGEST_SILENCE_S = 300.0
"""Between calls of a Slurm that does not answer."""


class Pause:
    """Waits longer each time, until something has changed."""

    def __init__(self) -> None:
        self._next_s = FIRST_SLURM_POLL_S

    def wait(self, *, longest_s: float = LONGEST_SILENCE_S) -> None:
        """Wait, and next time half as long again, up to `longest_s`."""
        time.sleep(min(self._next_s, longest_s))
        self._next_s = min(1.5 * self._next_s, longest_s)

    def start_over(self) -> None:
        """Be quick again: something has changed."""
        self._next_s = FIRST_SLURM_POLL_S


def watch(paths: StudyPaths, output: Output, calls: SlurmCalls) -> None:
    """Return when nobody is at work on the study any more; meanwhile say what happens and keep the manifest up to date."""
    if sys.stderr.isatty() and not output.as_json:
        _watch_live(paths, calls)
    else:
        _watch_plainly(paths, output.say, calls)


def say_study(view: StudyView, output: Output, calls: SlurmCalls) -> None:
    """Say what became of a study: problems, bad jobs with their reasons, the counts, and how often Slurm was asked."""
    for problem in view.problems:
        output.say(f"warning: {problem}")
    for job in view.jobs:
        if job.outcome.state.is_bad:
            output.say(f"{job.job.job_id}: {job.outcome.state.value}: {job.outcome.reason}")
    output.say(summary_line(view))
    output.say(f"manifest: {view.paths.manifest}")
    if calls.counts:
        output.say(calls.summary())


def views(
    paths: StudyPaths,
    calls: SlurmCalls,
    *,
    writes: bool = True,
    poll_s: float = POLL_S,
    known: KnownJobs | None = None,
) -> Iterator[StudyView]:
    """The study again and again, until no job is live; now and then it is collected too, where that is wanted.

    Parameters
    ----------
    poll_s
        Between two looks at a study that only this machine runs; Slurm is asked less often.
    known
        What was found of jobs before; what is found meanwhile joins it.
    """
    known = known or KnownJobs()
    collect_at = 0.0
    states: list[JobState] = []
    pause = Pause()
    while True:
        looked_at = time.monotonic()
        if writes and looked_at > collect_at:
            view = collect(paths, calls, known)
            taken_s = time.monotonic() - looked_at
            collect_at = looked_at + max(COLLECT_PERIOD_S, MOST_COLLECTING * taken_s)
        else:
            view = look_again(paths, calls, known)
        yield view
        if not view.is_live():
            return
        before, states = states, [job.outcome.state for job in view.jobs]
        if before != states:
            pause.start_over()
        _wait(view, pause, poll_s)


def _wait(view: StudyView, pause: Pause, poll_s: float) -> None:
    by_slurm = view.open_parts or any(job.is_with_slurm for job in view.jobs if job.outcome.is_live)
    if by_slurm:
        pause.wait(longest_s=LONGEST_SILENCE_S if view.unheard else LONGEST_SLURM_POLL_S)
    else:
        time.sleep(poll_s)


def _watch_plainly(paths: StudyPaths, say: Callable[[str], None], calls: SlurmCalls) -> None:
    seen: dict[str, JobState] = {}
    problems: tuple[str, ...] = ()
    said_at = time.monotonic()
    for view in views(paths, calls):
        if view.problems and view.problems != problems:
            say(f"warning: {'; '.join(view.problems)}{'; waiting' if view.unheard else ''}")
        problems = view.problems
        for job in view.jobs:
            state = job.outcome.state
            if seen.get(job.job.job_id) is not state and (state is not JobState.PENDING or job.job.job_id in seen):
                say(f"{job.job.job_id}: {state.value} ({job.outcome.reason})")
            seen[job.job.job_id] = state
        if time.monotonic() - said_at > PLAIN_PERIOD_S:
            said_at = time.monotonic()
            say(summary_line(view))


def _watch_live(paths: StudyPaths, calls: SlurmCalls) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[words]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        tasks: dict[str, Any] = {}
        for view in views(paths, calls):
            for job in view.jobs:
                if job.submission is None:
                    continue
                epochs, total, words = job_progress(view, job)
                job_id = job.job.job_id
                if job_id not in tasks:
                    tasks[job_id] = progress.add_task(job_id, total=total, words="")
                progress.update(tasks[job_id], completed=epochs, total=total, words=f"{job.outcome.state.value} {words}")


def job_progress(view: StudyView, job: JobView) -> tuple[int, int | None, str]:
    """Epochs that a job has completed, of how many, where that is known, and its last losses in words."""
    last = job.files.history.last
    total = epochs_of(view, job) if last.epochs is None else last.epochs
    if last.train_loss is None or last.val_loss is None:
        return last.epoch, total, ""
    speed = "" if last.samples_per_s is None else f", {last.samples_per_s:.0f} patterns/s"
    return last.epoch, total, f"loss {last.train_loss:.4f}, validation {last.val_loss:.4f}{speed}"


def summary_line(view: StudyView) -> str:
    """The study in one line: how many jobs are where, and how far the running ones are."""
    states = [job.outcome.state for job in view.jobs]
    counts = ", ".join(f"{states.count(state)} {state.value}" for state in JobState if state in states)
    running = [job for job in view.jobs if job.outcome.state is JobState.RUNNING]
    words = [_epoch_words(view, job) for job in running[:MOST_RUNNING]]
    more = f" and {len(running) - MOST_RUNNING} more" if len(running) > MOST_RUNNING else ""
    return counts + ("" if not running else ": " + ", ".join(words) + more)


def _epoch_words(view: StudyView, job: JobView) -> str:
    done, total, _ = job_progress(view, job)
    return f"{job.job.job_id} epoch {done}" + (f"/{total}" if total else "")
