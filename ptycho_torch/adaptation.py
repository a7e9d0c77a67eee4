"""Going on learning on the scan that is to be reconstructed: it needs no truth, only that scan's own photons.

A refiner that has learnt on one part of an object trusts what it has seen there. On another it is led astray by what looks alike
and is not, and a few steps on photons held out of the new scan tell it so.
"""

import copy

from ptycho_torch.canvas_unet import Refiner
from ptycho_torch.config import JobConfig
from ptycho_torch.dataset import ScanTensors, counter_seed
from ptycho_torch.learning import Place, learn, lesson_optimizer
from ptycho_torch.lessons import ADAPTATION_PURPOSE, adaptation_lesson
from ptycho_torch.model import PtychoModel


def adapted(model: PtychoModel, scan: ScanTensors, job: JobConfig) -> Refiner:
    """A copy of the model's refiner that has gone on learning on a scan, or the refiner itself where it shall not.

    The same scan, weights and seed give the same refiner.

    Raises
    ------
    TrainingDivergedError
        A loss or gradient is infinite or not a number.
    """
    config, refiner = job.training.refiner, model.refiner
    assert refiner is not None
    assert config is not None
    if config.adaptation_epochs == 0:
        return refiner
    refiner = copy.deepcopy(refiner)
    lesson = adaptation_lesson(model, refiner, config, scan, job)
    optimizer = lesson_optimizer(lesson, job.training)
    batches = [rows for epoch in range(lesson.epochs) for rows in lesson.batches(epoch)]
    for step, rows in enumerate(batches):
        seed = counter_seed(job.training_seed, ADAPTATION_PURPOSE, step)
        learn(lesson, optimizer, rows, seed, Place(step, len(batches), step), job)
    return refiner
