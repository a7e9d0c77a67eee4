"""Compare networks, refined networks and iterative solvers: a table with the origin of every figure, and a picture."""

from collections.abc import Sequence

from fly64_hpc.collector import StudyView, look
from fly64_hpc.command_line import Output, VerbParser, add_directory_flags, run_verb, study_paths
from fly64_hpc.comparison import Cell, comparison
from fly64_hpc.comparison_table import csv_text, table
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.slurm.calls import SlurmCalls
from ptycho_torch.config import replacing, write_text

EXAMPLES = ("--study-dir outputs/fly64_demo", "--study configs/siemens_star.yaml --json")


def main(argv: Sequence[str]) -> int:
    """Run the verb; its exit code is returned: 1 where a job that was asked for ended badly, so that its cell is missing."""
    parser = VerbParser(
        "compare",
        "Compare what networks and iterative solvers made of the same photons: comparison.csv and comparison.png.",
        EXAMPLES,
    )
    add_directory_flags(parser)
    arguments = parser.parse_args(argv)
    output, calls = Output(arguments.json), SlurmCalls()
    paths = StudyPaths(study_paths(arguments).home)
    networks = look(paths, calls)
    solvers = _solvers(paths, calls)
    cells = comparison(networks, solvers)
    rows = table(networks.study.design.study, cells)
    _write(paths, networks, cells, csv_text(rows))
    for line in dict.fromkeys(reason for cell in cells for reason in cell.missing):
        output.say(f"missing: {line}")
    output.say(f"comparison: {paths.comparison / 'comparison.csv'} and comparison.png beside it")
    output.result(rows)
    return max(view.exit_code for view in (networks, solvers) if view is not None)


def _solvers(paths: StudyPaths, calls: SlurmCalls) -> StudyView | None:
    return look(paths.phase_f, calls) if paths.phase_f.study.exists() else None


def _write(paths: StudyPaths, networks: StudyView, cells: Sequence[Cell], text: str) -> None:
    from fly64_hpc.comparison_figure import comparison_png  # matplotlib: --help needs none

    paths.comparison.mkdir(parents=True, exist_ok=True)
    write_text(paths.comparison / "comparison.csv", text)
    with replacing(paths.comparison / "comparison.png") as file:
        file.write(comparison_png(networks.study.design.study, cells))


if __name__ == "__main__":
    run_verb(main)
