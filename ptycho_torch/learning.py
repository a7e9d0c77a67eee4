"""One step of learning: the rate of that step, the loss, its gradient held to a norm, AdamW. Nothing infinite gets into them."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ptycho_torch.adamw import AdamW
from ptycho_torch.config import JobConfig, TrainingConfig
from ptycho_torch.errors import TrainingDivergedError
from ptycho_torch.lessons import Lesson

FINAL_RATE_SHARE = 0.02


@dataclass(frozen=True)
class Place:
    """Where a step stands."""

    step: int
    """In its lesson; the first is 0."""
    steps: int
    """Of its lesson."""
    step_overall: int
    """In the whole training, as errors name it."""


def lesson_optimizer(lesson: Lesson, training: TrainingConfig) -> AdamW:
    """The optimizer of a lesson's weights."""
    return AdamW(lesson.learner, rate=lesson.peak_rate, weight_decay=training.weight_decay)


def learn(lesson: Lesson, optimizer: AdamW, rows: Tensor, seed: int, place: Place, job: JobConfig) -> float:
    """Take a step of a lesson and return its loss.

    Raises
    ------
    TrainingDivergedError
        Loss or gradient is infinite or not a number; the weights are as they were.
    """
    optimizer.rate = learning_rate(place.step, place.steps, lesson.peak_rate, job.training)
    loss = lesson.loss(rows, seed)
    value = require_finite("training loss", float(loss.detach()), place.step_overall, job)
    optimizer.forget_gradients()
    torch.autograd.backward(loss)
    norm = require_finite("gradient's norm", optimizer.gradient_norm(), place.step_overall, job)
    optimizer.step(gradient_divisor=max(1.0, norm / job.training.gradient_clip_norm))
    return value


def learning_rate(step: int, total_steps: int, peak_rate: float, training: TrainingConfig) -> float:
    """The rate of a lesson's step (the first is 0): a straight warm-up, then a cosine down to a fiftieth, or nothing."""
    warmup_steps = round(training.warmup_fraction * total_steps)
    if step < warmup_steps:
        return peak_rate * (step + 1) / warmup_steps
    if training.schedule == "constant":
        return peak_rate
    done = (step - warmup_steps) / max(1, total_steps - 1 - warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * done))
    return peak_rate * (FINAL_RATE_SHARE + (1 - FINAL_RATE_SHARE) * cosine)


def require_finite(what: str, value: float, step: int, job: JobConfig) -> float:
    """The value itself.

    Raises
    ------
    TrainingDivergedError
        It is infinite or not a number.
    """
    if not math.isfinite(value):
        raise TrainingDivergedError(
            f"The {what} of {job.job_id} became {value} at step {step}.",
            hint="Lower training.learning_rate or training.gradient_clip_norm; the last checkpoint is from before.",
        )
    return value
