"""Phases C and D only: simulate, split, overlap views, metrics."""

from collections.abc import Sequence

from fly64_hpc import datasets
from fly64_hpc.command_line import (
    Output,
    VerbParser,
    add_filter_flags,
    add_study_flags,
    job_filter,
    loaded_study,
    new_study_paths,
    run_verb,
)
from fly64_hpc.errors import EXIT_OK
from fly64_hpc.job_choice import select
from fly64_hpc.study_directory import write_study
from fly64_hpc.study_growth import joined
from fly64_hpc.submissions import submitting

EXAMPLES = ("--study configs/fly64_demo.yaml", "--study configs/fly64_demo.yaml --dose 1000 --view sparse")


def main(argv: Sequence[str]) -> int:
    """Run the verb; its exit code is returned."""
    parser = VerbParser(
        "prepare", "Make the datasets of a study: Phase C (simulate, split) and Phase D (overlap views, metrics).", EXAMPLES
    )
    add_study_flags(parser)
    add_filter_flags(parser)
    arguments = parser.parse_args(argv)
    output = Output(arguments.json)
    asked = loaded_study(arguments)
    paths = new_study_paths(arguments, asked)
    loaded = joined(paths, asked)
    jobs = select(loaded.jobs, job_filter(arguments))
    prepared = datasets.prepare_data(paths, loaded, jobs, {}, output.say)
    with submitting(paths, output.say):
        write_study(paths, joined(paths, loaded))
    datasets.write_skip_summary(paths, prepared)
    output.say(f"datasets: {paths.root / 'data'}")
    files = [
        {
            "dose": condition.dose_photons,
            "view": condition.view,
            **({"sweep": dict(condition.sweep)} if condition.sweep else {}),
            "train": data.train.path,
            "test": data.test.path,
        }
        for condition, data in prepared.data.items()
    ]
    output.result({"study_dir": str(paths.root), "datasets": files, "skipped_views": prepared.skipped})
    return EXIT_OK


if __name__ == "__main__":
    run_verb(main)
