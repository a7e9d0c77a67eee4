"""What the node runs: one attempt at one job, a training or a solver's.

It gets a study directory and a job id, and reads the rest from JSON there.
"""

import errno
import gc
import importlib
import json
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from fly64_hpc.attempts import (
    NewestAttempt,
    claim_attempt,
    earlier_checkpoints,
    free_reserve,
    publish,
    publish_history,
    publishing,
    remove_earlier_checkpoints,
)
from fly64_hpc.cancellations import CancelWatch
from fly64_hpc.errors import StudyDirectoryError
from fly64_hpc.frozen_code import require_code
from fly64_hpc.heartbeat import Pulse
from fly64_hpc.job_paths import JobPaths, StudyPaths
from fly64_hpc.job_record import (
    AttemptRecord,
    DataFile,
    JobError,
    JobSpec,
    SchedulerIds,
    now_utc,
    proven_success,
    read_record,
)
from fly64_hpc.process_identity import this_process
from fly64_hpc.provenance import attempt_provenance
from fly64_hpc.stop_signals import StopFlag, TimeLimit
from fly64_hpc.study_directory import find_job
from fly64_hpc.submissions import Submission
from ptycho_torch.config import PtychoError, SolverJobConfig, sha256_file, write_text

SUBMISSION_VARIABLE = "FLY64_SUBMISSION"
"""The environment variable that tells an attempt which submission it belongs to."""
TRAINER_VARIABLE = "FLY64_TRAINER"
"""The environment variable that names another module than `ptycho_torch.pipeline`, with the same `train_job`."""
SUPERSEDED = "a newer attempt"
CANCELLED = "a cancel"


def run_job(study_dir: str, job_id: str) -> str:
    """Make one attempt at a job and leave its record; the attempt's state is returned. See `attempt_job`."""
    record = attempt_job(study_dir, job_id)
    return "succeeded" if record is None else record.state


def attempt_job(study_dir: str, job_id: str, limit: TimeLimit | None = None) -> AttemptRecord | None:
    """Make one attempt at a job and leave its record, which is returned; None where the job has succeeded already.

    Errors end in the record, not in an exception: only a damaged study directory raises.
    """
    study = StudyPaths(Path(study_dir))
    paths = study.job(find_job(study, job_id))
    spec = read_record(paths.spec, JobSpec)
    number = int(os.environ.get(SUBMISSION_VARIABLE, "0"))
    code = submitted_code(study, number)
    provenance = attempt_provenance(study, code, spec.seeds, (spec.train_data.sha256, spec.test_data.sha256))
    with publishing(paths):
        if proven_success(paths, spec.config_sha256, paths.attempt_numbers()) is not None:
            return None
        record = AttemptRecord(
            attempt=claim_attempt(paths),
            state="running",
            submission=number,
            config_sha256=spec.config_sha256,
            process=this_process(),
            scheduler=scheduler_ids(os.environ),
            provenance=provenance,
            started_utc=now_utc(),
        )
        record.write(paths.result(record.attempt))
    # The debug executor runs in the submitter itself, whose code may have been edited since: its record says so.
    required_code = None if record.scheduler.executor == "debug" else code
    with StopFlag() as stop:
        ending = _Attempt(study, paths, spec, record, stop, limit).run(required_code)
    return _end(paths, record, ending)


def submitted_code(study: StudyPaths, number: int) -> str | None:
    """The sha256 of the frozen code of a submission; None where it has none, or nobody submitted."""
    file = study.submission(number)
    return read_record(file, Submission).code if file.exists() else None


def _end(paths: JobPaths, record: AttemptRecord, ending: dict[str, Any]) -> AttemptRecord:
    """Publish what succeeded, and write the record's end, both before anybody can begin another attempt."""
    free_reserve(paths, record.attempt)
    with publishing(paths):
        if ending["state"] == "succeeded":
            if NewestAttempt(paths, record.attempt).look():
                publish(paths, record.attempt)
            else:
                ending = {"state": "interrupted", "stopped_by": SUPERSEDED}
        ended = record.model_copy(update=ending | {"ended_utc": now_utc()})
        ended.write(paths.result(record.attempt))
    if ended.state == "succeeded":
        remove_earlier_checkpoints(paths, record.attempt)
    return ended


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
    job_id = environment.get("SUBMITIT_LOCAL_JOB_ID", str(os.getpid()))  # the former names the job's output in the scratch
    return SchedulerIds(executor=executor, job_id=job_id, node=socket.gethostname(), gpus=len(gpus))


class _Attempt:
    """One attempt: trains, and says how it ended as fields of its record."""

    def __init__(
        self, study: StudyPaths, paths: JobPaths, spec: JobSpec, record: AttemptRecord, stop: StopFlag, limit: TimeLimit | None
    ) -> None:
        self._study = study
        self._paths = paths
        self._spec = spec
        self._number = record.attempt
        self._stop = stop
        self._limit = limit
        self._is_newest = NewestAttempt(paths, record.attempt)
        self._is_cancelled = CancelWatch(study, spec.config.job_id, record.submission)
        self._pulse = Pulse(paths.heartbeat(record.attempt), record.attempt)
        self._say_progress = _progress_printer(spec)

    def run(self, required_code: str | None) -> dict[str, Any]:
        if self._is_cancelled.look():  # after this attempt is on record: whoever cancels later finds it there
            return {"state": "interrupted", "stopped_by": CANCELLED}
        try:
            require_code(self._study, required_code)
            return self._work(_pipeline())
        except Exception as error:  # noqa: BLE001 - whatever it is, the record must say it
            free_reserve(self._paths, self._number)
            return {"state": "failed", "error": _job_error(self._study, self._paths.attempt(self._number), error)}

    def _work(self, pipeline: Any) -> dict[str, Any]:
        config, calls = self._spec.config, {"report": self._report, "should_stop": self._should_stop}
        try:
            if isinstance(config, SolverJobConfig):
                result = pipeline.solve_job(config, self._half_files(pipeline), self._paths.log, attempt=self._number, **calls)
            else:
                result = pipeline.train_job(config, self._training_files(pipeline), attempt=self._number, **calls)
        except pipeline.Interrupted as interruption:
            return self._interrupted(interruption)
        json.dumps(result, allow_nan=False)  # a result that is no number is no success
        return {"state": "succeeded", "result": result, "first_step": result["first_step"]}

    def _training_files(self, pipeline: Any) -> Any:
        return pipeline.TrainingFiles(
            train_npz=checked_file(self._study, self._spec.train_data),
            test_npz=checked_file(self._study, self._spec.test_data),
            folder=self._paths.attempt(self._number),
            checkpoints=self._paths.own_checkpoints(self._number),
            earlier_checkpoints=earlier_checkpoints(self._paths, self._number),
            log=self._paths.log,
        )

    def _half_files(self, pipeline: Any) -> Any:
        return pipeline.HalfFiles(
            train_npz=checked_file(self._study, self._spec.train_data),
            test_npz=checked_file(self._study, self._spec.test_data),
            folder=self._paths.attempt(self._number),
        )

    def _interrupted(self, interruption: Any) -> dict[str, Any]:
        error = JobError(type="Interrupted", message=str(interruption), hint=interruption.hint)
        steps = {"first_step": interruption.first_step, "step": interruption.step}
        return {"state": "interrupted", "error": error, "stopped_by": self._stopped_by(), **steps}

    def _stopped_by(self) -> str:
        if self._is_cancelled.look():
            return CANCELLED
        return self._stop.reason(self._limit) if self._stop() else SUPERSEDED

    def _should_stop(self) -> bool:
        return self._stop() or not self._is_newest() or self._is_cancelled()

    def _report(self, row: dict[str, Any]) -> None:
        self._pulse.note(row)
        if row["event"] == "epoch" and self._is_newest():
            publish_history(self._paths, self._number)
        self._say_progress(row)


def _pipeline() -> Any:
    """What trains; the node alone pays for torch."""
    name = os.environ.get(TRAINER_VARIABLE, "ptycho_torch.pipeline")
    return sys.modules[name] if name in sys.modules else _lasting_import(name)


def _lasting_import(name: str) -> Any:
    """Import a module, and keep the garbage collector from what that makes: it would look through torch time and again, for a
    sixth of a second, and find next to nothing."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


def checked_file(study: StudyPaths, data: DataFile) -> Path:
    """A dataset file whose sha256 is the one on record.

    Raises
    ------
    StudyDirectoryError
        It is missing or has changed.
    """
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
            losses = f" loss {row['train_loss']:.4f} validation {row['val_loss']:.4f}" if "train_loss" in row else ""
            line = f"{spec.config.job_id} epoch {row['epoch']}/{row['epochs']}{losses} after {time.monotonic() - started:.0f} s"
            with suppress(OSError):  # nobody listens any more: that must not end the training
                os.write(2, f"{line}\n".encode())

    return report


def _job_error(study: StudyPaths, attempt: Path, error: Exception) -> JobError:
    trace = attempt / "traceback.txt"
    with suppress(OSError):  # a full disk: the record itself matters more
        write_text(trace, "".join(traceback.format_exception(error)))
    message, hint = _words(error, f"Read {study.inside(trace)}.")
    return JobError(type=type(error).__name__, message=message, traceback_path=study.inside(trace), hint=hint)


def _words(error: Exception, otherwise: str) -> tuple[str, str]:
    """What an error says, and what to do; full disks and used-up quotas look the same wherever they are met."""
    if isinstance(error, PtychoError):
        return error.message, error.hint
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        file = error.filename or "A file"
        return f"{file} cannot be written: {error.strerror}.", "Make room, or ask for more quota; then submit again."
    return str(error), otherwise
