"""The door by which a launcher enters: make data, train one job, read what it left, reconstruct. Needs PyTorch (POLICY-001).

A job's first step waits for what it needs and for nothing else: what has no part in training is imported when it is asked for.
"""

import importlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptycho_torch.errors import MissingTorchError

try:
    import torch  # noqa: F401 - whoever lacks it learns so here (POLICY-001)
except ImportError as error:
    raise MissingTorchError(
        f"PyTorch cannot be imported: {error}.",
        hint="Install it in this Python: pip install torch --index-url https://download.pytorch.org/whl/cpu",
    ) from error

from ptycho_torch import params
from ptycho_torch.bundle import BundleRecord, bundle_facts, load_model, write_bundle
from ptycho_torch.config import DatasetRecipe, JobConfig, ViewRecipe
from ptycho_torch.dataset import Object, ScanTensors, load_half
from ptycho_torch.devices import choose_device, keep_freed_memory, make_repeatable
from ptycho_torch.legacy_bridge import legacy_config, require_clear, reset, update_legacy_dict
from ptycho_torch.network_object import bounding_shape, in_larger_batches
from ptycho_torch.precision import precision_on
from ptycho_torch.reconstruction_file import RECONSTRUCTION_NAME
from ptycho_torch.tensorboard_events import FOLDER_NAME, reporting_to
from ptycho_torch.trainer import Interrupted, Report, Surroundings, TrainingOutcome, train
from ptycho_torch.training_log import logger, logging_to

if TYPE_CHECKING:
    from ptycho_torch.exporting.formats import ExportReport, ExportSource, export_reconstruction
    from ptycho_torch.measured_scan import IngestOptions, ingest
    from ptycho_torch.new_scan import reconstruct_scan
    from ptycho_torch.reconstruction_jobs import HalfFiles, evaluate_job, solve_job
    from ptycho_torch.scan_geometry import ScanGeometry
    from ptycho_torch.scan_picture import draw_scan
    from ptycho_torch.scan_result import ScanReconstruction

__all__ = [
    "ExportReport",
    "ExportSource",
    "HalfFiles",
    "IngestOptions",
    "Interrupted",
    "ScanGeometry",
    "ScanReconstruction",
    "TrainingFiles",
    "clear_legacy_dict",
    "draw_scan",
    "evaluate_job",
    "export_reconstruction",
    "ingest",
    "load_model",
    "prepare_dataset",
    "prepare_view",
    "reconstruct_scan",
    "require_clear_legacy_dict",
    "solve_job",
    "train_job",
]


_ASKED_FOR = {
    "ExportReport": "exporting.formats",
    "ExportSource": "exporting.formats",
    "HalfFiles": "reconstruction_jobs",
    "IngestOptions": "measured_scan",
    "ScanGeometry": "scan_geometry",
    "ScanReconstruction": "scan_result",
    "draw_scan": "scan_picture",
    "evaluate_job": "reconstruction_jobs",
    "export_reconstruction": "exporting.formats",
    "ingest": "measured_scan",
    "reconstruct_scan": "new_scan",
    "solve_job": "reconstruction_jobs",
}
"""Where what this door offers besides training lies."""


def __getattr__(name: str) -> Any:
    if name not in _ASKED_FOR:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"ptycho_torch.{_ASKED_FOR[name]}"), name)


@dataclass(frozen=True)
class TrainingFiles:
    """What one attempt at a job reads, and where it writes."""

    train_npz: Path
    test_npz: Path
    folder: Path
    """The attempt's own folder: bundle, reconstruction and history are written here."""
    checkpoints: Path
    """The attempt's own folder of checkpoints, `checkpoints/<attempt>` of the job's folder."""
    log: Path
    """The job's `train.log`, to which all its attempts append."""
    earlier_checkpoints: tuple[Path, ...] = ()
    """The folders of earlier attempts' checkpoints, the newest first; they are only read."""


def prepare_dataset(recipe: DatasetRecipe, folder: Path) -> dict[str, Any]:
    """Phase C at one dose: the record of the files in `folder`, which are made unless they are whole and of this recipe."""
    from ptycho_torch.simulation import current_dataset, make_dataset

    return current_dataset(recipe, folder) or make_dataset(recipe, folder)


def prepare_view(recipe: ViewRecipe, phase_c: Path, folder: Path) -> dict[str, Any]:
    """Phase D for one view: the metrics bundle of the files in `folder`, which are made unless whole and of this recipe.

    Raises
    ------
    ViewUnavailableError
        The dataset cannot yield the view.
    """
    from ptycho_torch.overlap_views import current_view, make_view

    return current_view(recipe, phase_c, folder) or make_view(recipe, phase_c, folder)


def clear_legacy_dict() -> None:
    """Bring the legacy dictionary back to its defaults, so that no job finds another's values."""
    reset()


def require_clear_legacy_dict() -> None:
    """Refuse a legacy dictionary in which a job has left something.

    Raises
    ------
    BridgeError
        Naming the keys.
    """
    require_clear(params.cfg)


def train_job(
    job: JobConfig, files: TrainingFiles, *, attempt: int, report: Report, should_stop: Callable[[], bool]
) -> dict[str, Any]:
    """Train one network, or go on training it, write its bundle and score it on the half of the scan it never saw.

    Writes `model.safetensors`, `model.json`, `reconstruction.npz` and `history.jsonl` into the attempt's folder, its checkpoints
    into theirs, and lines into the log; another attempt that is alive at the same time is not disturbed. The legacy dictionary is
    filled first of all (CONFIG-001) and cleared at the end, so that jobs may follow each other in one process.

    Parameters
    ----------
    attempt
        Which attempt at this job it is; the first is 1.
    report
        Called with the events of `trainer.Surroundings`, and `{"event": "evaluating"}`.
    should_stop
        Asked before each step.

    Returns
    -------
    The facts of the result record, JSON values: `bundle_path` relative to `files.folder`, `resumed_from` to the job's folder
    (`checkpoints/001/step_00000012.safetensors`), `first_step` the step at which this attempt began.

    Raises
    ------
    Interrupted
        `should_stop` said so; an attempt that finds this one's checkpoints goes on from that very step.
    PtychoError
        Data, device or training failed.
    """
    with logging_to(files.log, attempt), _bridged(job, files), _reporting(job, files, report) as tell:
        device, warnings = choose_device(job.training.device)
        for warning in warnings:
            logger.warning(warning)
        make_repeatable(deterministic=job.training.deterministic, threads=job.training.threads)
        keep_freed_memory()
        test_scan, truth = load_half(files.test_npz, job, device)  # what it refuses, it refuses before hours of training
        surroundings = Surroundings(files.folder, files.checkpoints, attempt, tell, should_stop, files.earlier_checkpoints)
        outcome = train(job, load_half(files.train_npz, job, device)[0], surroundings)
        bundle = write_bundle(files.folder, outcome.best_weights, bundle_facts(job))
        report({"event": "evaluating"})
        metrics = _evaluate(in_larger_batches(job), files, test_scan, truth)
        where = {"device": str(device), "precision": precision_on(device, job.training.precision)}
        return _result(outcome, bundle, metrics) | where | {"warnings": [*warnings, *outcome.warnings]}


def _reporting(job: JobConfig, files: TrainingFiles, report: Report) -> AbstractContextManager[Report]:
    """The launcher's report, and TensorBoard's where the job wants it."""
    return reporting_to(files.log.parent / FOLDER_NAME, report) if job.training.tensorboard else nullcontext(report)


@contextmanager
def _bridged(job: JobConfig, files: TrainingFiles) -> Iterator[None]:
    """The legacy dictionary filled from this job, and from nothing else, as long as the job runs."""
    reset()
    config = legacy_config(job, train_npz=files.train_npz, test_npz=files.test_npz, output_dir=files.folder)
    update_legacy_dict(params.cfg, config)
    try:
        yield
    finally:
        reset()


def _evaluate(job: JobConfig, files: TrainingFiles, scan: ScanTensors, truth: Object | None) -> dict[str, Any]:
    """Score the bundle as it lies on the disk, on the test half, and write the stitched object."""
    from ptycho_torch.reconstruction import reconstruct
    from ptycho_torch.training_metrics import image_metrics, photon_collapse, photon_metrics

    model = load_model(files.folder)[0].to(scan.counts.device)
    shape = bounding_shape(scan) if truth is None else (truth.shape[0], truth.shape[1])
    reconstruction = reconstruct(model, scan, job, shape)
    reconstruction.save(files.folder / RECONSTRUCTION_NAME, truth)
    photons = photon_metrics(model, scan, job, shape)
    if truth is None:
        return photons | photon_collapse(photons["held_out_deviance"], photons["flat_deviance"])
    return photons | image_metrics(reconstruction, truth)


def _result(outcome: TrainingOutcome, bundle: BundleRecord, metrics: dict[str, Any]) -> dict[str, Any]:
    history = outcome.progress.history
    seconds = sum(row.seconds for row in history)
    resumed_from = outcome.resumed_from
    return {
        "final_loss": history[-1].train_loss,
        "best_val_loss": outcome.progress.best_val_loss,
        "epochs_completed": outcome.progress.epoch,
        "bundle_path": bundle.path.name,
        "bundle_sha256": bundle.sha256,
        "bundle_size_bytes": bundle.size_bytes,
        "samples_per_s": round(sum(row.samples_per_s * row.seconds for row in history) / max(seconds, 1e-9), 1),
        "first_step": outcome.first_step,
        "resumed_from": None if resumed_from is None else Path(*resumed_from.parts[-3:]).as_posix(),
        "metrics": metrics,
    }
