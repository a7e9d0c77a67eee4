"""A study directory with jobs that a trainer may try, made in a moment: its datasets are a few bytes."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import Mock, patch

from command import SMOKE

from fly64_hpc.dataset_job import job_spec
from fly64_hpc.datasets import JobData
from fly64_hpc.job_matrix import TrainingJob, job_matrix
from fly64_hpc.job_paths import JobPaths, StudyPaths
from fly64_hpc.job_record import AttemptRecord, DataFile, JobSpec, SchedulerIds, now_utc
from fly64_hpc.process_identity import ProcessIdentity
from fly64_hpc.resources import Resources
from fly64_hpc.study_directory import write_study
from fly64_hpc.study_loading import LoadedStudy, load_study
from fly64_hpc.submissions import ExecutorName, Part, Submission, new_submission
from ptycho_torch.config import sha256_file

AWAY = ProcessIdentity("another-host", 4711, "another-boot", 1)


@dataclass(frozen=True)
class TinyStudy:
    """A study as its submitter left it."""

    paths: StudyPaths
    loaded: LoadedStudy
    jobs: tuple[TrainingJob, ...]

    @property
    def ids(self) -> list[str]:
        return [job.job_id for job in self.jobs]

    def job(self, number: int = 0) -> JobPaths:
        return self.paths.job(self.jobs[number])

    def submission(self, *jobs: str, executor: ExecutorName = "slurm", **fields: Any) -> Submission:
        """A submission of jobs with a number of its own; it is not yet on the disk."""
        scratch, resources = self.paths.root.parent / "scratch", fields.pop("resources", Resources())
        made = new_submission(
            self.paths, executor=executor, jobs=jobs or self.ids, filters={}, resources=resources, scratch=scratch
        )
        return made.model_copy(update=fields)

    def attempt(self, number: int, state: Any, job: int = 0, **fields: Any) -> AttemptRecord:
        """The record of an attempt at a job on another machine, written."""
        spec = JobSpec.model_validate_json(self.job(job).spec.read_bytes())
        record = AttemptRecord(
            **({"submission": 1, "process": AWAY} | fields), attempt=number, state=state, config_sha256=spec.config_sha256,
            scheduler=SchedulerIds(executor="slurm", node="g1"), started_utc=now_utc(),
        )  # fmt: skip
        record.write(self.job(job).result(number))
        return record


def on_slurm(study: TinyStudy, number: int, *jobs: str, **fields: Any) -> None:
    """A submission of one array and a collector job."""
    made = study.submission(*jobs, number=number, state="submitted")
    train = {"kind": "train", "tag": f"t{number}", "jobs": made.jobs, "scheduler_job_id": f"{number}0"}
    collect = {"kind": "collect", "tag": f"c{number}", "scheduler_job_id": f"{number}1"}
    common: dict[str, Any] = {"state": "submitted", "resources": Resources()}
    parts = tuple(Part.model_validate(common | part) for part in (train, collect))
    made.model_copy(update={"parts": parts} | fields).write(study.paths.submission(number))


def blank_submission(*jobs: str, **fields: Any) -> Submission:
    """A submission of no study."""
    known = {"number": 1, "tag": "t", "executor": "slurm", "state": "submitted", "jobs": jobs, "created_utc": now_utc(),
             "filters": {}, "resources": Resources(), "scratch": "/absent", "submitter": AWAY}  # fmt: skip
    return Submission.model_validate(known | fields)


@patch.object(os, "fsync")  # whether it would outlast a power cut is no matter here, and takes its time
def tiny_study(root: Path, _: Mock) -> TinyStudy:
    """The smoke study with a job.json for each job."""
    paths, loaded = StudyPaths(root), load_study(SMOKE)
    write_study(paths, loaded)
    jobs = job_matrix(loaded.design)
    paths.data.mkdir()
    (paths.data / "scan.npz").write_bytes(b"not many photons")
    file = DataFile(path="data/scan.npz", sha256=sha256_file(paths.data / "scan.npz"))
    for job in jobs:
        job_spec(loaded, job, JobData(file, file, "0" * 64)).write(paths.job(job).spec)
    return TinyStudy(paths, loaded, jobs)
