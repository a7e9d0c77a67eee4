"""How long trainings of the same shape took before, in this study and in those beside it."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fly64_hpc.history import epochs_so_far
from fly64_hpc.job_matrix import TrainingJob
from fly64_hpc.job_paths import JobPaths, StudyPaths
from fly64_hpc.job_record import AttemptRecord, read_attempt
from fly64_hpc.preflight.study_volume import patterns_of
from fly64_hpc.study import IterativeStudy, StudyDesign
from fly64_hpc.study_directory import read_study
from fly64_hpc.sweep import Labels
from ptycho_torch.config import EXECUTION_FIELDS, PtychoError

STUDIES_READ = 20
"""The studies beside this one that are looked at, the newest first."""
RUNS_READ = 50
"""Of one study."""
_OF_NO_LENGTH = EXECUTION_FIELDS | {"epochs", "learning_rate", "schedule", "warmup_fraction", "weight_decay", "head_gain"}
"""Fields of a training that do not change how long an epoch takes, or that say how many there are."""

Shape = tuple[str, int, int, int]
"""What decides how long an epoch takes: the networks, the patch size, the gridsize, the patterns of the view."""


@dataclass(frozen=True)
class EarlierRun:
    """An attempt that trained a job from its first step to its last."""

    shape: Shape
    epochs: int
    training_s: float
    """All epochs."""
    elapsed_s: float
    """The whole attempt, start and evaluation included."""
    partition: str | None
    gpus: int

    def scaled_s(self, epochs: int) -> float:
        """How long it would have taken with another number of epochs."""
        return self.elapsed_s + self.training_s * (epochs / self.epochs - 1)


def shape_of(design: StudyDesign, view: str) -> Shape | None:
    """The shape of a training; None where it cannot be told before the scan is read."""
    n_patterns = patterns_of(design, view)
    if n_patterns is None:
        return None
    networks = design.training.model_dump_json(exclude=set(_OF_NO_LENGTH))
    return networks, design.design.patch_size_px, design.design.views[view].gridsize, n_patterns


def earlier_runs(paths: StudyPaths, wanted: set[Shape]) -> list[EarlierRun]:
    """Every earlier run of the shapes that are wanted."""
    return [run for study in _studies(paths) for run in itertools.islice(_runs_of(study, wanted), RUNS_READ)]


def _studies(paths: StudyPaths) -> list[StudyPaths]:
    beside = [file for file in paths.home.parent.glob("*/study.json") if file.parent != paths.home]
    newest = sorted(beside, key=_changed_at, reverse=True)[:STUDIES_READ]
    own = [paths.home] if (paths.home / "study.json").is_file() else []
    return [StudyPaths(folder) for folder in [*own, *(file.parent for file in newest)]]


def _changed_at(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


def _runs_of(study: StudyPaths, wanted: set[Shape]) -> Iterator[EarlierRun]:
    try:
        stored = read_study(study)
        shapes = {kind: shape_of(stored.of(job).design, job.view) for kind, job in _kinds(stored.jobs).items()}
    except (PtychoError, OSError):
        return  # another program's, or being written
    for job in stored.jobs:
        shape = shapes[job.view, job.sweep]
        if shape in wanted and not isinstance(stored.design, IterativeStudy):
            yield from _runs_of_job(study, job, shape)


def _kinds(jobs: Sequence[TrainingJob]) -> dict[tuple[str, Labels], TrainingJob]:
    """A job of each view and place of the sweep, which have one shape."""
    return {(job.view, job.sweep): job for job in jobs}


def _runs_of_job(study: StudyPaths, job: TrainingJob, shape: Shape | None) -> Iterator[EarlierRun]:
    paths = study.job(job)
    record = _whole_attempt(paths)
    seconds = [row["seconds"] for row in epochs_so_far(paths) if isinstance(row.get("seconds"), int | float)]
    if record is None or record.elapsed_s is None or not seconds or shape is None:
        return
    yield EarlierRun(
        shape, len(seconds), float(sum(seconds)), record.elapsed_s, record.scheduler.partition, record.scheduler.gpus
    )


def _whole_attempt(paths: JobPaths) -> AttemptRecord | None:
    """The newest attempt, where it trained from the first step to the last."""
    numbers = paths.attempt_numbers()
    record = read_attempt(paths.result(numbers[-1]), numbers[-1]) if numbers else None
    is_whole = isinstance(record, AttemptRecord) and record.state == "succeeded" and not record.first_step
    return record if is_whole and isinstance(record, AttemptRecord) else None
