"""The trainer of a job that is only to start: FLY64_TRAINER=first_step_trainer. It ends the process at the first training step.

Everything before that is the program's own. What is printed: seconds since the process was started, which whoever started it has
left in STARTED_AT, and CPU seconds of the process.
"""

import os
import sys
import time
from typing import Any

from ptycho_torch import pipeline
from ptycho_torch.pipeline import Interrupted, TrainingFiles

__all__ = ["Interrupted", "TrainingFiles", "train_job"]


def train_job(*arguments: Any, **named: Any) -> dict[str, Any]:
    """As the pipeline's, until the first step is done."""

    def report(event: dict[str, Any]) -> None:
        if event["event"] == "step":
            sys.stdout.write(f"{time.time() - float(os.environ['STARTED_AT'])} {time.process_time()}\n")
            sys.stdout.flush()
            os._exit(0)

    return pipeline.train_job(*arguments, **named | {"report": report})
