"""The table without colour, as columns of equal width: for a file, a pipe, and a terminal that can do no more."""

from collections.abc import Sequence

from fly64_hpc.glance import words
from fly64_hpc.glance.facts import JobGlance, StudyGlance
from fly64_hpc.glance.lines import loss, saved, speed, train_loss

HEADINGS = ("job", "state", "epoch", "loss", "validation", "patterns/s", "saved ago", "attempts", "why")


def row(job: JobGlance) -> tuple[str, ...]:
    """A job as a line of the table."""
    return (
        job.view.job.job_id,
        words.state_words(job),
        words.epoch_words(job),
        train_loss(job),
        loss(job),
        speed(job),
        saved(job),
        str(job.view.attempts),
        words.why(job),
    )


def table(glance: StudyGlance) -> list[str]:
    """The study as lines of equal columns."""
    return columns([HEADINGS, *(row(job) for job in glance.jobs)])


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Cells under each other, two blanks apart."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    line = "  ".join(f"{{:<{width}}}" for width in widths)
    return [line.format(*cells).rstrip() for cells in rows]
