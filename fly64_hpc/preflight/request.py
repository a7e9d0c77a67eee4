"""What is asked for, as every subject of the preflight sees it."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fly64_hpc.datasets import JobData, reads_phase_c
from fly64_hpc.job_matrix import Condition, TrainingJob, first_of_each
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.slurm.calls import SlurmCalls
from fly64_hpc.study import StudyDesign
from fly64_hpc.study_loading import LoadedStudy
from fly64_hpc.submissions import ExecutorName


@dataclass(frozen=True)
class PreflightRequest:
    """A study, the jobs of it that are meant, and who is to run them."""

    paths: StudyPaths
    loaded: LoadedStudy
    jobs: Sequence[TrainingJob]
    external: Mapping[Condition, JobData]
    """The conditions whose datasets come from outside, checked already."""
    executor: ExecutorName
    calls: SlurmCalls

    @cached_property
    def variants(self) -> tuple[StudyDesign, ...]:
        """The study as it is in force in the jobs, each variant once."""
        return tuple(self.loaded.of(job).design for job in first_of_each(self.jobs, lambda job: job.sweep))

    @cached_property
    def kinds(self) -> tuple[TrainingJob, ...]:
        """A job of each view and place of the sweep: what holds of it holds of those that differ in dose and seed."""
        return tuple(first_of_each(self.jobs, lambda job: (job.view, job.sweep)))

    @cached_property
    def data_records(self) -> dict[Path, tuple[TrainingJob, str | None]]:
        """The record that each folder of datasets inside the study has or will have, with a job that needs it and, in Phase D,
        its view."""
        records: dict[Path, tuple[TrainingJob, str | None]] = {}
        for job in first_of_each(self.jobs, lambda job: job.data):
            if job.data in self.external:
                continue
            records[self.paths.phase_c(job.dose_photons, job.dataset) / "record.json"] = (job, None)
            if not reads_phase_c(self.loaded.of(job).design.design.views[job.view]):
                folder = self.paths.phase_d(job.dose_photons, job.view, job.data_sweep)
                records[folder / "metrics_bundle.json"] = (job, job.view)
        return records

    @property
    def makes_data(self) -> bool:
        """Whether datasets must be made first, as far as their records tell."""
        return any(not record.is_file() for record in self.data_records)

    @property
    def existing_folder(self) -> Path:
        """The study directory, or the nearest thing above that exists."""
        return next(folder for folder in (self.paths.root, *self.paths.root.parents) if os.path.exists(folder))  # noqa: PTH110
