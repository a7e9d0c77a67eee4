"""The real trainer, with a pause after each step: FLY64_TRAINER=slow_trainer, SLOW_STEP_S seconds. Its bytes are the same.

Where the file named by SLOW_GATE does not exist, each step also waits for it, so that a test decides when training goes on.
Steps before the one with the number SLOW_FROM are not slow.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ptycho_torch import pipeline
from ptycho_torch.config import JobConfig
from ptycho_torch.pipeline import Interrupted, TrainingFiles

__all__ = ["Interrupted", "TrainingFiles", "train_job"]


def train_job(
    job: JobConfig,
    files: TrainingFiles,
    *,
    attempt: int,
    report: Callable[[dict[str, Any]], None],
    should_stop: Callable[[], bool],
) -> dict[str, Any]:
    def slowly(event: dict[str, Any]) -> None:
        report(event)
        if event["event"] == "step" and event["step"] >= int(os.environ.get("SLOW_FROM", "0")):
            _pause(should_stop)

    return pipeline.train_job(job, files, attempt=attempt, report=slowly, should_stop=should_stop)


def _pause(should_stop: Callable[[], bool]) -> None:
    ends = time.monotonic() + float(os.environ.get("SLOW_STEP_S", "0"))
    gate = os.environ.get("SLOW_GATE")
    while not should_stop() and (time.monotonic() < ends or (gate is not None and not Path(gate).exists())):
        time.sleep(0.05)
