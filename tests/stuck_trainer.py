"""A trainer that never comes to the end of its first step: FLY64_TRAINER=stuck_trainer."""

import time
from typing import Any

from idle_trainer import Interrupted, TrainingFiles

__all__ = ["Interrupted", "TrainingFiles", "train_job"]


def train_job(*_: Any, **__: Any) -> dict[str, Any]:
    while True:
        time.sleep(1)
