"""Reconstruct a new scan with the network that a job has trained, on a CPU or a GPU."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fly64_hpc.collector import look
from fly64_hpc.command_line import (
    DEFAULT_STUDY,
    Output,
    VerbParser,
    add_directory_flags,
    add_filter_flags,
    job_filter,
    run_verb,
    study_paths,
)
from fly64_hpc.errors import EXIT_OK, RequestError
from fly64_hpc.job_choice import chosen_job
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.job_state import JobState
from fly64_hpc.slurm.calls import SlurmCalls

if TYPE_CHECKING:
    from ptycho_torch.pipeline import ScanReconstruction

EXAMPLES = (
    "--bundle outputs/fly64_demo/phase_e_training/dose_10000/dense/gs2 scan.npz object.npz --refine",
    "--study-dir outputs/fly64_demo --dose 1e4 --view dense scan.npz object.npz",
)
BUNDLE_NAMES = ("model.safetensors", "model.json")


def main(argv: Sequence[str]) -> int:
    """Run the verb; its exit code is returned."""
    arguments = _parser().parse_args(argv)
    output = Output(arguments.json)
    if arguments.target.resolve() == arguments.scan.resolve():
        raise RequestError(f"{arguments.target} is the scan itself.", hint="Name another file for the object.")
    bundle = _bundle(arguments)
    output.say(f"network: {bundle}")
    from ptycho_torch import pipeline  # imports torch, which --help does not need

    result = pipeline.reconstruct_scan(
        bundle,
        arguments.scan,
        refine=arguments.refine,
        device=arguments.device,
        batch_patterns=arguments.batch,
        photons_per_pattern=arguments.photons_per_pattern,
        threads=arguments.threads,
    )
    result.save(arguments.target)
    for line in _lines(result):
        output.say(line)
    output.say(f"wrote {arguments.target}")
    output.result({"target": str(arguments.target), "bundle": str(bundle), **_answer(result)})
    return EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = VerbParser(
        "reconstruct",
        "Reconstruct a scan (a DATA-001 file) by a trained network: that of a bundle, or of one job of a study.",
        EXAMPLES,
    )
    parser.add_argument("scan", type=Path, help="the scan, a DATA-001 file")
    parser.add_argument("target", type=Path, help="the NPZ to write")
    parser.add_argument("--bundle", type=Path, metavar="FOLDER", help="the folder with model.safetensors and model.json")
    parser.add_argument("--job", metavar="JOB", help="of the study: a job id, or a part of one that no other has")
    add_directory_flags(parser)
    add_filter_flags(parser)
    parser.add_argument("--refine", action="store_true", help="refine what the network makes, on this scan's photons")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="auto takes a GPU where one is")
    parser.add_argument("--batch", type=int, metavar="N", help="patterns that the network sees at once (default: 64 at N = 64)")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: PyTorch's own number)")
    parser.add_argument(
        "--photons-per-pattern", type=float, metavar="PHOTONS", help="on average, for a scan without `intensity_scale`"
    )
    return parser


def _bundle(arguments: argparse.Namespace) -> Path:
    """The folder of the bundle that the flags name."""
    if arguments.bundle is None:
        return _bundle_of_study(arguments)
    study_flags = ("study_dir", "set", "profile", "job", "dose", "view", "gridsize", "where")
    given = [f"--{name.replace('_', '-')}" for name in study_flags if getattr(arguments, name)]
    given += ["--study"] * (arguments.study != DEFAULT_STUDY)
    if given:
        raise RequestError(
            f"--bundle names the network, and {', '.join(given)} beside it name one of a study.", hint="Leave out one of the two."
        )
    bundle: Path = arguments.bundle
    return bundle.parent if bundle.name in BUNDLE_NAMES else bundle


def _bundle_of_study(arguments: argparse.Namespace) -> Path:
    view = look(StudyPaths(study_paths(arguments).home), SlurmCalls())
    job = chosen_job([one.job for one in view.jobs], arguments.job, job_filter(arguments), "--job")
    found = view.of_job(job)
    if found.outcome.state is not JobState.SUCCEEDED:
        raise RequestError(
            f"{job.job_id} has no trained network: {found.outcome.state.value}: {found.outcome.reason}.",
            hint="Train it first, with `submit`, or name another job.",
        )
    return found.paths.root


def _lines(result: "ScanReconstruction") -> Iterator[str]:
    """What was done, for a person."""
    facts = result.provenance
    height, width = result.object_yx.shape
    yield (
        f"scan: {facts['n_patterns']} patterns of {result.probe.shape[-1]} px, {facts['photons_per_pattern']:.3g} photons each "
        f"(the network learnt at {facts['bundle']['dose_photons']:g}); object of {height} x {width} px"
    )
    yield _geometry_words(result)
    yield _network_words(facts)
    if "refined" in facts["methods"]:
        refined = facts["methods"]["refined"]
        yield f"refined: {refined['how']}; {refined['seconds']:.2f} s in all"
    deviances = ", ".join(f"{name} {value:.4g}" for name, value in result.held_out_deviance.items())
    yield f"deviance per held-out photon: {deviances}"
    for name, scores in (result.scores or {}).items():
        yield f"against objectGuess: {name}: NMSE {scores['nmse']:.4f}, phase MAE {scores['phase_mae_rad']:.3f} rad"
    for warning in result.warnings:
        yield f"warning: {warning}"


def _geometry_words(result: "ScanReconstruction") -> str:
    pixel_size_m = result.pixel_size_m
    return "pixel of the object: " + (f"{1e9 * pixel_size_m:.3g} nm" if pixel_size_m else "the scan does not say how large")


def _network_words(facts: dict[str, Any]) -> str:
    network = facts["methods"]["network"]
    groups = "the whole canvas" if facts["groups"] is None else f"{facts['groups']} groups of {facts['group_size']}"
    speed = f"{network['seconds']:.2f} s, {facts['patterns_per_s']:.0f} patterns per second on {facts['device']}"
    return f"network: {groups}, {speed}"


def _answer(result: "ScanReconstruction") -> dict[str, Any]:
    """The same for a machine."""
    return {
        "object_shape_px": list(result.object_yx.shape),
        "pixel_size_m": result.pixel_size_m,
        "held_out_deviance": result.held_out_deviance,
        "scores": result.scores,
        "warnings": list(result.warnings),
        "provenance": result.provenance,
    }


if __name__ == "__main__":
    run_verb(main)
