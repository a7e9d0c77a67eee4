"""A study directory of many jobs at every state, written in a moment: nothing in it was trained.

Its submission went to a Slurm of which only the recorded answers are here: `squeue` and `sacct` are programs that print them.
"""

import hashlib
import json
import os
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock, patch

from fly64_hpc.dataset_job import job_spec
from fly64_hpc.datasets import JobData
from fly64_hpc.heartbeat import Heartbeat
from fly64_hpc.job_matrix import TrainingJob
from fly64_hpc.job_paths import JobPaths, StudyPaths
from fly64_hpc.job_record import AttemptRecord, DataFile, JobError, SchedulerIds
from fly64_hpc.process_identity import ProcessIdentity
from fly64_hpc.resources import Resources
from fly64_hpc.study_directory import write_study
from fly64_hpc.study_loading import LoadedStudy, load_study
from fly64_hpc.submissions import Part, Submission
from ptycho_torch.config import TrainingConfig

NODE = ProcessIdentity("g1", 4711, "another-boot", 1)
TAG = "built-0001-train"
STEPS = 40
"""Of an epoch."""
STATES = ("succeeded",) * 6 + ("running", "failed", "pending", "pending")
"""In turn; `stuck` is a running one that has been silent for a while."""
AT_WORK = ("running", "stuck")
SILENCE_MIN = 14.0


@patch.object(os, "fsync")  # whether it would outlast a power cut is no matter here
def build(
    folder: Path, study: Path, _: Mock, *, states: Sequence[str] = STATES, gpus: int = 1, bundle_bytes: int = 500_000
) -> StudyPaths:
    """Make the directory of a study, with states in turn and all files that its jobs would have left; its scheduler's programs go
    into `folder/bin`.

    Parameters
    ----------
    bundle_bytes
        Of each success; those of a small U-Net's weights unless told.
    """
    loaded = load_study(study, with_base=False)
    paths = StudyPaths(folder / "outputs" / loaded.design.study)
    write_study(paths, loaded)
    _submission(paths, [job.job_id for job in loaded.jobs], gpus).write(paths.submission(1))
    cells = [(job, number, states[number % len(states)]) for number, job in enumerate(loaded.jobs)]
    for job, number, state in cells:
        _job(paths, loaded, job, number, state, gpus, bundle_bytes)
    _program(folder / "bin" / "squeue", [_queue_row(number, state) for _, number, state in cells])
    _program(folder / "bin" / "sacct", [row for _, number, state in cells for row in _accounting_rows(number, state)])
    return paths


def _submission(paths: StudyPaths, jobs: list[str], gpus: int) -> Submission:
    resources = Resources(gpus_per_node=gpus)
    part = Part(kind="train", tag=TAG, state="submitted", jobs=tuple(jobs), resources=resources, scheduler_job_id="7")
    return Submission(
        number=1,
        tag="built-0001",
        executor="slurm",
        state="submitted",
        created_utc=ago_utc(180),
        jobs=tuple(jobs),
        filters={},
        resources=resources,
        scratch=str(paths.root.parent / "scratch"),
        submitter=NODE,
        parts=(part,),
    )


def _queue_row(number: int, state: str) -> str:
    """A job's line of squeue; empty where it is not in the queue any more."""
    if state == "pending":
        reason = "Priority" if number % 2 else "QOSMaxJobsPerUserLimit"
        return f"{TAG}|7|{number}|PENDING|{reason}||4:00:00|4:00:00|N/A"
    return f"{TAG}|7|{number}|RUNNING|None|g1|4:00:00|3:12:00|N/A" if state in AT_WORK else ""


def _accounting_rows(number: int, state: str) -> Iterator[str]:
    """A job's lines of sacct, those of its steps among them; none of one that has not begun."""
    if state == "pending":
        return
    word = {"succeeded": "COMPLETED", "failed": "FAILED"}.get(state, "RUNNING")
    code = "1:0" if state == "failed" else "0:0"
    yield f"7_{number}|{TAG}|{word}|{code}|g1|4G|"
    yield f"7_{number}.batch|batch|{word}|{code}|g1||612000K"
    yield f"7_{number}.0|python|{word}|{code}|g1||598000K"


def _job(paths: StudyPaths, loaded: LoadedStudy, job: TrainingJob, number: int, state: str, gpus: int, bundle_bytes: int) -> None:
    """Write a job's files."""
    own, data = paths.job(job), DataFile(path="data/scan.npz", sha256="0" * 64)
    spec = job_spec(loaded, job, JobData(data, data, "0" * 64))
    spec.write(own.spec)
    if state == "pending":
        return
    record = AttemptRecord(
        attempt=1,
        state="running" if state == "stuck" else state,
        submission=1,
        config_sha256=spec.config_sha256,
        process=NODE,
        started_utc=ago_utc(48),
        scheduler=SchedulerIds(executor="slurm", job_id="7", array_index=number, node="g1", gpus=gpus),
    )
    record.model_copy(update=_ending(own, state, number, bundle_bytes)).write(own.result(1))
    _progress(own, state, loaded.design.training)


def _ending(own: JobPaths, state: str, number: int, bundle_bytes: int) -> dict[str, Any]:
    if state in AT_WORK:
        return {}
    if state == "failed":
        return {"ended_utc": ago_utc(24), "error": JobError(type="ValueError", message="a loss that is not a number")}
    weights = random.Random(number).randbytes(bundle_bytes)
    own.bundle.write_bytes(weights)
    digest = hashlib.sha256(weights).hexdigest()
    return {"ended_utc": ago_utc(24), "result": {"bundle_sha256": digest, "bundle_path": own.bundle.name, "metrics": {}}}


def _progress(own: JobPaths, state: str, training: TrainingConfig) -> None:
    lessons = ["network"] * training.epochs + ["refiner"] * (training.total_epochs - training.epochs)
    done = len(lessons) if state == "succeeded" else training.epochs // 4
    rows = (
        {
            "lesson": lesson,
            "epoch": epoch,
            "step": STEPS * epoch,
            "train_loss": 2 / epoch,
            "val_loss": 1 + 2 / epoch,
            "learning_rate": 0.002,
            "seconds": 12.3,
            "samples_per_s": 6100.0,
        }
        for epoch, lesson in enumerate(lessons[:done], 1)
    )
    own.history.write_text("".join(json.dumps(row) + "\n" for row in rows))
    folder = own.own_checkpoints(1)
    folder.mkdir(parents=True)
    for epoch in (done - 1, done):
        (folder / f"step_{STEPS * epoch:08d}.json").write_text("{}")
    silence_min = SILENCE_MIN if state == "stuck" else 0.0
    Heartbeat(
        attempt=1,
        time_utc=ago_utc(silence_min),
        phase="training",
        lesson="network",
        step=STEPS * done,
        step_s=0.3,
        longest_silence_s=1.0,
        lesson_end_step=STEPS * training.epochs,
        total_steps=STEPS * len(lessons),
        epoch=done,
    ).write(own.heartbeat(1))
    moment = own.heartbeat(1).stat().st_mtime - 60 * silence_min
    os.utime(own.heartbeat(1), (moment, moment))


def ago_utc(minutes: float) -> str:
    """A moment so many minutes ago, as records have it."""
    moment = datetime.now(UTC) - timedelta(minutes=minutes)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _program(file: Path, rows: Sequence[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.with_suffix(".txt").write_text("\n".join(row for row in rows if row))
    file.write_text(f"#!/bin/sh\nexec cat {file.with_suffix('.txt')}\n")
    file.chmod(0o755)
