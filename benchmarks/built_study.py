"""A study directory of many jobs at every state, written in a moment: nothing in it was trained.

Its submission went to a Slurm of which only the recorded answers are here: `squeue` and `sacct` are programs that print them.
"""

import hashlib
import json
import os
import random
from pathlib import Path

from fly64_hpc.dataset_job import job_spec
from fly64_hpc.datasets import JobData
from fly64_hpc.heartbeat import Heartbeat
from fly64_hpc.job_matrix import job_matrix
from fly64_hpc.job_paths import JobPaths, StudyPaths
from fly64_hpc.job_record import AttemptRecord, DataFile, JobError, SchedulerIds, now_utc
from fly64_hpc.process_identity import ProcessIdentity
from fly64_hpc.resources import Resources
from fly64_hpc.study_directory import write_study
from fly64_hpc.study_loading import LoadedStudy, load_study
from fly64_hpc.submissions import Part, Submission

NODE = ProcessIdentity("g1", 4711, "another-boot", 1)
BUNDLE_BYTES = 2_000_000
"""As a U-Net's weights are."""
STATES = ("succeeded",) * 6 + ("running", "failed", "pending", "pending")


def build(folder: Path, study: Path, *, gpus: int = 1) -> StudyPaths:
    """Make the directory of a study, with states in turn and all files that its jobs would have left; its scheduler's programs go
    into `folder/bin`."""
    loaded = load_study(study, with_base=False)
    paths = StudyPaths(folder / "outputs" / loaded.design.study)
    write_study(paths, loaded)
    submission = _submission(paths, [job.job_id for job in job_matrix(loaded.design)], gpus)
    rows = [_job(paths, loaded, number, submission) for number in range(len(submission.jobs))]
    _program(folder / "bin" / "squeue", "\n".join(row for row in rows if row))
    _program(folder / "bin" / "sacct", "")
    return paths


def _submission(paths: StudyPaths, jobs: list[str], gpus: int) -> Submission:
    resources = Resources(gpus_per_node=gpus)
    part = Part(
        kind="train", tag="built-0001-train", state="submitted", jobs=tuple(jobs), resources=resources, scheduler_job_id="7"
    )
    made = Submission(
        number=1, tag="built-0001", executor="slurm", state="submitted", created_utc=now_utc(), jobs=tuple(jobs), filters={},
        resources=resources, scratch=str(paths.root.parent / "scratch"), submitter=NODE, parts=(part,),
    )  # fmt: skip
    made.write(paths.submission(1))
    return made


def _job(paths: StudyPaths, loaded: LoadedStudy, number: int, submission: Submission) -> str:
    """Write a job's files; its line of squeue is returned, empty where it is not in the queue any more."""
    job, state = job_matrix(loaded.design)[number], STATES[number % len(STATES)]
    own, data = paths.job(job), DataFile(path="data/scan.npz", sha256="0" * 64)
    spec = job_spec(loaded, job, JobData(data, data, "0" * 64))
    spec.write(own.spec)
    if state == "pending":
        return (
            f"built-0001-train|7|{number}|PENDING|{'Priority' if number % 2 else 'QOSMaxJobsPerUserLimit'}||4:00:00|4:00:00|N/A"
        )
    record = AttemptRecord(
        attempt=1, state=state, submission=1, config_sha256=spec.config_sha256, process=NODE, started_utc=now_utc(),
        scheduler=SchedulerIds(executor="slurm", job_id="7", array_index=number, node="g1", gpus=submission.resources.gpus_per_node),
    )  # fmt: skip
    ending = {"ended_utc": now_utc()}
    if state == "succeeded":
        weights = random.Random(number).randbytes(BUNDLE_BYTES)
        own.bundle.write_bytes(weights)
        digest = hashlib.sha256(weights).hexdigest()
        ending |= {"result": {"bundle_sha256": digest, "bundle_path": own.bundle.name, "metrics": {}, "epochs_completed": 50}}
    elif state == "failed":
        ending |= {"error": JobError(type="ValueError", message="a loss that is not a number")}
    record.model_copy(update=ending if state != "running" else {}).write(own.result(1))
    _progress(own, state)
    return f"built-0001-train|7|{number}|RUNNING|None|g1|4:00:00|3:12:00|N/A" if state == "running" else ""


def _progress(own: JobPaths, state: str) -> None:
    done = 50 if state == "succeeded" else 12
    rows = (
        {"lesson": "network", "epoch": epoch, "step": 40 * epoch, "train_loss": 2 / epoch, "val_loss": 1 + 2 / epoch,
         "learning_rate": 0.002, "seconds": 12.3, "samples_per_s": 6100.0}
        for epoch in range(1, done + 1)
    )  # fmt: skip
    own.history.write_text("".join(json.dumps(row) + "\n" for row in rows))
    folder = own.own_checkpoints(1)
    folder.mkdir(parents=True)
    for step in (40 * (done - 1), 40 * done):
        (folder / f"step_{step:08d}.json").write_text("{}")
    Heartbeat(
        attempt=1, time_utc=now_utc(), phase="training", lesson="network", step=40 * done, lesson_end_step=2000, total_steps=2160,
        epoch=done, step_s=0.3, longest_silence_s=1.0,
    ).write(own.heartbeat(1))  # fmt: skip


def _program(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.with_suffix(".txt").write_text(text)
    file.write_text(f"#!/bin/sh\nexec cat {file.with_suffix('.txt')}\n")
    os.chmod(file, 0o755)
