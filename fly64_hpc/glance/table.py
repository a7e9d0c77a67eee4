"""The table for a terminal: colours, bars, and as many columns as it is wide; job, state, epoch and why always."""

from collections.abc import Callable, Sequence

from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from fly64_hpc.glance import words
from fly64_hpc.glance.facts import JobGlance, StudyGlance
from fly64_hpc.glance.lines import Line, left, lines, loss, saved, speed, trend
from fly64_hpc.job_state import JobState

WIDE, WIDER = 110, 150
"""Terminals of so many columns show more than job, state, epoch and why."""
_REST_LINES = 8
"""What is not the table: heading, sums, the shell's prompt."""
_LEAST_LINES = 12

STYLES = {
    JobState.SUCCEEDED: "green",
    JobState.RUNNING: "cyan",
    JobState.PENDING: "dim",
    JobState.SKIPPED: "dim",
    JobState.UNKNOWN: "magenta",
}
BAD_STYLE, NOTE_STYLE = "bold red", "bold yellow"


def picture(glance: StudyGlance, problems: Sequence[str], called: str, console: Console) -> Group:
    """The study as it is to be drawn on a console.

    Parameters
    ----------
    called
        How often Slurm was asked, in words; empty where it was not.
    """
    shown = lines(glance.jobs, most=max(_LEAST_LINES, console.height - _REST_LINES))
    warnings = [Text(f"warning: {problem}", style=NOTE_STYLE) for problem in problems]
    sums = [Text(text) for text in (words.counts(glance), words.costs(glance)) if text]
    said = [Text(called, style="dim")] if called else []
    return Group(_heading(glance), *warnings, _table(shown, console), *sums, *said)


def _heading(glance: StudyGlance) -> Text:
    name, moment = glance.view.study.design.study, glance.made_utc[:19].replace("T", " ")
    return Text.assemble((name, "bold"), f"  {glance.view.paths.root}  ", (f"{moment} UTC", "dim"))


def _table(shown: list[Line], console: Console) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=False, header_style="bold")
    for name in ("job", "state", "epoch"):
        table.add_column(name, no_wrap=True, justify="right" if name == "epoch" else "left")
    if console.width >= WIDE:
        table.add_column("validation loss", no_wrap=True)
        table.add_column("left", justify="right", no_wrap=True)
    if console.width >= WIDER:
        for name in ("patterns/s", "saved ago", "attempts"):
            table.add_column(name, justify="right", no_wrap=True)
    table.add_column("why", ratio=1, overflow="fold")
    for number, line in enumerate(shown):
        is_last = number + 1 < len(shown) and shown[number + 1].condition.dose_photons != line.condition.dose_photons
        table.add_row(*_cells(line, console), end_section=is_last)
    return table


def _cells(line: Line, console: Console) -> list[Text]:
    style = _style(line.first)
    cells = [Text(line.label), Text(words.state_words(line.first), style), Text(line.only(words.epoch_words))]
    if console.width >= WIDE:
        cells += [Text.assemble(line.only(loss), " ", (line.only(_bars(console)), "cyan")), Text(line.only(left))]
    if console.width >= WIDER:
        cells += [Text(line.only(cell)) for cell in (speed, saved, _attempts)]
    warns = line.first.is_stuck or line.first.forecast.fits is False
    return [*cells, Text(words.why(line.first), NOTE_STYLE if warns else "red" if line.first.state.is_bad else "")]


def _style(job: JobGlance) -> str:
    if job.is_stuck or job.is_halted:
        return NOTE_STYLE
    return STYLES.get(job.state, BAD_STYLE)


def _bars(console: Console) -> Callable[[JobGlance], str]:
    """None where the terminal cannot show them."""
    return trend if console.encoding.lower().startswith("utf") else lambda _: ""


def _attempts(job: JobGlance) -> str:
    return str(job.view.attempts)
