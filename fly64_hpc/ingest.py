"""Bring a measured scan in another format into a DATA-001 file."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fly64_hpc.command_line import Output, VerbParser, run_verb
from fly64_hpc.errors import EXIT_OK, RequestError

EXAMPLES = (
    "scan.cxi scan-data001.npz --patch-size-px 64 --bin-px 2 --probe probe.npy",
    "scan.npz --patterns counts.h5:entry/data --positions scan.csv --position-unit um --position-order yx --probe probe.npy",
)
FORMATS = ("auto", "tike-npz", "ptychopinn-npz", "ptychodus-training", "ptychodus-product", "cxi", "ptypy-ptyd")
PICTURE_SUFFIX = ".png"
GEOMETRY_FLAGS = {
    "photon_energy_eV": "photons' energy [eV]",
    "detector_distance_m": "sample to detector [m]",
    "detector_pixel_size_m": "side of a detector pixel as measured [m]",
    "object_pixel_size_m": "side of an object pixel of the patterns as measured [m], in place of the other three",
}


def main(argv: Sequence[str]) -> int:
    """Run the verb; its exit code is returned."""
    arguments = _parser(argv).parse_args(argv)
    output = Output(arguments.json)
    if arguments.target.suffix == PICTURE_SUFFIX:
        raise RequestError(
            f"{arguments.target} is a name for a picture, and one is written beside the scan.", hint="Name an .npz file."
        )
    from ptycho_torch import pipeline  # imports torch, which --help does not need

    report = pipeline.ingest(arguments.patterns or arguments.source, arguments.target, options=_options(arguments))
    for line in report.as_lines():
        output.say(line)
    picture = pipeline.draw_scan(arguments.target)
    output.say(f"wrote {arguments.target}")
    output.say(f"picture: {picture}: look whether pattern, probe and positions are what you measured")
    output.result(
        {
            "target": str(arguments.target),
            "picture": str(picture),
            "n_patterns": report.n_patterns,
            "patch_size_px": report.patch_size_px,
            "photons_per_frame": report.photons_per_frame,
            "found": report.found,
            "assumed": report.assumed,
        }
    )
    return EXIT_OK


def _parser(argv: Sequence[str]) -> VerbParser:
    parser = VerbParser(
        "ingest",
        "Bring a measured scan into a DATA-001 file: tike's or PtychoPINN's NPZ, ptychodus' HDF5, CXI, .ptyd, or arrays by name.",
        EXAMPLES,
    )
    if not any(word.partition("=")[0] == "--patterns" for word in argv):
        parser.add_argument("source", type=Path, help="the scan; left out where --patterns names the patterns")
    parser.add_argument("target", type=Path, help="the DATA-001 file to write")
    _add_array_flags(parser)
    _add_pattern_flags(parser)
    for name, what in GEOMETRY_FLAGS.items():
        parser.add_argument(_flag(name), dest=name, type=float, metavar="NUMBER", help=what)
    return parser


def _add_array_flags(parser: argparse.ArgumentParser) -> None:
    place = "FILE[:KEY]"
    parser.add_argument("--format", choices=FORMATS, default="auto", help="the source's format (default: by its content)")
    parser.add_argument(
        "--patterns", type=Path, metavar=place, help="patterns (n, H, W) in NPZ, NPY or HDF5, in place of a source"
    )
    parser.add_argument(
        "--positions", metavar=place, help="positions (n, 2), or with an index as a first column; CSV too; KEY,KEY for two arrays"
    )
    parser.add_argument(
        "--probe", metavar=place, help="the probe (H, W) or (modes, H, W), complex; mean-pattern: none is known, make one"
    )
    parser.add_argument("--refine-probe", action="store_true", help="refine the probe that is given; one that is made always is")
    parser.add_argument("--bad-pixels", metavar=place, help="a mask (H, W), not zero where a pixel is bad")
    parser.add_argument("--diffraction", type=Path, metavar="FILE", help="the patterns of a ptychodus product")
    parser.add_argument("--position-unit", choices=("auto", "px", "m", "um"), default="auto", help="unit of the positions")
    parser.add_argument(
        "--position-order",
        choices=("auto", "yx", "xy"),
        default="auto",
        help="which number of a position comes first, y along rows",
    )
    parser.add_argument(
        "--flip-positions",
        choices=("auto", "none", "y", "x", "yx"),
        default="auto",
        help="coordinates whose sign is turned (default: none)",
    )
    parser.add_argument(
        "--find-orientation",
        action="store_true",
        help="find order and signs of positions from the patterns, and check their scale; the two flags above settle a tie",
    )
    parser.add_argument(
        "--position-scale", type=float, default=1.0, metavar="FACTOR", help="a factor that positions are multiplied with"
    )
    parser.add_argument(
        "--probe-mode", choices=("auto", "strongest"), default="auto", help="keep the strongest of several modes, however weak"
    )
    parser.add_argument("--keep-object", action="store_true", help="keep the source's object, as if it were the truth")


def _add_pattern_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--patch-size-px", type=int, choices=(32, 64, 128, 256), help="crop patterns to this size (default: as measured)"
    )
    parser.add_argument("--bin-px", type=int, default=1, metavar="B", help="sum blocks of B by B detector pixels (default: 1)")
    parser.add_argument(
        "--dc", choices=("auto", "corner", "center"), default="auto", help="where the zero frequency lies in a pattern"
    )
    parser.add_argument("--quantity", choices=("auto", "intensity", "amplitude"), default="auto", help="what the patterns hold")
    parser.add_argument(
        "--pattern-axes",
        choices=("auto", "nhw", "nwh", "hwn", "whn"),
        default="auto",
        help="order of the patterns' axes: number, height, width (default: nhw)",
    )


def _flag(name: str) -> str:
    return "--" + name.lower().replace("_", "-")


def _options(arguments: argparse.Namespace) -> Any:
    from ptycho_torch import pipeline

    if arguments.bin_px < 1:
        raise RequestError(f"--bin-px is {arguments.bin_px}; allowed is a whole number, at least 1.", hint="1 keeps all pixels.")
    geometry = {name: getattr(arguments, name) for name in GEOMETRY_FLAGS if getattr(arguments, name) is not None}
    for name, value in (geometry | {"position_scale": arguments.position_scale}).items():
        if not value > 0 or value == float("inf"):
            raise RequestError(
                f"{_flag(name)} is {value:g}; allowed is a number above 0.", hint="See --help for its meaning and unit."
            )
    names = set(pipeline.IngestOptions.model_fields) & set(vars(arguments)) - {"format", "geometry"}
    told = {name: getattr(arguments, name) for name in names}
    return pipeline.IngestOptions(
        format="arrays" if arguments.patterns else arguments.format, geometry=pipeline.ScanGeometry(**geometry), **told
    )


if __name__ == "__main__":
    run_verb(main)
