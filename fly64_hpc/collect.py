"""Poll the states of a study's jobs and write its manifest and checkpoint index."""

from collections.abc import Sequence

from fly64_hpc.collector import collect
from fly64_hpc.command_line import Output, VerbParser, add_directory_flags, add_phase_flag, run_verb, study_paths
from fly64_hpc.job_record import read_json
from fly64_hpc.slurm.calls import SlurmCalls
from fly64_hpc.watching import say_study, watch

EXAMPLES = ("--study-dir outputs/fly64_demo", "--study configs/fly64_demo.yaml --watch")


def main(argv: Sequence[str]) -> int:
    """Run the verb; its exit code is returned."""
    parser = VerbParser(
        "collect", "Poll job states once, or until all have ended; write the manifest and the checkpoint index.", EXAMPLES
    )
    add_directory_flags(parser)
    add_phase_flag(parser)
    parser.add_argument("--watch", action="store_true", help="go on until nobody is at work on the study")
    arguments = parser.parse_args(argv)
    output = Output(arguments.json)
    paths = study_paths(arguments)
    calls = SlurmCalls()
    view = collect(paths, calls)
    if arguments.watch:
        watch(paths, output, calls)
        view = collect(paths, calls)
    say_study(view, output, calls)
    output.result(read_json(paths.manifest))
    return view.exit_code


if __name__ == "__main__":
    run_verb(main)
