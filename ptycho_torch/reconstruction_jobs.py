"""Whole jobs that reconstruct both halves of a scan and score them: by a trained network, or by an iterative solver."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ptycho_torch.atomic_files import write_text
from ptycho_torch.bundle import load_model
from ptycho_torch.config import JobConfig, SolverJobConfig
from ptycho_torch.data_consistency import Tick
from ptycho_torch.devices import choose_device, make_repeatable
from ptycho_torch.network_evaluation import evaluate_network
from ptycho_torch.network_object import in_larger_batches
from ptycho_torch.solvers import passes, run_solver
from ptycho_torch.trainer import HISTORY_NAME, Interrupted, Report
from ptycho_torch.training_log import logger, logging_to
from ptycho_torch.yardstick import CONSTANTS, Reconstructed, Yardstick, yardstick

TRAINING_HALF = "train"
HALVES = (TRAINING_HALF, "test")
REPORT_PERIOD_S = 1.0


@dataclass(frozen=True)
class HalfFiles:
    """What a job that reconstructs reads, and where it writes."""

    train_npz: Path
    test_npz: Path
    folder: Path
    """Reconstructions are written here, and the progress as `history.jsonl`."""

    def npz(self, half: str) -> Path:
        """The file of a half."""
        return self.train_npz if half == "train" else self.test_npz


class SolverStopped(Interrupted):
    """A solver was asked to stop and did; it keeps nothing."""

    hint = "Submit again: it starts over."

    def __init__(self, passes_done: int) -> None:
        super().__init__(step=0, epoch=0, first_step=0)
        self.args = (f"the solver was stopped after {passes_done} passes over the scan and starts over the next time",)


def evaluate_job(job: JobConfig, bundle: Path, files: HalfFiles) -> dict[str, Any]:
    """Reconstruct both halves by the network of a bundle, alone and refined, and score them.

    Writes `network_train.npz`, `network_test.npz`, `refined_train.npz` and `refined_test.npz`.

    Parameters
    ----------
    bundle
        The folder with `model.safetensors` and `model.json`.

    Returns
    -------
    Constants, device, and for each half its facts and the figures of `network` and `refined`, as JSON values.
    """
    device, warnings = choose_device(job.training.device)
    make_repeatable(deterministic=job.training.deterministic, threads=job.training.threads)
    model, facts = load_model(bundle)
    halves = {}
    for name in HALVES:
        half = _yardstick(job, files.npz(name), device)
        made = evaluate_network(model.to(device), in_larger_batches(job), half, known=name == TRAINING_HALF)
        figures = {
            method: half.measure(one) | half.save(one, files.folder / f"{method}_{name}.npz") for method, one in made.items()
        }
        halves[name] = half.facts() | {"methods": figures}
    return {
        "constants": CONSTANTS,
        "device": str(device),
        "warnings": warnings,
        "weights_sha256": facts["weights_sha256"],
        "halves": halves,
    }


def solve_job(
    job: SolverJobConfig, files: HalfFiles, log: Path, *, attempt: int, report: Report, should_stop: Callable[[], bool]
) -> dict[str, Any]:
    """Reconstruct both halves by one solver, and score them.

    Writes `reconstruction_train.npz` and `reconstruction_test.npz`.

    Parameters
    ----------
    report
        Called with `{"event": "epoch", epoch, epochs}` now and then: passes over the scan, and how many at most.
    should_stop
        Asked after each pass.

    Returns
    -------
    The facts of the result record, JSON values; the bundle is the reconstruction of the test half.

    Raises
    ------
    Interrupted
        `should_stop` said so.
    PtychoError
        Data or device failed, or the solver is not installed.
    """
    with logging_to(log, attempt):
        device, warnings = choose_device(job.device)
        for warning in warnings:
            logger.warning(warning)
        make_repeatable(deterministic=True, threads=job.threads)
        halves = {name: _yardstick(job, files.npz(name), device) for name in HALVES}
        total = sum(passes(job.solver, is_measured=half.truth is None) for half in halves.values())
        tick = _Passes(total, files.folder, report, should_stop)
        figures = {name: _solve_half(job, name, half, files.folder, tick) for name, half in halves.items()}
    bundle = figures["test"]["methods"]["solver"]
    return {
        "bundle_path": bundle["file"],
        "bundle_sha256": bundle["sha256"],
        "bundle_size_bytes": bundle["size_bytes"],
        "first_step": 0,
        "device": str(device),
        "warnings": warnings,
        "metrics": {"constants": CONSTANTS, "halves": figures},
    }


def _yardstick(job: JobConfig | SolverJobConfig, npz: Path, device: torch.device) -> Yardstick:
    return yardstick(npz, patch_size_px=job.patch_size_px, dose_photons=job.dose_photons, device=device)


def _solve_half(job: SolverJobConfig, name: str, half: Yardstick, folder: Path, tick: Tick) -> dict[str, Any]:
    made: Reconstructed = run_solver(job.solver, half, job.seed, tick)
    figures = half.measure(made, is_reference=job.solver.method == "gradient")
    figures |= half.save(made, folder / f"reconstruction_{name}.npz")
    logger.info("%s half: %s in %.1f s", name, job.solver.method, made.seconds)
    return half.facts() | {"methods": {"solver": figures}}


@dataclass
class _Passes:
    """Counts passes over the scan, tells of them now and then, and ends the work where that is asked for."""

    total: int
    folder: Path
    report: Report
    should_stop: Callable[[], bool]
    done: int = 0
    _told_at: float = field(default_factory=time.monotonic)

    def __call__(self) -> None:
        self.done += 1
        if self.should_stop():
            raise SolverStopped(self.done)
        if time.monotonic() - self._told_at > REPORT_PERIOD_S:
            self._told_at = time.monotonic()
            row = {"epoch": self.done, "epochs": self.total}
            write_text(self.folder / HISTORY_NAME, f'{{"epoch": {self.done}, "epochs": {self.total}}}\n')
            self.report({"event": "epoch"} | row)
