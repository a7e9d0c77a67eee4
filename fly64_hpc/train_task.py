"""What the node runs: one attempt at one job. It gets a study directory and a job id, and reads the rest from JSON there."""

import json
import os
import socket
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from fly64_hpc.errors import StudyDirectoryError
from fly64_hpc.job_paths import JobPaths, StudyPaths
from fly64_hpc.job_record import (
    AttemptRecord,
    DataFile,
    JobError,
    JobSpec,
    SchedulerIds,
    now_utc,
    proven_success,
    read_attempt,
    read_record,
)
from fly64_hpc.process_identity import this_process
from fly64_hpc.stop_signals import StopFlag
from fly64_hpc.study_directory import find_job
from ptycho_torch.config import PtychoError
from ptycho_torch.npz_contract import sha256_file, write_text

SUBMISSION_VARIABLE = "FLY64_SUBMISSION"
"""The environment variable that tells an attempt which submission it belongs to."""


def run_job(study_dir: str, job_id: str) -> str:
    """Make one attempt at a job and leave its record; the attempt's state is returned.

    A job that has succeeded already is left alone. Errors end in the record, not in an exception: only a damaged study directory
    raises.
    """
    study = StudyPaths(Path(study_dir))
    paths = study.job(find_job(study, job_id))
    spec = read_record(paths.spec, JobSpec)
    if proven_success(paths, spec.config_sha256) is not None:
        return "succeeded"
    _refuse_second_attempt(paths)
    number = _claim_attempt(paths)
    record = AttemptRecord(
        attempt=number,
        state="running",
        submission=int(os.environ.get(SUBMISSION_VARIABLE, "0")),
        config_sha256=spec.config_sha256,
        process=this_process(),
        scheduler=scheduler_ids(os.environ),
        started_utc=now_utc(),
    )
    record.write(paths.result(number))
    with StopFlag() as stop:
        ending = _attempt(study, paths, spec, number, stop)
    record = record.model_copy(update=ending | {"ended_utc": now_utc()})
    record.write(paths.result(number))
    return record.state


def scheduler_ids(environment: Mapping[str, str]) -> SchedulerIds:
    """Who runs this process, from what the batch system left in the environment."""
    gpus = [gpu for gpu in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu]
    if environment.get("SUBMITIT_EXECUTOR") == "slurm" and "SLURM_JOB_ID" in environment:
        index = environment.get("SLURM_ARRAY_TASK_ID")
        return SchedulerIds(
            executor="slurm",
            job_id=environment.get("SLURM_ARRAY_JOB_ID", environment["SLURM_JOB_ID"]),
            array_index=None if index is None else int(index),
            node=environment.get("SLURMD_NODENAME", socket.gethostname()),
            partition=environment.get("SLURM_JOB_PARTITION"),
            gpus=len(gpus),
        )
    executor = "debug" if "SUBMITIT_DEBUG_JOB_ID" in environment else "local"
    return SchedulerIds(executor=executor, job_id=str(os.getpid()), node=socket.gethostname(), gpus=len(gpus))


def _refuse_second_attempt(paths: JobPaths) -> None:
    for number in paths.attempt_numbers():
        record = read_attempt(paths.result(number), number)
        if isinstance(record, AttemptRecord) and record.state == "running" and record.process.is_alive():
            raise StudyDirectoryError(
                f"Attempt {number} at this job is still alive as process {record.process.pid} in {paths.root}.",
                hint="Wait for it, or end that process.",
            )


def _claim_attempt(paths: JobPaths) -> int:
    """Create the next attempt's folder; two attempts never share one."""
    number = max(paths.attempt_numbers(), default=0)
    while True:
        number += 1
        try:
            paths.attempt(number).mkdir(parents=True)
        except FileExistsError:
            continue
        return number


def _attempt(study: StudyPaths, paths: JobPaths, spec: JobSpec, number: int, stop: StopFlag) -> dict[str, Any]:
    """Train, and say how it ended as fields of the record."""
    try:
        from ptycho_torch import pipeline  # the node alone pays for torch

        train_npz, test_npz = (_checked(study, data) for data in (spec.train_data, spec.test_data))
        files = pipeline.TrainingFiles(train_npz=train_npz, test_npz=test_npz, folder=paths.root)
        try:
            result = pipeline.train_job(spec.config, files, attempt=number, report=_progress_printer(spec), should_stop=stop)
        except pipeline.Interrupted as interruption:
            return {"state": "interrupted", "error": _job_error(study, paths.attempt(number), interruption)}
        json.dumps(result, allow_nan=False)  # a result that is no number is no success
    except Exception as error:  # noqa: BLE001 - whatever it is, the record must say it
        return {"state": "failed", "error": _job_error(study, paths.attempt(number), error)}
    return {"state": "succeeded", "result": result}


def _checked(study: StudyPaths, data: DataFile) -> Path:
    path = study.absolute(data.path)
    if not path.exists():
        raise StudyDirectoryError(f"{path} is missing.", hint="Run submit again: it makes missing datasets.")
    digest = sha256_file(path)
    if digest != data.sha256:
        raise StudyDirectoryError(
            f"{path} has changed since the job was submitted: sha256 {digest}, expected {data.sha256}.",
            hint="Run submit again: it makes the datasets anew.",
        )
    return path


def _progress_printer(spec: JobSpec) -> Callable[[dict[str, Any]], None]:
    started = time.monotonic()

    def report(row: dict[str, Any]) -> None:
        if row["event"] == "epoch":
            line = f"{spec.config.job_id} epoch {row['epoch']}/{spec.config.training.epochs} loss {row['train_loss']:.4f} "
            line += f"validation {row['val_loss']:.4f} after {time.monotonic() - started:.0f} s"
            with suppress(OSError):  # nobody listens any more: that must not end the training
                os.write(2, f"{line}\n".encode())

    return report


def _job_error(study: StudyPaths, attempt: Path, error: Exception) -> JobError:
    trace = attempt / "traceback.txt"
    with suppress(OSError):  # a full disk: the record itself matters more
        write_text(trace, "".join(traceback.format_exception(error)))
    message = error.message if isinstance(error, PtychoError) else str(error)
    hint = error.hint if isinstance(error, PtychoError) else f"Read {study.inside(trace)}."
    return JobError(type=type(error).__name__, message=message, traceback_path=study.inside(trace), hint=hint)
