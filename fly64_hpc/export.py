"""Bring a reconstruction into files that other programs open: ptychodus, silx, ImageJ, cdtools, a viewer of pictures."""

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fly64_hpc.best_job import FIGURES, best_job
from fly64_hpc.collector import JobView, StudyView, look
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
from fly64_hpc.errors import EXIT_JOB_FAILED, EXIT_OK, RequestError
from fly64_hpc.job_choice import chosen_job, select
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.job_record import bundle_of
from fly64_hpc.job_state import JobState
from fly64_hpc.slurm.calls import SlurmCalls
from fly64_hpc.train_task import checked_file
from ptycho_torch.config import PtychoError

EXAMPLES = (
    "--best --study-dir outputs/fly64_demo --format tiff --format png",
    "--all --view dense --format ptychodus --energy-ev 8800 --distance-m 1.9 --detector-pixel-m 75e-6",
)
FORMATS = ("ptychodus", "tiff", "cxi", "npz", "png", "program", "weights")
DEFAULT_FORMATS = ("png", "tiff", "npz")
"""Those that no length in metres can fail."""
ANY_FIGURE = "any"
EXPORT_FOLDER = "export"


def main(argv: Sequence[str]) -> int:
    """Run the verb; its exit code is returned."""
    arguments = _parser().parse_args(argv)
    output = Output(arguments.json)
    _refuse_wrong(arguments)
    if arguments.all:
        return _export_all(arguments, output)
    source, folder = _of_files(arguments) if arguments.reconstruction is not None else _of_job(arguments, output)
    report = _exported(arguments, source, folder)
    for line in _lines(report):
        output.say(line)
    output.result(report.as_dict())
    return EXIT_OK


def _exported(arguments: argparse.Namespace, source: Mapping[str, Any], folder: Path) -> Any:
    """What was exported of one reconstruction, and to which files."""
    from ptycho_torch import pipeline  # imports torch, which --help does not need

    geometry = pipeline.ScanGeometry(
        object_pixel_size_m=arguments.pixel_size_m,
        photon_energy_eV=arguments.energy_ev,
        detector_distance_m=arguments.distance_m,
        detector_pixel_size_m=arguments.detector_pixel_m,
    )
    whole = pipeline.ExportSource(**source, method=arguments.method, geometry=geometry)
    return pipeline.export_reconstruction(whole, arguments.format or DEFAULT_FORMATS, folder)


def _export_all(arguments: argparse.Namespace, output: Output) -> int:
    """Every job that the filters leave, each into a folder of its own; one that cannot be exported keeps no other from it."""
    paths = study_paths(arguments)
    jobs = _left_by_filters(look(paths, SlurmCalls()), arguments)
    reports, refused = [], []
    for job in jobs:
        try:
            source = _source_of(paths, job)
            report = _exported(arguments, source, (arguments.output_dir or paths.exports).resolve() / job.job.job_id)
        except PtychoError as error:
            refused.append({"name": job.job.job_id, "reason": str(error)})
            output.say(f"{job.job.job_id}: not exported: {error}")
            continue
        reports.append(report.as_dict())
        for line in _lines(report):
            output.say(line)
    output.say(f"{len(reports)} of {len(jobs)} jobs exported")
    output.result({"jobs": reports, "not_exported": refused})
    return EXIT_JOB_FAILED if refused else EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = VerbParser(
        "export",
        "Write the reconstruction of a job, or one in a file, in formats that other programs open.",
        EXAMPLES,
    )
    parser.add_argument("job", nargs="?", metavar="JOB", help="a job id, or a part of one that no other has")
    add_directory_flags(parser)
    add_phase_flag(parser)
    add_filter_flags(parser)
    parser.add_argument(
        "--best",
        nargs="?",
        const=ANY_FIGURE,
        choices=(*FIGURES, ANY_FIGURE),
        metavar="FIGURE",
        help=f"the best job by {' or '.join(FIGURES)} (default: the first where the object is known, else the other)",
    )
    parser.add_argument(
        "--all", action="store_true", help="every job that --dose, --view and --gridsize leave, each into a folder of its name"
    )
    parser.add_argument("--reconstruction", type=Path, metavar="FILE", help="a reconstruction.npz, instead of a job's")
    parser.add_argument("--scan", type=Path, metavar="FILE", help="the DATA-001 file that it was made of")
    parser.add_argument("--method", choices=("network", "refined"), help="which object (default: refined where there is one)")
    parser.add_argument(
        "--format", action="append", choices=FORMATS, help=f"may be repeated (default: {', '.join(DEFAULT_FORMATS)})"
    )
    parser.add_argument(
        "--output-dir", type=Path, metavar="DIR", help=f"default {EXPORT_FOLDER}/ in the study's directory, or beside the file"
    )
    for flag, what in (
        ("--pixel-size-m", "the side of a pixel of the object"),
        ("--distance-m", "from object to detector"),
        ("--detector-pixel-m", "the side of a pixel of the patterns, as they are in the scan's file"),
    ):
        parser.add_argument(flag, type=_positive, metavar="METRES", help=f"{what}, where the scan does not say it")
    parser.add_argument("--energy-ev", type=_positive, metavar="EV", help="of the photons, where the scan does not say it")
    return parser


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"got {text!r}; allowed is a number above 0")
    return value


def _refuse_wrong(arguments: argparse.Namespace) -> None:
    if (arguments.reconstruction is None) != (arguments.scan is None):
        raise RequestError(
            "--reconstruction and --scan go together: an object without its probe and positions is half of what is exported.",
            hint="Give both, or name a job.",
        )
    given = [
        name
        for name, value in (
            ("--reconstruction", arguments.reconstruction),
            ("JOB", arguments.job),
            ("--best", arguments.best),
            ("--all", arguments.all),
        )
        if value
    ]
    if len(given) > 1:
        raise RequestError(f"{' and '.join(given)} name different things; allowed is one of them.", hint="Leave out the others.")


def _of_files(arguments: argparse.Namespace) -> tuple[dict[str, Any], Path]:
    """A reconstruction that is named directly, and the folder of what is written."""
    file: Path = arguments.reconstruction
    source = {"reconstruction": file, "scan": arguments.scan, "name": file.stem}
    return source, (arguments.output_dir or file.parent / EXPORT_FOLDER).resolve()


def _of_job(arguments: argparse.Namespace, output: Output) -> tuple[dict[str, Any], Path]:
    """A job's reconstruction, and the folder of what is written."""
    paths = study_paths(arguments)
    view = look(paths, SlurmCalls())
    job = _best(view, arguments, output) if arguments.best else _named(view, arguments)
    return _source_of(paths, job), (arguments.output_dir or paths.exports).resolve()


def _source_of(paths: StudyPaths, job: JobView) -> dict[str, Any]:
    """A job's reconstruction, its scan, and its name.

    Raises
    ------
    RequestError
        It has not succeeded.
    StudyDirectoryError
        The scan is not what the job was submitted with.
    """
    if job.outcome.state is not JobState.SUCCEEDED or job.spec is None or job.record is None:
        raise RequestError(
            f"{job.job.job_id} has no reconstruction: {job.outcome.state.value}: {job.outcome.reason}.",
            hint="Choose a job that succeeded; see status.",
        )
    return {
        "reconstruction": _reconstruction(paths, job),
        "scan": checked_file(paths, job.spec.test_data),
        "name": job.job.job_id,
    }


def _reconstruction(paths: StudyPaths, job: JobView) -> Path:
    from ptycho_torch.npz_contract import RECONSTRUCTION_NAME  # numpy: --help needs none

    assert job.record is not None
    return bundle_of(job.paths, job.record) if paths.is_phase_f else job.paths.root / RECONSTRUCTION_NAME


def _named(view: StudyView, arguments: argparse.Namespace) -> JobView:
    return view.of_job(chosen_job([one.job for one in view.jobs], arguments.job, job_filter(arguments)))


def _best(view: StudyView, arguments: argparse.Namespace, output: Output) -> JobView:
    jobs = _left_by_filters(view, arguments)
    by = None if arguments.best == ANY_FIGURE else arguments.best
    job, figure, value = best_job(jobs, by, arguments.method)
    output.say(f"best by {figure}, {value:.4g}: {job.job.job_id}")
    return job


def _left_by_filters(view: StudyView, arguments: argparse.Namespace) -> list[JobView]:
    chosen = {job.job_id for job in select([one.job for one in view.jobs], job_filter(arguments))}
    return [one for one in view.jobs if one.job.job_id in chosen]


def _lines(report: Any) -> list[str]:
    """What was exported, in a line, and a line for each file."""
    height, width = report.object_shape
    pixel_m = report.geometry.object_pixel_size_m
    pixel = "of unknown size (see --pixel-size-m)" if pixel_m is None else f"of {1e9 * pixel_m:.4g} nm"
    made = {"network": "the network's object", "refined": "the refined object"}.get(report.method, "the object")
    head = f"{report.name}: {made}, {height} by {width} pixels {pixel}"
    return [head, *(f"  {file.format:<10} {file.path} ({file.size_bytes / 1e6:.2f} MB)" for file in report.files)]


if __name__ == "__main__":
    run_verb(main)
