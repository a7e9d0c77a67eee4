"""The study as one HTML file, to read and to send: no network, no server, nothing beside it."""

from collections.abc import Sequence
from pathlib import Path

from fly64_hpc.command_line import Output, VerbParser, add_directory_flags, run_verb, study_paths
from fly64_hpc.errors import EXIT_OK
from fly64_hpc.slurm.calls import SlurmCalls
from ptycho_torch.config import write_text

EXAMPLES = ("--study-dir outputs/fly64_demo", "--study configs/fly64_demo.yaml --output fly64_demo.html")
REPORT_NAME = "report.html"


def main(argv: Sequence[str]) -> int:
    """Run the verb; its exit code is returned: 0 once the report is written, whatever it reports."""
    parser = VerbParser("report", "Write a study as one HTML file that needs nothing beside it.", EXAMPLES)
    add_directory_flags(parser)
    parser.add_argument("--output", type=Path, metavar="FILE", help=f"default {REPORT_NAME} in the study's directory")
    arguments = parser.parse_args(argv)
    from fly64_hpc.report_page.facts import gather  # --help needs no numpy
    from fly64_hpc.report_page.page import page

    output, paths = Output(arguments.json), study_paths(arguments)
    file = (arguments.output or paths.root / REPORT_NAME).resolve()
    facts = gather(paths, SlurmCalls())
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, page(facts))
    size_bytes = file.stat().st_size
    output.say(f"report: {file} ({size_bytes / 1e6:.1f} MB)")
    output.result({"report": str(file), "size_bytes": size_bytes})
    return EXIT_OK


if __name__ == "__main__":
    run_verb(main)
