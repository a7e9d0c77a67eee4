"""What a training consists of: first the network learns, then, where there is one, the refiner.

A lesson is a number of epochs in which certain weights learn by a certain loss, and a validation loss that chooses among the
epochs. A network that sees groups of patterns is fed a new split of their photons in every step. A network that sees the whole
canvas is shown one of a few exposures that were parted once, for each costs a pass over the scan or many; the held-out photons of
some patterns are its loss.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ptycho_torch.canvas_sight import first_sight, second_sight
from ptycho_torch.canvas_unet import CanvasSight, CanvasUNet, Refiner
from ptycho_torch.config import JobConfig, RefinerConfig
from ptycho_torch.data_consistency import try_steps
from ptycho_torch.dataset import ScanTensors, counter_seed, epoch_batches, validation_strip
from ptycho_torch.held_out import (
    Exposures,
    hold_out,
    object_deviance,
    part_photons,
    part_scan,
    prediction_deviance,
    scan_deviance,
)
from ptycho_torch.model import PtychoModel
from ptycho_torch.network_object import bounding_shape, network_object
from ptycho_torch.symmetries import N_TURNS

STEP_PURPOSE, VALIDATION_PURPOSE, CANVAS_PURPOSE, REFINER_PURPOSE, ADAPTATION_PURPOSE = 1, 2, 5, 6, 7
"""Which use of the training seed: the photon splits of the steps, that of validation, those of a canvas network's exposures, of a
refiner's, and of its adaptation."""
CANVAS_EXPOSURES = 12
"""Splits of the photons that a canvas network learns from."""
CANVAS_EPOCH_STEPS = 10
"""A step looks at the whole scan, so an epoch is as many steps as a person would call one."""


class Lesson(Protocol):
    """What the trainer runs."""

    @property
    def label(self) -> str:
        """What learns: `network` or `refiner`."""

    @property
    def epochs(self) -> int:
        """How many."""

    @property
    def peak_rate(self) -> float:
        """The highest learning rate."""

    @property
    def learner(self) -> nn.Module:
        """Whose weights learn."""

    def batches(self, epoch: int) -> Sequence[Tensor]:
        """Rows of the scan, a tensor a step; as many in each epoch of the training, which is counted over all lessons."""

    def loss(self, rows: Tensor, seed: int) -> Tensor:
        """What a step descends; `seed` decides all that is drawn for it."""

    def validation_loss(self) -> float:
        """What chooses among epochs."""


def lessons(model: PtychoModel, scan: ScanTensors, job: JobConfig) -> list[Lesson]:
    """The lessons of a job, in order; what they need of the scan is made when it is first asked for.

    Raises
    ------
    GroupingError
        The scan has too few patterns for training and validation.
    PtychoError
        No photon was held out.
    """
    network = model.canvas_network
    first: Lesson = PatchLesson(model, scan, job) if network is None else _canvas_lesson(network, scan, job)
    config = job.training.refiner
    if model.refiner is None or config is None:
        return [first]
    return [first, _refiner_lesson(model, model.refiner, config, scan, job)]


class PatchLesson:
    """A network that sees groups of patterns learns."""

    label = "network"

    def __init__(self, model: PtychoModel, scan: ScanTensors, job: JobConfig) -> None:
        self.learner = model.network
        self.epochs = job.training.epochs
        self.peak_rate = job.training.learning_rate
        self._model, self._scan, self._job = model, scan, job
        self._rows, validation_rows = _parted_rows(scan, job)
        self._validation = hold_out(scan.take(validation_rows), job, VALIDATION_PURPOSE)

    def batches(self, epoch: int) -> Sequence[Tensor]:
        """Groups of training rows, (b, C) each."""
        return epoch_batches(self._scan, self._rows, self._job, epoch, self._job.training.batch_size)

    def loss(self, rows: Tensor, seed: int) -> Tensor:
        """The deviance of photons that were not fed."""
        parts = part_photons(self._scan.counts[rows], self._job.training.photon_split, seed)
        turn = seed % N_TURNS if self._job.training.augment else 0
        return prediction_deviance(partial(self._model, turn=turn), self._scan, rows, parts)

    def validation_loss(self) -> float:
        """The same on the strip that was kept out, always with the same split."""
        return self._validation.deviance(self._model)


@dataclass(frozen=True, eq=False)
class Exercise:
    """A sight of an exposure, and the photons that were held out of it."""

    sight: CanvasSight
    held: ScanTensors


@dataclass(eq=False)
class CanvasLesson:
    """A network that sees the whole canvas learns."""

    label: str
    epochs: int
    peak_rate: float
    learner: CanvasUNet
    scan: ScanTensors
    job: JobConfig
    batch_size: int
    exposures: int
    part: Callable[[int], Exercise]
    """The exercise of a number; made when first asked for, so that whoever asks a training to stop waits for one at most, and
    kept."""
    validates: bool = True
    """Whether a strip of the scan and one more exercise are kept out for validation."""

    def __post_init__(self) -> None:
        self.part = cache(self.part)

    @cached_property
    def _rows(self) -> tuple[Tensor, Tensor]:
        device = self.scan.counts.device
        if self.validates:
            learning, validating = _parted_rows(self.scan, self.job)
            return learning.to(device), validating.to(device)
        return torch.arange(len(self.scan), device=device), torch.empty(0, dtype=torch.int64, device=device)

    def batches(self, epoch: int) -> Sequence[Tensor]:
        """Training rows (b,), drawn for each step: those whose held-out photons are its loss."""
        draw = np.random.default_rng((self.job.training_seed, epoch))
        rows = self._rows[0]
        return [rows[draw.permutation(len(rows))[: self.batch_size]] for _ in range(CANVAS_EPOCH_STEPS)]

    def loss(self, rows: Tensor, seed: int) -> Tensor:
        """The deviance of held-out photons of some patterns, for one of the exposures looked at from one side."""
        draw = np.random.default_rng(seed)
        exercise = self.part(int(draw.integers(self.exposures)))
        turn = int(draw.integers(N_TURNS)) if self.job.training.augment else 0
        return scan_deviance(self.learner(exercise.sight, turn), exercise.held, rows)

    def validation_loss(self) -> float:
        """The deviance of held-out photons of the strip that was kept out, for an exposure that no step sees."""
        exercise = self.part(self.exposures)
        with torch.no_grad():
            return object_deviance(self.learner(exercise.sight), exercise.held.take(self._rows[1]))


def _canvas_lesson(network: CanvasUNet, scan: ScanTensors, job: JobConfig) -> CanvasLesson:
    training, shape = job.training, bounding_shape(scan)

    def part(number: int) -> Exercise:
        exposures = part_scan(scan, training.photon_split, counter_seed(job.training_seed, CANVAS_PURPOSE, number))
        return Exercise(first_sight(exposures.fed, shape), exposures.held)

    return CanvasLesson(
        label="network",
        epochs=training.epochs,
        peak_rate=training.learning_rate,
        learner=network,
        scan=scan,
        job=job,
        batch_size=training.batch_size,
        exposures=CANVAS_EXPOSURES if training.photon_split is not None else 1,
        part=part,
    )


def _refiner_lesson(
    model: PtychoModel, refiner: Refiner, config: RefinerConfig, scan: ScanTensors, job: JobConfig
) -> CanvasLesson:
    def exposed(number: int) -> Exposures:
        return part_scan(scan, config.photon_split, counter_seed(job.training_seed, REFINER_PURPOSE, number))

    @cache
    def settle_steps() -> None:
        refiner.after_steps.copy_(_steps_to_show(exposed(0), bounding_shape(scan), config))

    def part(number: int) -> Exercise:
        settle_steps()
        return _exercise(model, refiner, exposed(number), job)

    return CanvasLesson(
        label="refiner",
        epochs=config.epochs,
        peak_rate=config.learning_rate,
        learner=refiner,
        scan=scan,
        job=job,
        batch_size=config.batch_size,
        exposures=config.exposures,
        part=part,
    )


def adaptation_lesson(
    model: PtychoModel, refiner: Refiner, config: RefinerConfig, scan: ScanTensors, job: JobConfig
) -> CanvasLesson:
    """A refiner that has learnt goes on learning, on another scan, of which nothing is kept out: its epochs are fixed."""

    def part(number: int) -> Exercise:
        exposures = part_scan(scan, config.photon_split, counter_seed(job.training_seed, ADAPTATION_PURPOSE, number))
        return _exercise(model, refiner, exposures, job)

    learning = _refiner_lesson(model, refiner, config, scan, job)
    return replace(learning, label="adaptation", epochs=config.adaptation_epochs, part=part, validates=False)


def _exercise(model: PtychoModel, refiner: Refiner, exposures: Exposures, job: JobConfig) -> Exercise:
    network = network_object(model, exposures.fed, job, bounding_shape(exposures.fed))
    return Exercise(second_sight(exposures.fed, network, refiner), exposures.held)


def _steps_to_show(exposures: Exposures, object_shape: tuple[int, int], config: RefinerConfig) -> Tensor:
    """Shares of the number of steps from a flat object that held-out photons call for, ascending."""
    deviances = try_steps(exposures, exposures.fed.flat_object(object_shape), config.most_steps)[1]
    called_for = deviances.index(min(deviances))
    return torch.tensor(sorted(round(share * called_for) for share in config.descent_shares))


def _parted_rows(scan: ScanTensors, job: JobConfig) -> tuple[Tensor, Tensor]:
    return validation_strip(scan.positions_yx, job.training.validation_fraction, at_least=job.group_size)
