"""The study at a glance: every job, its state and why. Writes nothing."""

from collections.abc import Sequence

from fly64_hpc.collector import JobView, StudyView, look
from fly64_hpc.command_line import Output, VerbParser, add_directory_flags, add_phase_flag, run_verb, study_paths
from fly64_hpc.history import last_epoch
from fly64_hpc.slurm.calls import SlurmCalls
from fly64_hpc.watching import summary_line

EXAMPLES = ("--study-dir outputs/fly64_demo", "--study configs/fly64_demo.yaml --json")

HEADINGS = ("job", "state", "epoch", "loss", "validation", "patterns/s", "attempts", "why")


def row(job: JobView) -> tuple[str, ...]:
    """A job as a line of the table."""
    epoch = last_epoch(job.paths) or {}
    losses = (f"{epoch[key]:.4f}" if key in epoch else "-" for key in ("train_loss", "val_loss"))
    speed = f"{epoch['samples_per_s']:.0f}" if "samples_per_s" in epoch else "-"
    return (
        job.job.job_id,
        job.outcome.state.value,
        str(epoch.get("epoch", "-")),
        *losses,
        speed,
        str(job.attempts),
        job.outcome.reason,
    )


def table(view: StudyView) -> list[str]:
    """The study as lines of equal columns."""
    rows = [HEADINGS, *(row(job) for job in view.jobs)]
    widths = [max(len(cells[column]) for cells in rows) for column in range(len(HEADINGS))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip() for cells in rows]


def main(argv: Sequence[str]) -> int:
    """Run the verb; its exit code is returned."""
    parser = VerbParser("status", "Show every job of a study, its state and why.", EXAMPLES)
    add_directory_flags(parser)
    add_phase_flag(parser)
    arguments = parser.parse_args(argv)
    output = Output(arguments.json)
    calls = SlurmCalls()
    view = look(study_paths(arguments), calls)
    called = [calls.summary()] if calls.counts else []
    for line in (*view.problems, *table(view), summary_line(view), *called):
        output.say(line)
    rows = [dict(zip(HEADINGS, row(job), strict=True)) for job in view.jobs]
    output.result({"study": view.study.design.study, "study_dir": str(view.paths.root), "jobs": rows})
    return view.exit_code


if __name__ == "__main__":
    run_verb(main)
