"""Where everything of a study lies. No other module joins these paths."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fly64_hpc.axes import dose_label
from fly64_hpc.job_matrix import TrainingJob
from fly64_hpc.sweep import Labels, folders

SPEC_NAME, ATTEMPTS_NAME, HISTORY_NAME = "job.json", "attempts", "history.jsonl"


def attempt_name(number: int) -> str:
    """The folder of one attempt, below its job's."""
    return f"{ATTEMPTS_NAME}/{number:03d}"


def result_name(number: int) -> str:
    """The record of one attempt, below its job's folder."""
    return f"{attempt_name(number)}/result.json"


def heartbeat_name(number: int) -> str:
    """What one attempt says of its progress while it runs, below its job's folder."""
    return f"{attempt_name(number)}/heartbeat.json"


def own_checkpoints_name(number: int) -> str:
    """The folder of the checkpoints that one attempt wrote, below its job's folder."""
    return f"checkpoints/{number:03d}"


@dataclass(frozen=True)
class JobPaths:
    """The files of one job."""

    root: Path

    @property
    def spec(self) -> Path:
        """What this job is: job.json."""
        return self.root / SPEC_NAME

    @property
    def log(self) -> Path:
        """The human log of all attempts."""
        return self.root / "train.log"

    @property
    def history(self) -> Path:
        """One line an epoch."""
        return self.root / HISTORY_NAME

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints, in which each attempt has its own."""
        return self.root / "checkpoints"

    def own_checkpoints(self, number: int) -> Path:
        """The checkpoints that one attempt wrote."""
        return self.root / own_checkpoints_name(number)

    @property
    def bundle(self) -> Path:
        """The best weights."""
        return self.root / "model.safetensors"

    @property
    def attempts(self) -> Path:
        """The folder of the attempts."""
        return self.root / ATTEMPTS_NAME

    def attempt(self, number: int) -> Path:
        """The folder of one attempt."""
        return self.root / attempt_name(number)

    def result(self, number: int) -> Path:
        """The record of one attempt."""
        return self.root / result_name(number)

    def heartbeat(self, number: int) -> Path:
        """What one attempt says of its progress while it runs."""
        return self.root / heartbeat_name(number)

    @property
    def lock(self) -> Path:
        """Held while an attempt is claimed, and while one publishes."""
        return self.attempts / ".lock"

    def attempt_numbers(self) -> list[int]:
        """The attempts that were begun, oldest first."""
        try:
            names = os.listdir(self.attempts)  # noqa: PTH208  # names are all that is wanted of thousands of folders
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(int(name) for name in names if name.isdigit())


PHASE_F_NAME = "phase_f_iterative"


def phase_c_folder(dose_photons: float, sweep: Labels) -> Path:
    """The folder of one dose's datasets, below that of all."""
    return Path(dose_label(dose_photons), *folders(sweep))


def phase_d_folder(dose_photons: float, view: str, sweep: Labels) -> Path:
    """The folder of one view's datasets, below that of all."""
    return Path(dose_label(dose_photons), view, *folders(sweep))


@dataclass(frozen=True)
class StudyPaths:
    """The files of one study, or those of its Phase F: a study directory inside the study's own, whose datasets it shares."""

    root: Path

    @property
    def is_phase_f(self) -> bool:
        """Whether this is a Phase F."""
        return self.root.name == PHASE_F_NAME

    @property
    def home(self) -> Path:
        """The directory of the study itself."""
        return self.root.parent if self.is_phase_f else self.root

    @property
    def phase_f(self) -> "StudyPaths":
        """The files of the study's Phase F."""
        return StudyPaths(self.home / PHASE_F_NAME)

    @property
    def other_phase(self) -> "StudyPaths":
        """The study's Phase F, or of a Phase F the study."""
        return StudyPaths(self.home) if self.is_phase_f else self.phase_f

    @property
    def label(self) -> str:
        """What Slurm jobs are called after."""
        return f"{self.home.name}-iterative" if self.is_phase_f else self.root.name

    @property
    def study(self) -> Path:
        """The resolved study."""
        return self.root / "study.json"

    @property
    def submissions(self) -> Path:
        """The folder of the submissions' records."""
        return self.root / "submissions"

    def submission(self, number: int) -> Path:
        """What the submitter says of one submission."""
        return self.submissions / f"{number:04d}.json"

    def supervisor(self, number: int) -> Path:
        """What the local supervisor of one submission says."""
        return self.submissions / f"{number:04d}.supervisor.json"

    def dataset_job(self, number: int) -> Path:
        """What the dataset job of one submission says."""
        return self.submissions / f"{number:04d}.data.json"

    @property
    def code(self) -> Path:
        """The folder of the code that submissions were made with."""
        return self.home / "code"

    def frozen_code(self, sha256: str) -> Path:
        """The archive of one version of the code."""
        return self.code / f"{sha256}.zip"

    @property
    def cancellations(self) -> Path:
        """The folder of the records of what was cancelled."""
        return self.root / "cancellations"

    def cancellation(self, number: int) -> Path:
        """What one `cancel` asked for."""
        return self.cancellations / f"{number:04d}.json"

    @property
    def data(self) -> Path:
        """The folder of all datasets."""
        return self.home / "data"

    def phase_c(self, dose_photons: float, sweep: Labels = ()) -> Path:
        """The datasets of one dose, of a place on those axes of the sweep that they depend on."""
        return self.data / "phase_c" / phase_c_folder(dose_photons, sweep)

    def phase_d(self, dose_photons: float, view: str, sweep: Labels = ()) -> Path:
        """The datasets of one view at one dose; see `phase_c`."""
        return self.data / "phase_d" / phase_d_folder(dose_photons, view, sweep)

    @property
    def training(self) -> Path:
        """The folder of all jobs."""
        return self.root if self.is_phase_f else self.root / "phase_e_training"

    def job(self, job: TrainingJob) -> JobPaths:
        """The files of one job."""
        return JobPaths(self.training / job.folder)

    def job_roots(self, jobs: Iterable[TrainingJob]) -> list[str]:
        """The folder of each of many jobs, as text: thousands of paths take their time to be made."""
        training = str(self.training)
        return [f"{training}/{job.folder}" for job in jobs]

    @property
    def manifest(self) -> Path:
        """The state and result of every job."""
        return self.root / ("iterative_manifest.json" if self.is_phase_f else "training_manifest.json")

    def evaluation(self, job: TrainingJob) -> Path:
        """The folder of what a job's network makes of both halves of its scan, scored."""
        return self.home / "evaluation" / job.folder

    @property
    def comparison(self) -> Path:
        """The folder of the comparison of networks and solvers."""
        return self.home / "comparison"

    @property
    def exports(self) -> Path:
        """The folder of reconstructions in the formats of other programs."""
        return self.root / "export"

    @property
    def collect_lock(self) -> Path:
        """Held while the manifest and the checkpoint index are made."""
        return self.root / ".collect.lock"

    @property
    def known_jobs(self) -> Path:
        """What the collector found of jobs, for `status`."""
        return self.root / "known_jobs.jsonl"

    @property
    def checkpoint_index(self) -> Path:
        """Every checkpoint, with its digest."""
        return self.root / "checkpoint_index.json"

    @property
    def skip_summary(self) -> Path:
        """The views that could not be made, and why."""
        return self.root / "skip_summary.json"

    def scratch(self, study: str, study_sha256: str) -> Path:
        """The scheduler's scratch folder, outside the study directory."""
        return Path("logs").resolve() / f"{study}-{study_sha256[:8]}"

    def inside(self, path: Path) -> str:
        """`path` as JSON files have it: relative to the study directory, absolute where it lies outside."""
        text, root = str(path), f"{self.root}/"
        if text.startswith(root):  # as nearly all do, and of a large study there are many
            return text.removeprefix(root)
        return Path(os.path.relpath(path, self.root)).as_posix() if path.is_relative_to(self.home) else str(path)

    def absolute(self, recorded: str) -> Path:
        """The file that a JSON file names."""
        return self.root / recorded
