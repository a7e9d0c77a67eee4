"""Training of one network: AdamW, warm-up and cosine, a checkpoint after each epoch, and resuming.

Every random draw is a function of (seed, epoch, step), the learning rate a function of the step alone, so the state is weights,
moments and counters. A training that stops at any step and goes on later gives the bytes of one that never stopped, as long as
seed, machine, device and number of threads stay the same: another of them rounds its sums differently.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ptycho_torch.checkpoints import (
    Checkpoint,
    HistoryRow,
    NamedTensors,
    Progress,
    TrainingState,
    adopt,
    detached,
    newest_valid,
    optimizer_moments,
    prune,
    restore_moments,
    save_checkpoint,
)
from ptycho_torch.config import JobConfig, TrainingConfig
from ptycho_torch.dataset import ScanTensors, counter_seed, epoch_batches, validation_strip
from ptycho_torch.errors import TrainingDivergedError
from ptycho_torch.held_out import hold_out, part_photons, prediction_deviance
from ptycho_torch.model import PtychoModel, build_model
from ptycho_torch.training_log import log_epoch, logger, write_history

HISTORY_NAME = "history.jsonl"
ADAM_BETAS = (0.9, 0.99)
FINAL_RATE_SHARE = 0.02
STEP_PURPOSE, VALIDATION_PURPOSE = 1, 2
"""Which use of the training seed: the photon splits of the steps, and the one of validation."""

Report = Callable[[dict[str, Any]], None]


class Interrupted(Exception):
    """Training was asked to stop and did, after saving a checkpoint.

    Parameters
    ----------
    step
        Steps done.
    epoch
        Epochs completed.
    first_step
        The step at which this attempt began: 0, or where it resumed. Equal to `step` where it made no progress.
    """

    hint = "Submit again: training goes on from there."

    def __init__(self, step: int, epoch: int, first_step: int) -> None:
        super().__init__(f"training was stopped after step {step} ({epoch} epochs completed) and can go on from there")
        self.step = step
        self.epoch = epoch
        self.first_step = first_step


@dataclass(frozen=True)
class Surroundings:
    """What one attempt at a training is given from outside besides its job and data."""

    folder: Path
    """The attempt's own folder, where `history.jsonl` is written."""
    checkpoints: Path
    """The attempt's own folder of checkpoints."""
    attempt: int
    report: Report
    """Called with `{"event": "step", step, total_steps}` after each step and `{"event": "epoch", ...}` after each epoch."""
    should_stop: Callable[[], bool]
    """Asked before each step."""
    earlier_checkpoints: tuple[Path, ...] = ()
    """The folders of earlier attempts, the newest first: they are only read, for such an attempt may still be alive."""

    @property
    def all_checkpoints(self) -> tuple[Path, ...]:
        """The folders in which there may be something to go on from, the attempt's own first."""
        return (self.checkpoints, *self.earlier_checkpoints)


@dataclass(frozen=True, eq=False)
class TrainingOutcome:
    """A training that came to its end."""

    best_weights: NamedTensors
    """Those of the epoch with the lowest validation loss."""
    progress: Progress
    first_step: int
    """The step at which this attempt began: 0, or where it resumed."""
    resumed_from: Path | None
    """The checkpoint that training went on from, in the folder of the attempt that wrote or adopted it."""
    warnings: list[str] = field(default_factory=list)


def train(job: JobConfig, scan: ScanTensors, surroundings: Surroundings) -> TrainingOutcome:
    """Train a job's network from the newest checkpoint of this or an earlier attempt, or from the start.

    Whatever it goes on from is first taken into the attempt's own folder, which then is enough to go on from again.

    Raises
    ------
    Interrupted
        `should_stop` said so; a checkpoint holds the very step.
    TrainingDivergedError
        A loss or gradient is infinite or not a number; the last checkpoint is from before.
    CheckpointError
        A checkpoint cannot be written.
    """
    return _Trainer(job, scan, surroundings).run()


def learning_rate(step: int, total_steps: int, training: TrainingConfig) -> float:
    """The rate of a step (the first is 0): a straight warm-up, then a cosine down to a fiftieth."""
    warmup_steps = round(training.warmup_fraction * total_steps)
    if step < warmup_steps:
        return training.learning_rate * (step + 1) / warmup_steps
    done = (step - warmup_steps) / max(1, total_steps - 1 - warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * done))
    return training.learning_rate * (FINAL_RATE_SHARE + (1 - FINAL_RATE_SHARE) * cosine)


def seeded_model(job: JobConfig) -> PtychoModel:
    """The job's network as it is before any training; torch's global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(counter_seed(job.training_seed))
        return build_model(job.training, job.patch_size_px, job.gridsize)


class _Trainer:
    def __init__(self, job: JobConfig, scan: ScanTensors, surroundings: Surroundings) -> None:
        self._job = job
        self._scan = scan
        self._surroundings = surroundings
        self._training_rows, validation_rows = validation_strip(
            scan.positions_yx, job.training.validation_fraction, at_least=job.group_size
        )
        self._validation = hold_out(scan.take(validation_rows), job, VALIDATION_PURPOSE)
        self._model = seeded_model(job).to(scan.counts.device)
        self._optimizer = torch.optim.AdamW(
            self._model.parameters(), lr=job.training.learning_rate, betas=ADAM_BETAS, weight_decay=job.training.weight_decay
        )
        self._progress = Progress()
        self._first_step = 0
        self._best_weights: NamedTensors = {}
        self._warnings: list[str] = []

    def run(self) -> TrainingOutcome:
        resumed_from = self._resume()
        for epoch in range(self._progress.epoch, self._job.training.epochs):
            self._run_epoch(epoch)
        return TrainingOutcome(self._best_weights, self._progress, self._first_step, resumed_from, self._warnings)

    def _resume(self) -> Path | None:
        folders = self._surroundings.all_checkpoints
        checkpoint = newest_valid(folders, self._job.config_sha256(), self._warn)
        if checkpoint is not None:
            adopt(checkpoint, folders)
            self._restore(checkpoint)
            logger.info("resumes after step %d, from %s", self._first_step, checkpoint.path)
        self._write_history()
        return None if checkpoint is None else checkpoint.path

    def _restore(self, checkpoint: Checkpoint) -> None:
        self._progress = Progress(**{name: getattr(checkpoint.facts, name) for name in Progress.model_fields})
        self._first_step = self._progress.step
        self._best_weights = checkpoint.state.best_weights
        self._model.load_state_dict(checkpoint.state.weights)
        restore_moments(self._optimizer, self._model, checkpoint.state.moments)

    def _run_epoch(self, epoch: int) -> None:
        batches = epoch_batches(self._scan, self._training_rows, self._job, epoch)
        first = self._progress.step - epoch * len(batches)
        for rows in batches[first:]:
            if self._surroundings.should_stop():
                self._save()
                raise Interrupted(self._progress.step, self._progress.epoch, self._first_step)
            self._run_step(rows, epoch, total_steps=self._job.training.epochs * len(batches))
        self._finish_epoch(batches)
        self._save()
        prune(self._surroundings.checkpoints, self._job.config_sha256())

    def _run_step(self, rows: Tensor, epoch: int, total_steps: int) -> None:
        started = time.perf_counter()
        step = self._progress.step
        self._set_rate(learning_rate(step, total_steps, self._job.training))
        loss = self._descend(rows, counter_seed(self._job.training_seed, STEP_PURPOSE, epoch, step))
        self._advance(
            {
                "step": step + 1,
                "epoch_loss_sum": self._progress.epoch_loss_sum + loss,
                "epoch_seconds": self._progress.epoch_seconds + time.perf_counter() - started,
            }
        )
        self._surroundings.report({"event": "step", "step": step + 1, "total_steps": total_steps})

    def _descend(self, rows: Tensor, seed: int) -> float:
        training = self._job.training
        parts = part_photons(self._scan.counts[rows], training.photon_split, seed)
        loss = prediction_deviance(self._model, self._scan, rows, parts)
        value = self._finite("training loss", float(loss.detach()))
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        norm = torch.nn.utils.clip_grad_norm_(self._model.parameters(), training.gradient_clip_norm)
        self._finite("gradient's norm", float(norm))
        self._optimizer.step()
        return value

    def _finish_epoch(self, batches: Sequence[Tensor]) -> None:
        progress = self._progress
        val_loss = self._finite("validation loss", self._validation.deviance(self._model))
        row = HistoryRow(
            epoch=progress.epoch + 1,
            step=progress.step,
            train_loss=progress.epoch_loss_sum / len(batches),
            val_loss=val_loss,
            learning_rate=self._optimizer.param_groups[0]["lr"],
            seconds=round(progress.epoch_seconds, 3),
            samples_per_s=round(sum(map(torch.Tensor.numel, batches)) / progress.epoch_seconds, 1),
        )
        if progress.best_val_loss is None or val_loss < progress.best_val_loss:
            self._best_weights = detached(self._model.state_dict())
            self._advance({"best_step": progress.step, "best_val_loss": val_loss})
        history = (*progress.history, row)
        self._advance({"epoch": row.epoch, "epoch_loss_sum": 0.0, "epoch_seconds": 0.0, "history": history})
        self._tell(row)

    def _tell(self, row: HistoryRow) -> None:
        self._write_history()
        log_epoch(row, self._job.training.epochs)
        self._surroundings.report({"event": "epoch", "epochs": self._job.training.epochs, **row.model_dump()})

    def _save(self) -> None:
        state = TrainingState(
            weights=detached(self._model.state_dict()),
            best_weights=self._best_weights,
            moments=optimizer_moments(self._optimizer, self._model),
        )
        own = self._surroundings.checkpoints
        sha256 = self._job.config_sha256()
        save_checkpoint(own, self._progress, state, config_sha256=sha256, attempt=self._surroundings.attempt)

    def _write_history(self) -> None:
        write_history(self._surroundings.folder / HISTORY_NAME, self._progress.history)

    def _advance(self, changes: dict[str, Any]) -> None:
        self._progress = self._progress.model_copy(update=changes)

    def _set_rate(self, rate: float) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = rate

    def _finite(self, what: str, value: float) -> float:
        if not math.isfinite(value):
            raise TrainingDivergedError(
                f"The {what} of {self._job.job_id} became {value} at step {self._progress.step}.",
                hint="Lower training.learning_rate or training.gradient_clip_norm; the last checkpoint is from before.",
            )
        return value

    def _warn(self, sentence: str) -> None:
        self._warnings.append(sentence)
        logger.warning(sentence)
