"""What is asked for, as every subject of the preflight sees it."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fly64_hpc.datasets import Condition, JobData, reads_phase_c
from fly64_hpc.job_matrix import TrainingJob
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.slurm.calls import SlurmCalls
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
    def conditions(self) -> tuple[Condition, ...]:
        """Every dose and view that the jobs read."""
        return tuple(dict.fromkeys((job.dose_photons, job.view) for job in self.jobs))

    @cached_property
    def data_records(self) -> dict[Path, tuple[float, str | None]]:
        """The record that each folder of datasets inside the study has or will have, with its dose and, in Phase D, its view."""
        records: dict[Path, tuple[float, str | None]] = {}
        for dose, view in self.conditions:
            if (dose, view) in self.external:
                continue
            records[self.paths.phase_c(dose) / "record.json"] = (dose, None)
            if not reads_phase_c(self.loaded.design.design.views[view]):
                records[self.paths.phase_d(dose, view) / "metrics_bundle.json"] = (dose, view)
        return records

    @property
    def makes_data(self) -> bool:
        """Whether datasets must be made first, as far as their records tell."""
        return any(not record.is_file() for record in self.data_records)

    @property
    def existing_folder(self) -> Path:
        """The study directory, or the nearest thing above that exists."""
        return next(folder for folder in (self.paths.root, *self.paths.root.parents) if os.path.exists(folder))  # noqa: PTH110
