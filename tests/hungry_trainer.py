"""A trainer that takes HUNGRY_MIB of memory and then learns nothing: FLY64_TRAINER=hungry_trainer."""

import os
import time
from typing import Any

import idle_trainer
from idle_trainer import Interrupted, TrainingFiles

__all__ = ["Interrupted", "TrainingFiles", "train_job"]


def train_job(*arguments: Any, **options: Any) -> dict[str, Any]:
    eaten = []
    for _ in range(int(os.environ["HUNGRY_MIB"]) // 10):
        eaten.append(b"x" * (10 << 20))
        time.sleep(0.02)
    time.sleep(3)  # Slurm looks once a second
    return idle_trainer.train_job(*arguments, **options)
