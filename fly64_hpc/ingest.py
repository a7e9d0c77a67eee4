"""Bring a measured scan in another format into a DATA-001 file."""

from collections.abc import Sequence
from pathlib import Path

from fly64_hpc.command_line import Output, VerbParser, run_verb
from fly64_hpc.errors import EXIT_OK

EXAMPLES = ("scan.npz.bz2 scan-data001.npz", "scan.npz scan-64.npz --patch-size-px 64 --dc corner")


def main(argv: Sequence[str]) -> int:
    """Run the verb; its exit code is returned."""
    parser = VerbParser(
        "ingest", "Bring a measured scan (an NPZ with data, probe and scan, bzip2 or not) into a DATA-001 file.", EXAMPLES
    )
    parser.add_argument("source", type=Path, help="the scan")
    parser.add_argument("target", type=Path, help="the DATA-001 file to write")
    parser.add_argument(
        "--patch-size-px", type=int, choices=(32, 64, 128, 256), help="crop patterns to this size (default: as measured)"
    )
    parser.add_argument(
        "--dc", choices=("auto", "corner", "center"), default="auto", help="where the zero frequency lies in a pattern"
    )
    parser.add_argument("--quantity", choices=("auto", "intensity", "amplitude"), default="auto", help="what the patterns hold")
    arguments = parser.parse_args(argv)
    output = Output(arguments.json)
    from ptycho_torch import pipeline  # imports torch, which --help does not need

    options = pipeline.IngestOptions(patch_size_px=arguments.patch_size_px, dc=arguments.dc, quantity=arguments.quantity)
    report = pipeline.ingest(arguments.source, arguments.target, options=options)
    for line in report.as_lines():
        output.say(line)
    output.say(f"wrote {arguments.target}")
    output.result(
        {
            "target": str(arguments.target),
            "n_patterns": report.n_patterns,
            "patch_size_px": report.patch_size_px,
            "photons_per_frame": report.photons_per_frame,
            "found": report.found,
            "assumed": report.assumed,
        }
    )
    return EXIT_OK


if __name__ == "__main__":
    run_verb(main)
