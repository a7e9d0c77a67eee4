"""Submit again what a retry may save, each job by the cause of its failure and within its budget."""

from collections.abc import Sequence

from fly64_hpc.collector import StudyView, collect, look
from fly64_hpc.command_line import Output, VerbParser, add_directory_flags, add_phase_flag, run_verb, study_paths
from fly64_hpc.errors import EXIT_OK, SchedulerError
from fly64_hpc.handing_over import Submitter
from fly64_hpc.retry_policy import Decision
from fly64_hpc.retrying import decisions, retry_round
from fly64_hpc.slurm.calls import SlurmCalls
from fly64_hpc.submissions import submitting

EXAMPLES = ("--study-dir outputs/fly64_demo --preview", "--study configs/fly64_demo.yaml --budget 5")


def main(argv: Sequence[str]) -> int:
    """Run the verb; its exit code is returned."""
    parser = VerbParser("retry", "Submit again what may succeed the next time, by the cause of each failure.", EXAMPLES)
    add_directory_flags(parser)
    add_phase_flag(parser)
    parser.add_argument("--preview", action="store_true", help="say what would be tried again and why; submit nothing")
    parser.add_argument(
        "--budget",
        type=int,
        metavar="N",
        help="retries of one job at most since it was submitted by hand (resources.retry.budget)",
    )
    arguments = parser.parse_args(argv)
    output, calls = Output(arguments.json), SlurmCalls()
    paths = study_paths(arguments)
    if arguments.preview:
        _say(output, decisions(_heard(look(paths, calls)), arguments.budget))
        return EXIT_OK
    with submitting(paths, output.say) as lock:
        submitter = Submitter(paths, lock, calls, output.say)
        submitter.adopt()
        view = _heard(look(paths, calls))
        submitter.release(view.held_tasks)
        chosen = decisions(view, arguments.budget)
        retry_round(submitter, view, chosen)
    collect(paths, calls)
    _say(output, chosen)
    output.say(calls.summary())
    return EXIT_OK


def _heard(view: StudyView) -> StudyView:
    if view.unheard:
        raise SchedulerError(
            f"{', '.join(sorted(view.unheard))} may be running: {'; '.join(view.problems)}.", hint="Retry when squeue answers."
        )
    return view


def _say(output: Output, chosen: Sequence[Decision]) -> None:
    for decision in chosen:
        output.say(str(decision))
    if not chosen:
        output.say("nothing to retry: every job that was submitted has succeeded or is at work")
    output.result([{"job_id": decision.job_id, "again": decision.again, "why": decision.why} for decision in chosen])


if __name__ == "__main__":
    run_verb(main)
