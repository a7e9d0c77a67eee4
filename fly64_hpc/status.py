"""The study at a glance: every job, its state and why, how far it is and what it cost. Writes nothing."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence

from fly64_hpc.collector import StudyView, look
from fly64_hpc.command_line import Output, VerbParser, add_directory_flags, add_phase_flag, run_verb, study_paths
from fly64_hpc.glance import plain, words
from fly64_hpc.glance.facts import StudyGlance, glance
from fly64_hpc.glance.machine import machine_view
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.known_jobs import KnownJobs, read_known
from fly64_hpc.slurm.calls import SlurmCalls
from fly64_hpc.watching import PLAIN_PERIOD_S, views

EXAMPLES = ("--study-dir outputs/fly64_demo --watch", "--study configs/fly64_demo.yaml --json")
WATCH_PERIOD_S = 2.0
"""Between two looks at a study that only this machine runs; Slurm is asked less often."""


def main(argv: Sequence[str]) -> int:
    """Run the verb; its exit code is returned."""
    parser = VerbParser("status", "Show every job of a study, its state and why.", EXAMPLES)
    add_directory_flags(parser)
    add_phase_flag(parser)
    parser.add_argument("--watch", action="store_true", help="show it again and again, until nobody is at work on it or Ctrl-C")
    arguments = parser.parse_args(argv)
    output, calls, paths = Output(arguments.json), SlurmCalls(), study_paths(arguments)
    known = read_known(paths.known_jobs)
    if arguments.watch:
        seen = _watch(paths, output, calls, known)
    else:
        seen = glance(look(paths, calls, known))
        _show(seen, output, calls)
    if output.as_json:
        output.result(machine_view(seen, dict(calls.counts)))
    return seen.view.exit_code


def _is_terminal(output: Output) -> bool:
    return sys.stdout.isatty() and not output.as_json


def _show(seen: StudyGlance, output: Output, calls: SlurmCalls) -> None:
    if _is_terminal(output):
        from rich.console import Console

        from fly64_hpc.glance.table import picture

        console = Console()
        console.print(picture(seen, seen.view.problems, _called(calls), console))
        return
    output.say("\n".join((*seen.view.problems, *plain.table(seen), *_sums(seen, calls))))


def _called(calls: SlurmCalls) -> str:
    return calls.summary() if calls.counts else ""


def _sums(seen: StudyGlance, calls: SlurmCalls) -> list[str]:
    return [text for text in (words.counts(seen), words.costs(seen), _called(calls)) if text]


def _watch(paths: StudyPaths, output: Output, calls: SlurmCalls, known: KnownJobs) -> StudyGlance:
    """Show the study until nobody is at work on it; what it was then is returned."""
    looks = views(paths, calls, writes=False, poll_s=WATCH_PERIOD_S, known=known)
    if _is_terminal(output):
        return _watch_live(looks, calls)
    return _watch_plainly(looks, output.say, calls)


def _watch_live(looks: Iterator[StudyView], calls: SlurmCalls) -> StudyGlance:
    from rich.console import Console
    from rich.live import Live

    from fly64_hpc.glance.table import picture

    console = Console()
    with Live(console=console, auto_refresh=False) as live:
        for view in looks:
            seen = glance(view)
            live.update(picture(seen, view.problems, _called(calls), console), refresh=True)
    return seen


def _watch_plainly(looks: Iterator[StudyView], say: Callable[[str], None], calls: SlurmCalls) -> StudyGlance:
    """The whole table first and last; between them a line for each job whose state changes, and the counts now and then."""
    known: dict[str, str] = {}
    said_at = 0.0
    for view in looks:
        seen = glance(view)
        _say_changes(seen, known, say)
        if time.monotonic() - said_at > PLAIN_PERIOD_S:
            said_at = time.monotonic()
            say(words.counts(seen))
    for line in (*seen.view.problems, *plain.table(seen), *_sums(seen, calls)):
        say(line)
    return seen


def _say_changes(seen: StudyGlance, known: dict[str, str], say: Callable[[str], None]) -> None:
    """Say which jobs have another state than they were known to have; the first time, all."""
    for job in seen.jobs:
        job_id, state = job.view.job.job_id, words.state_words(job)
        if known.get(job_id) != state:
            known[job_id] = state
            say(f"{job_id}: {state} ({words.why(job)})")


if __name__ == "__main__":
    run_verb(main)
