"""A study with something of everything that a report shows, made in a moment: nothing in it was trained."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from scripted_slurm import ScriptedSlurm
from tiny_study import AWAY, TinyStudy, tiny_study

from fly64_hpc.collector import collect
from fly64_hpc.report_page.facts import StudyFacts, gather
from fly64_hpc.submissions import DatasetJobRecord, Part
from ptycho_torch.config import sha256_file
from ptycho_torch.npz_archive import write_arrays

MARKUP = "<script>alert('x')</script> & \"<b>bold</b>\""
"""What a user's text may hold; it must never become markup."""
LONG = "/a/folder" * 40
"""Words that no line can break."""
SHAPE = (24, 40)
BOX = (4, 20, 5, 37)


def stripes(period_px: float, phase_rad: float = 0.5) -> Any:
    """An object (H, W) complex64 of phase stripes."""
    rows, columns = np.indices(SHAPE)
    return np.exp(1j * phase_rad * np.sin(2 * np.pi * (rows + 2 * columns) / period_px)).astype(np.complex64)


def write_reconstruction(file: Path, *, with_truth: bool = True) -> None:
    """A network's blurred stripes, turned by a global phase, and refined ones."""
    top, bottom, left, right = BOX
    weight = np.ones(SHAPE, np.float32)
    weight[: top + 2] = 0
    arrays = {"object": stripes(9, 0.3) * np.complex64(1j), "refined": stripes(9, 0.48), "weight": weight, "box": np.array(BOX)}
    write_arrays(file, arrays | ({"truth": stripes(9)[top:bottom, left:right]} if with_truth else {}))


def write_history(study: TinyStudy, job: int) -> None:
    """Three epochs of each lesson."""
    rows = [
        {"lesson": lesson, "epoch": epoch + offset, "train_loss": 2.0 / (epoch + 1), "val_loss": 1.8 / (epoch + 1)}
        for lesson, offset in (("network", 1), ("refiner", 4))
        for epoch in range(3)
    ]
    study.job(job).history.write_text("".join(json.dumps(row) + "\n" for row in rows))


def succeed(study: TinyStudy, job: int, error_rad: float = 0.1, *, with_truth: bool = True) -> None:
    """A job's success, with its metrics, history and reconstruction."""
    own = study.job(job)
    own.bundle.write_bytes(b"weights")
    metrics: dict[str, Any] = {"held_out_deviance": 2.1, "collapsed": False, "collapse_reason": None}
    if with_truth:
        scores = {"nmse": 0.01, "phase_std_ratio": 0.9, "phase_correlation": 0.97, "frc_crossing_cycles_per_px": 0.4}
        metrics |= scores | {"phase_mae_rad": error_rad, "refined": scores | {"phase_mae_rad": error_rad / 2}}
    result = {"bundle_sha256": sha256_file(own.bundle), "epochs_completed": 6, "device": "cpu", "metrics": metrics}
    study.attempt(1, "succeeded", job, result=result)
    write_history(study, job)
    write_reconstruction(own.root / "reconstruction.npz", with_truth=with_truth)


def fail(study: TinyStudy, job: int, message: str) -> None:
    """A job that raised."""
    error = {"type": "ValueError", "message": message, "hint": f"Mend {message}"}
    study.attempt(1, "failed", job, submission=1, error=error)


def submit_to_slurm(study: TinyStudy, number: int, *jobs: str, data_error: str = "") -> None:
    """A submission with a dataset job, which failed where an error is named."""
    made = study.submission(*jobs, number=number, state="submitted", created_utc="2020-01-01T00:00:00.000Z")
    data = Part(kind="data", tag=f"data-{number}", state="submitted", resources=made.resources, scheduler_job_id=f"{number}0")
    train = Part(
        kind="train", tag=f"train-{number}", state="submitted", jobs=made.jobs, resources=made.resources, after_ok=(0,),
        scheduler_job_id=f"{number}1",
    )  # fmt: skip
    made.model_copy(update={"parts": (data, train)}).write(study.paths.submission(number))
    state = "failed" if data_error else "succeeded"
    DatasetJobRecord.model_validate({"state": state, "process": AWAY, "error": data_error}).write(study.paths.dataset_job(number))


def reported_study(root: Path) -> TinyStudy:
    """Two jobs that succeeded, two that raised the same error, one that raised another, and two whose dataset job failed."""
    study = tiny_study(root)
    submit_to_slurm(study, 1, *study.ids[:5])
    submit_to_slurm(study, 2, *study.ids[5:7], data_error=f"no room for {MARKUP}")
    succeed(study, 0, 0.1)
    succeed(study, 1, 0.01)
    fail(study, 2, LONG)
    fail(study, 3, MARKUP)
    fail(study, 4, MARKUP)
    return study


def facts_of(study: TinyStudy) -> StudyFacts:
    """What a report of a study says, collected first; Slurm knows of nothing any more."""
    slurm = ScriptedSlurm(answers={"squeue": "", "sacct": ""})
    collect(study.paths, slurm)
    return gather(study.paths, slurm)
