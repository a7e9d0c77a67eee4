"""training_manifest.json: the whole matrix, each job's state with its reason, result and error."""

import functools
import platform
import subprocess
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fly64_hpc.job_matrix import TrainingJob
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.job_record import AttemptRecord, JobSpec, bundle_of, now_utc
from fly64_hpc.job_state import JobState
from fly64_hpc.outcome import Outcome
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
        "code": code_facts(),
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


@functools.cache
def code_facts() -> dict[str, Any]:
    """The version of this program, and the commit where it runs from a checkout."""
    folder = Path(__file__).resolve().parent
    is_tracked = _git(folder, "ls-files", "--error-unmatch", Path(__file__).name) is not None
    sha = _git(folder, "rev-parse", "HEAD") if is_tracked else None
    return {
        "version": _version("fly64-hpc"),
        "git_sha": sha,
        "dirty": None if sha is None else bool(_git(folder, "status", "--porcelain")),
    }


@functools.cache
def environment_facts() -> dict[str, Any]:
    """The versions of Python and of the packages that matter, read without importing them."""
    packages = {name: _version(name) for name in ("torch", "numpy", "submitit")}
    return {"python": platform.python_version(), **packages, "platform": platform.platform()}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        answer = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
