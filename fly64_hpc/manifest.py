"""training_manifest.json: the whole matrix, each job's state with its reason, result and error."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fly64_hpc.frozen_code import own_sha256
from fly64_hpc.job_matrix import TrainingJob
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.job_record import AttemptRecord, JobSpec, bundle_of, now_utc
from fly64_hpc.job_state import JobState
from fly64_hpc.outcome import Outcome
from fly64_hpc.provenance import code_facts, environment_facts
from fly64_hpc.study_directory import SCHEMA_VERSION, StoredStudy
from fly64_hpc.submissions import Submission

RESULT_KEYS = ("final_loss", "best_val_loss", "epochs_completed", "bundle_path", "bundle_sha256", "bundle_size_bytes", "metrics")


def manifest(
    paths: StudyPaths,
    study: StoredStudy,
    jobs: list[dict[str, Any]],
    skipped: list[dict[str, Any]],
    submissions: Sequence[Submission],
    created_utc: str | None,
) -> dict[str, Any]:
    """The manifest of a study, from the entries of its jobs."""
    now = now_utc()
    counts = Counter(job["state"] for job in jobs)
    return {
        "schema_version": SCHEMA_VERSION,
        "study": study.design.study,
        "study_sha256": study.sha256,
        "created_utc": created_utc or now,
        "updated_utc": now,
        "code": _collecting_code(submissions),
        "environment": environment_facts(),
        "filters": submissions[-1].filters if submissions else {"dose": [], "view": [], "gridsize": []},
        "counts": {state.value: counts[state.value] for state in JobState},
        "jobs": jobs,
        "skipped_views": skipped,
        "skipped_count": len(skipped),
        "skip_summary_path": paths.inside(paths.skip_summary),
    }


def job_entry(
    paths: StudyPaths,
    job: TrainingJob,
    spec: JobSpec | None,
    record: AttemptRecord | None,
    outcome: Outcome,
    submission: Submission | None,
    attempts: int,
) -> dict[str, Any]:
    """One job as the manifest has it."""
    own = paths.job(job)
    succeeded = outcome.state is JobState.SUCCEEDED
    return {
        "job_id": job.job_id,
        "dose": job.dose_photons,
        "view": job.view,
        "gridsize": job.gridsize,
        **({"sweep": dict(job.sweep)} if job.sweep else {}),
        **({"solver": job.solver} if job.solver else {}),
        "state": outcome.state.value,
        "state_reason": outcome.reason,
        "train_data_path": spec.train_data.path if spec else None,
        "test_data_path": spec.test_data.path if spec else None,
        "train_data_sha256": spec.train_data.sha256 if spec else None,
        "test_data_sha256": spec.test_data.sha256 if spec else None,
        "external": spec.train_data.external if spec else False,
        "artifact_dir": paths.inside(own.root),
        "log_path": paths.inside(own.log),
        "config_sha256": spec.config_sha256 if spec else None,
        "seed": job.seed,
        "scheduler": _scheduler(job, record, submission, attempts),
        "provenance": asdict(record.provenance) if record and record.provenance else None,
        "result": _result(paths, bundle_of(own, record), record) if succeeded and record else None,
        "error": outcome.error.model_dump() if outcome.error else None,
    }


def _scheduler(job: TrainingJob, record: AttemptRecord | None, submission: Submission | None, attempts: int) -> dict[str, Any]:
    seen = record.scheduler if record else None
    task = submission.task(job.job_id) if submission else None
    part, index = task if task is not None else (None, None)
    elapsed_s = record.elapsed_s if record else None
    return {
        "executor": seen.executor if seen else submission.executor if submission else None,
        "job_id": seen.job_id if seen else part.scheduler_job_id if part else submission.scheduler_job_id if submission else None,
        "array_index": seen.array_index if seen else index,
        "node": seen.node if seen else None,
        "partition": seen.partition if seen else submission.resources.partition if submission else None,
        "submitted_utc": submission.created_utc if submission else None,
        "started_utc": record.started_utc if record else None,
        "ended_utc": record.ended_utc if record else None,
        "elapsed_s": elapsed_s,
        "attempts": attempts,
        "gpu_hours": seen.gpus * elapsed_s / 3600 if seen and elapsed_s is not None else None,
    }


def _result(paths: StudyPaths, bundle: Path, record: AttemptRecord) -> dict[str, Any]:
    result = record.result or {}
    return {key: result.get(key) for key in RESULT_KEYS} | {"bundle_path": paths.inside(bundle)}


def _collecting_code(submissions: Sequence[Submission]) -> dict[str, Any]:
    """The program that collects; frozen code has no checkout of its own, but its submission says where it came from."""
    own = code_facts()
    known = [made for made in submissions if made.provenance is not None] if own["git_sha"] is None else []
    frozen = own_sha256() if known else None
    came_from = [asdict(made.provenance.code) for made in known if made.provenance is not None and made.code == frozen]
    return {key: came_from[-1][key] for key in own} if came_from else own
