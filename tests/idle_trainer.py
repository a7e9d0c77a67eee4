"""A trainer that learns nothing, for tests of the launcher alone: FLY64_TRAINER=idle_trainer. Imports no torch.

The same door as `ptycho_torch.pipeline`: `TrainingFiles`, `Interrupted`, `train_job`. Its step lasts IDLE_STEP_S seconds.
"""

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptycho_torch.config import JobConfig


@dataclass(frozen=True)
class TrainingFiles:
    train_npz: Path
    test_npz: Path
    folder: Path
    checkpoints: Path
    log: Path
    earlier_checkpoints: tuple[Path, ...] = ()


class Interrupted(Exception):
    def __init__(self, step: int, first_step: int) -> None:
        super().__init__(f"stopped after step {step}")
        self.step, self.epoch, self.first_step = step, step, first_step
        self.hint = "Submit again to go on."


def train_job(
    job: JobConfig,
    files: TrainingFiles,
    *,
    attempt: int,
    report: Callable[[dict[str, Any]], None],
    should_stop: Callable[[], bool],
) -> dict[str, Any]:
    step_s = float(os.environ.get("IDLE_STEP_S", "0"))
    for step in range(job.training.epochs):
        if should_stop():
            raise Interrupted(step, 0)
        time.sleep(step_s)
    weights = job.config_sha256().encode()
    (files.folder / "model.safetensors").write_bytes(weights)
    return {
        "final_loss": 0.0,
        "best_val_loss": 0.0,
        "epochs_completed": job.training.epochs,
        "bundle_path": "model.safetensors",
        "bundle_sha256": hashlib.sha256(weights).hexdigest(),
        "bundle_size_bytes": len(weights),
        "first_step": 0,
        "metrics": {},
    }
