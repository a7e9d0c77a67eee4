"""End a study's jobs, or some of them: trainings save a checkpoint and stop, and nobody tries them again but by a submit."""

import sys
from collections.abc import Sequence

from fly64_hpc.cancellations import write_cancellation
from fly64_hpc.cancelling import Plan, SlurmCancel, end_here, plan, require_told
from fly64_hpc.collector import StudyView, collect, look
from fly64_hpc.command_line import (
    Output,
    VerbParser,
    add_directory_flags,
    add_filter_flags,
    add_phase_flag,
    job_filter,
    run_verb,
    study_paths,
)
from fly64_hpc.errors import EXIT_OK, RequestError
from fly64_hpc.job_choice import JobFilter, select
from fly64_hpc.job_state import JobState
from fly64_hpc.slurm.calls import SlurmCalls
from fly64_hpc.submissions import submitting
from fly64_hpc.watching import summary_line

EXAMPLES = ("--study-dir outputs/fly64_demo", "--study configs/fly64_demo.yaml --dose 1000 --view sparse --yes")


def main(argv: Sequence[str]) -> int:
    """Run the verb; its exit code is returned."""
    parser = VerbParser(
        "cancel",
        "End a study's jobs, or a selection of them, here and on Slurm: trainings save a checkpoint, submit takes them up again.",
        EXAMPLES,
    )
    add_directory_flags(parser)
    add_phase_flag(parser)
    add_filter_flags(parser)
    parser.add_argument("-y", "--yes", action="store_true", help="no question before cancelling")
    arguments = parser.parse_args(argv)
    output, calls = Output(arguments.json), SlurmCalls()
    paths, selection = study_paths(arguments), job_filter(arguments)
    first = _plan(look(paths, calls), selection)
    if first.is_empty:
        return _say_nothing(output, first)
    if not arguments.yes and sys.stdin.isatty() and not _confirmed(first):
        raise RequestError("Nothing was cancelled.", hint="Answer y, or add --yes.")
    with submitting(paths, output.say):
        chosen = _plan(look(paths, calls), selection)  # a collector job may have been at work meanwhile
        if chosen.is_empty:
            return _say_nothing(output, chosen)
        write_cancellation(paths, chosen.records())
        slurm = SlurmCancel(chosen, calls)
        slurm.run()
    end_here(chosen)
    return _finish(output, chosen, slurm, collect(paths, calls))


def _plan(view: StudyView, selection: JobFilter) -> Plan:
    chosen = select([job.job for job in view.jobs], selection)
    return plan(view, [job.job_id for job in chosen], is_whole=selection == JobFilter())


def _confirmed(chosen: Plan) -> bool:
    running = sum(job.outcome.state is JobState.RUNNING for job in chosen.jobs)
    study, waiting = chosen.view.study.design.study, len(chosen.jobs) - running
    parts = f" and {len(chosen.view.open_parts)} dataset and collector jobs" if chosen.is_whole and chosen.view.open_parts else ""
    sys.stderr.write(f"Cancel {running} running and {waiting} waiting jobs{parts} of {study}? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().lower() in ("y\n", "yes\n")


def _say_nothing(output: Output, chosen: Plan) -> int:
    where = "the study" if chosen.is_whole else "the selection"
    output.say(f"nothing to cancel: nobody is at work on {where}")
    output.result({"study_dir": str(chosen.view.paths.root), "cancelled": [], "still_at_work": [], "not_told": []})
    return EXIT_OK


def _finish(output: Output, chosen: Plan, slurm: SlurmCancel, view: StudyView) -> int:
    ids = {job.job.job_id for job in chosen.jobs}
    mine = [job for job in view.jobs if job.job.job_id in ids]
    ended = [job.job.job_id for job in mine if not job.outcome.is_live]
    still = [job.job.job_id for job in mine if job.outcome.is_live]
    for job in mine:
        output.say(f"{job.job.job_id}: {job.outcome.state.value}: {job.outcome.reason}")
    if still and not slurm.not_told:
        output.say(f"{len(still)} jobs have been told and have not ended yet; `status` shows when they have")
    output.say(summary_line(view))
    if slurm.calls.counts:
        output.say(slurm.calls.summary())
    where = {"study_dir": str(view.paths.root)}
    output.result(where | {"cancelled": ended, "still_at_work": still, "not_told": slurm.not_told})
    require_told(slurm, ended, view.paths)
    return EXIT_OK


if __name__ == "__main__":
    run_verb(main)
