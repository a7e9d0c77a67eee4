"""Training of one model, lesson after lesson: AdamW, warm-up and cosine, a checkpoint after each epoch, and resuming.

Every random draw is a function of (seed, epoch, step), the learning rate a function of the step alone, so the state is weights,
moments and counters. A training that stops at any step and goes on later gives the bytes of one that never stopped, as long as
seed, machine, device and number of threads stay the same: another of them rounds its sums differently.
"""

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
    prune,
    save_checkpoint,
)
from ptycho_torch.config import JobConfig
from ptycho_torch.dataset import ScanTensors, counter_seed
from ptycho_torch.learning import Place, learn, lesson_optimizer, require_finite
from ptycho_torch.lessons import STEP_PURPOSE, Lesson, lessons
from ptycho_torch.model import seeded_model
from ptycho_torch.training_log import log_epoch, logger, write_history

HISTORY_NAME = "history.jsonl"

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
    """Called with `{"event": "lesson", lesson}` before a later lesson makes what it learns from, `{"event": "step", ...}` after
    each step (`lesson`; `step`, and `lesson_end_step`, where the lesson ends; `first_step`, where this attempt began;
    `total_steps` of all lessons; `epoch`, those completed) and `{"event": "epoch", ...}` after each epoch."""
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


@dataclass(frozen=True, eq=False)
class _Span:
    """Where a lesson stands in the whole training."""

    lesson: Lesson
    first_epoch: int
    first_step: int
    steps_per_epoch: int

    @property
    def end_epoch(self) -> int:
        return self.first_epoch + self.lesson.epochs

    @property
    def end_step(self) -> int:
        return self.first_step + self.lesson.epochs * self.steps_per_epoch

    def epoch_start(self, epoch: int) -> int:
        return self.first_step + (epoch - self.first_epoch) * self.steps_per_epoch


def _spans(in_order: Sequence[Lesson]) -> list[_Span]:
    spans: list[_Span] = []
    for lesson in in_order:
        epoch, step = (spans[-1].end_epoch, spans[-1].end_step) if spans else (0, 0)
        spans.append(_Span(lesson, epoch, step, len(lesson.batches(epoch))))
    return spans


class _Trainer:
    def __init__(self, job: JobConfig, scan: ScanTensors, surroundings: Surroundings) -> None:
        self._job = job
        self._surroundings = surroundings
        self._model = seeded_model(job).to(scan.counts.device)
        self._spans = _spans(lessons(self._model, scan, job))
        self._optimizer = lesson_optimizer(self._spans[0].lesson, job.training)
        self._progress = Progress()
        self._first_step = 0
        self._best_weights: NamedTensors = {}
        self._warnings: list[str] = []

    def run(self) -> TrainingOutcome:
        resumed_from = self._resume()
        for span in self._spans:
            if self._progress.step == span.first_step > 0:
                self._begin(span.lesson)
            for epoch in range(max(self._progress.epoch, span.first_epoch), span.end_epoch):
                self._run_epoch(span, epoch)
        return TrainingOutcome(self._best_weights, self._progress, self._first_step, resumed_from, self._warnings)

    def _begin(self, lesson: Lesson) -> None:
        """Begin a later lesson, with the best weights of the one before. Nothing is lost where this happens twice."""
        self._surroundings.report({"event": "lesson", "lesson": lesson.label})
        self._model.load_state_dict(self._best_weights)
        self._optimizer = lesson_optimizer(lesson, self._job.training)
        self._advance({"best_step": None, "best_val_loss": None})
        logger.info("the %s learns now", lesson.label)

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
        under_way = next((span.lesson for span in self._spans if span.first_step <= self._first_step < span.end_step), None)
        if under_way is not None:
            self._optimizer = lesson_optimizer(under_way, self._job.training)
            self._optimizer.restore(checkpoint.state.moments)

    def _run_epoch(self, span: _Span, epoch: int) -> None:
        batches = span.lesson.batches(epoch)
        for rows in batches[self._progress.step - span.epoch_start(epoch) :]:
            if self._surroundings.should_stop():
                self._save()
                raise Interrupted(self._progress.step, self._progress.epoch, self._first_step)
            self._run_step(span, rows, epoch)
        self._finish_epoch(span.lesson, batches)
        self._save()
        prune(self._surroundings.checkpoints, self._job.config_sha256())

    def _run_step(self, span: _Span, rows: Tensor, epoch: int) -> None:
        started = time.perf_counter()
        step = self._progress.step
        place = Place(step - span.first_step, span.end_step - span.first_step, step)
        seed = counter_seed(self._job.training_seed, STEP_PURPOSE, epoch, step)
        loss = learn(span.lesson, self._optimizer, rows, seed, place, self._job)
        self._advance(
            {
                "step": step + 1,
                "epoch_loss_sum": self._progress.epoch_loss_sum + loss,
                "epoch_seconds": self._progress.epoch_seconds + time.perf_counter() - started,
            }
        )
        self._tell_step(span)

    def _finish_epoch(self, lesson: Lesson, batches: Sequence[Tensor]) -> None:
        progress = self._progress
        val_loss = require_finite("validation loss", lesson.validation_loss(), progress.step, self._job)
        row = HistoryRow(
            lesson=lesson.label,
            epoch=progress.epoch + 1,
            step=progress.step,
            train_loss=progress.epoch_loss_sum / len(batches),
            val_loss=val_loss,
            learning_rate=self._optimizer.rate,
            seconds=round(progress.epoch_seconds, 3),
            samples_per_s=round(sum(map(torch.Tensor.numel, batches)) / progress.epoch_seconds, 1),
        )
        if progress.best_val_loss is None or val_loss < progress.best_val_loss:
            self._best_weights = detached(self._model.state_dict())
            self._advance({"best_step": progress.step, "best_val_loss": val_loss})
        history = (*progress.history, row)
        self._advance({"epoch": row.epoch, "epoch_loss_sum": 0.0, "epoch_seconds": 0.0, "history": history})
        self._tell(row)

    def _tell_step(self, span: _Span) -> None:
        self._surroundings.report(
            {
                "event": "step",
                "lesson": span.lesson.label,
                "step": self._progress.step,
                "lesson_end_step": span.end_step,
                "first_step": self._first_step,
                "total_steps": self._spans[-1].end_step,
                "epoch": self._progress.epoch,
            }
        )

    def _tell(self, row: HistoryRow) -> None:
        self._write_history()
        log_epoch(row, self._job.training.total_epochs)
        self._surroundings.report({"event": "epoch", "epochs": self._job.training.total_epochs, **row.model_dump()})

    def _save(self) -> None:
        state = TrainingState(
            weights=detached(self._model.state_dict()),
            best_weights=self._best_weights,
            moments=detached(self._optimizer.moments()),
        )
        own = self._surroundings.checkpoints
        sha256 = self._job.config_sha256()
        save_checkpoint(own, self._progress, state, config_sha256=sha256, attempt=self._surroundings.attempt)

    def _write_history(self) -> None:
        write_history(self._surroundings.folder / HISTORY_NAME, self._progress.history)

    def _advance(self, changes: dict[str, Any]) -> None:
        self._progress = self._progress.model_copy(update=changes)

    def _warn(self, sentence: str) -> None:
        self._warnings.append(sentence)
        logger.warning(sentence)
