"""Where everything of a study lies. No other module joins these paths."""

from dataclasses import dataclass
from pathlib import Path

from fly64_hpc.job_matrix import TrainingJob, dose_label


@dataclass(frozen=True)
class JobPaths:
    """The files of one job."""

    root: Path

    @property
    def spec(self) -> Path:
        """What this job is: job.json."""
        return self.root / "job.json"

    @property
    def log(self) -> Path:
        """The human log of all attempts."""
        return self.root / "train.log"

    @property
    def history(self) -> Path:
        """One line an epoch."""
        return self.root / "history.jsonl"

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints, in which each attempt has its own."""
        return self.root / "checkpoints"

    def own_checkpoints(self, number: int) -> Path:
        """The checkpoints that one attempt wrote."""
        return self.checkpoints / f"{number:03d}"

    @property
    def bundle(self) -> Path:
        """The best weights."""
        return self.root / "model.safetensors"

    @property
    def attempts(self) -> Path:
        """The folder of the attempts."""
        return self.root / "attempts"

    def attempt(self, number: int) -> Path:
        """The folder of one attempt."""
        return self.attempts / f"{number:03d}"

    def result(self, number: int) -> Path:
        """The record of one attempt."""
        return self.attempt(number) / "result.json"

    @property
    def lock(self) -> Path:
        """Held while an attempt is claimed, and while one publishes."""
        return self.attempts / ".lock"

    def attempt_numbers(self) -> list[int]:
        """The attempts that were begun, oldest first."""
        if not self.attempts.is_dir():
            return []
        return sorted(int(folder.name) for folder in self.attempts.iterdir() if folder.name.isdigit())


@dataclass(frozen=True)
class StudyPaths:
    """The files of one study."""

    root: Path

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
    def data(self) -> Path:
        """The folder of all datasets."""
        return self.root / "data"

    def phase_c(self, dose_photons: float) -> Path:
        """The datasets of one dose."""
        return self.data / "phase_c" / dose_label(dose_photons)

    def phase_d(self, dose_photons: float, view: str) -> Path:
        """The datasets of one view at one dose."""
        return self.data / "phase_d" / dose_label(dose_photons) / view

    @property
    def training(self) -> Path:
        """The folder of all jobs."""
        return self.root / "phase_e_training"

    def job(self, job: TrainingJob) -> JobPaths:
        """The files of one job."""
        return JobPaths(self.training / job.folder)

    @property
    def manifest(self) -> Path:
        """The state and result of every job."""
        return self.root / "training_manifest.json"

    @property
    def collect_lock(self) -> Path:
        """Held while the manifest and the checkpoint index are made."""
        return self.root / ".collect.lock"

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
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)

    def absolute(self, recorded: str) -> Path:
        """The file that a JSON file names."""
        return self.root / recorded
