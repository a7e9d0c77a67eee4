"""Submit again what a retry may save, each job by the cause of its failure and within its budget."""

from collections.abc import Sequence

from fly64_hpc.collector import StudyView, collect, look
from fly64_hpc.command_line import Output, VerbParser, add_directory_flags, add_phase_flag, run_verb, study_paths
from fly64_hpc.errors import EXIT_OK, RequestError, SchedulerError
from fly64_hpc.handing_over import Submitter
from fly64_hpc.job_state import JobState
from fly64_hpc.retry_policy import Decision
from fly64_hpc.retrying import RETRIABLE, decisions, retry_round
from fly64_hpc.slurm.calls import SlurmCalls
from fly64_hpc.submissions import submitting

EXAMPLES = ("--study-dir outputs/fly64_demo --preview", "--study configs/fly64_demo.yaml --only failed,timed_out")


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
    parser.add_argument(
        "--only", metavar="STATES", help="try again just the jobs in these states, whatever their causes (failed,timed_out)"
    )
    arguments = parser.parse_args(argv)
    output, calls = Output(arguments.json), SlurmCalls()
    only = states_of(arguments.only)
    paths = study_paths(arguments)
    if arguments.preview:
        _say(output, decisions(_heard(look(paths, calls)), arguments.budget, only=only), only)
        return EXIT_OK
    with submitting(paths, output.say) as lock:
        submitter = Submitter(paths, lock, calls, output.say)
        submitter.adopt()
        view = _heard(look(paths, calls))
        submitter.release(view.held_tasks)
        chosen = decisions(view, arguments.budget, only=only)
        retry_round(submitter, view, chosen)
    collect(paths, calls)
    _say(output, chosen, only)
    output.say(calls.summary())
    return EXIT_OK


def states_of(text: str | None) -> tuple[JobState, ...]:
    """The states that `--only` names; none where it is not given.

    Raises
    ------
    RequestError
        A name is none of a state in which a job may be tried again.
    """
    names = [] if text is None else [name.strip() for name in text.split(",")]
    allowed = [state.value for state in RETRIABLE]
    for name in names:
        if name not in allowed:
            raise RequestError(
                f"--only {text}: {name!r} is no state in which a job may be tried again; these are {', '.join(allowed)}.",
                hint="Name one or several, with commas between them.",
            )
    return tuple(JobState(name) for name in names)


def _heard(view: StudyView) -> StudyView:
    if view.unheard:
        raise SchedulerError(
            f"{', '.join(sorted(view.unheard))} may be running: {'; '.join(view.problems)}.", hint="Retry when squeue answers."
        )
    return view


def _say(output: Output, chosen: Sequence[Decision], only: Sequence[JobState]) -> None:
    for decision in chosen:
        output.say(str(decision))
    if not chosen and only:
        output.say(f"nothing to retry: no job that was submitted is {' or '.join(only)}, and with nobody")
    elif not chosen:
        output.say("nothing to retry: every job that was submitted has succeeded or is at work")
    output.result([{"job_id": decision.job_id, "again": decision.again, "why": decision.why} for decision in chosen])


if __name__ == "__main__":
    run_verb(main)
