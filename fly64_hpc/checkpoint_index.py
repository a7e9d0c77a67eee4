"""checkpoint_index.json: every checkpoint of a study, and a look-up that verifies before it hands out a path."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fly64_hpc.errors import StudyDirectoryError
from fly64_hpc.job_matrix import TrainingJob
from fly64_hpc.job_paths import JobPaths, StudyPaths
from fly64_hpc.job_record import now_utc, read_json
from fly64_hpc.study_directory import SCHEMA_VERSION
from fly64_hpc.sweep import value_label
from ptycho_torch.config import sha256_file, write_json

COPIED_FACTS = ("epoch", "step", "sha256", "size_bytes", "config_sha256", "attempt", "lesson", "val_loss", "created_utc")


def index_entries(paths: StudyPaths, job: TrainingJob) -> list[dict[str, Any]]:
    """A job's checkpoints, oldest first; the newest is also listed as `last`, and the one of least validation loss in
    the newest's lesson as `best`.

    Each attempt keeps its own. Of a step that several have, because a later one took it over, the latest attempt's is listed.
    """
    by_step = {fact["step"]: fact for file in _fact_files(paths.job(job)) if (fact := _facts(file)) is not None}
    rows = [_entry(paths, job, by_step[step], "periodic") for step in sorted(by_step)]
    if not rows:
        return []
    last = rows[-1]
    rivals = [row for row in rows if row["lesson"] == last["lesson"]]
    best = min(rivals, key=lambda row: (row["val_loss"] is None, row["val_loss"], row["step"]))
    return [*rows, best | {"kind": "best"}, last | {"kind": "last"}]


def last_step(paths: JobPaths, attempt: int) -> int:
    """The last step of which an attempt has a checkpoint; 0 where it has none."""
    newest_first = sorted(paths.own_checkpoints(attempt).glob("step_*.json"), reverse=True)
    return next((fact["step"] for file in newest_first if (fact := _facts(file)) is not None), 0)


def _fact_files(paths: JobPaths) -> list[Path]:
    """The records of all checkpoints, those of earlier attempts first."""
    return sorted(paths.checkpoints.glob("[0-9]*/step_*.json"))


def _facts(file: Path) -> dict[str, Any] | None:
    """A checkpoint's facts; None for a file that vanished or is being damaged: its checkpoint does not count."""
    try:
        facts: dict[str, Any] = json.loads(file.read_text()) | {"file": file.with_suffix(".safetensors")}
    except (OSError, ValueError, TypeError):
        return None
    return facts if facts.keys() >= set(COPIED_FACTS) and facts["file"].exists() else None


def _entry(paths: StudyPaths, job: TrainingJob, facts: dict[str, Any], kind: str) -> dict[str, Any]:
    return {"job_id": job.job_id, "kind": kind, "path": paths.inside(facts["file"])} | {key: facts[key] for key in COPIED_FACTS}


def write_index(paths: StudyPaths, study: str, jobs: Sequence[TrainingJob]) -> None:
    """Write the index anew from the checkpoints that are there."""
    entries = [entry for job in jobs for entry in index_entries(paths, job)]
    write_json(
        paths.checkpoint_index,
        {"schema_version": SCHEMA_VERSION, "study": study, "updated_utc": now_utc(), "checkpoints": entries},
    )


@dataclass(frozen=True)
class CheckpointIndex:
    """An index that was read, and the study directory that it describes."""

    root: Path
    checkpoints: tuple[dict[str, Any], ...]
    jobs: tuple[dict[str, Any], ...]

    def best(self, *, dose: float, view: str, gridsize: int, seed: int | None = None, **sweep: Any) -> Path:
        """The best checkpoint of one condition, its sha256 verified.

        Parameters
        ----------
        sweep
            By axis of the study's sweep what a value is called there, or the number that it is called after:
            `learning_rate=3e-3`.

        Raises
        ------
        StudyDirectoryError
            There is none, there are several (name a seed), or its sha256 differs from the index.
        """
        return self._verified(self._job(dose, view, gridsize, seed, sweep), "best")

    def last(self, *, dose: float, view: str, gridsize: int, seed: int | None = None, **sweep: Any) -> Path:
        """The newest checkpoint of one condition; see `best`."""
        return self._verified(self._job(dose, view, gridsize, seed, sweep), "last")

    def _job(self, dose: float, view: str, gridsize: int, seed: int | None, sweep: Mapping[str, Any]) -> str:
        wanted: dict[str, Any] = {"dose": dose, "view": view, "gridsize": gridsize} | ({} if seed is None else {"seed": seed})
        labels = {axis: value_label("", value) for axis, value in sweep.items()}
        found = [
            job["job_id"]
            for job in self.jobs
            if all(job[key] == value for key, value in wanted.items()) and labels.items() <= job.get("sweep", {}).items()
        ]
        wanted |= labels
        if len(found) != 1:
            problem = f"fits {', '.join(found)}" if found else "is in no job of the study"
            raise StudyDirectoryError(
                f"{self.root}: the condition {wanted} {problem}.",
                hint="Name a dose, view, gridsize and seed of it, and a value on each axis of a sweep.",
            )
        return str(found[0])

    def _verified(self, job_id: str, kind: str) -> Path:
        for entry in self.checkpoints:
            if (entry["job_id"], entry["kind"]) == (job_id, kind):
                return _verified(self.root / entry["path"], entry["sha256"])
        raise StudyDirectoryError(f"{self.root}: job {job_id} has no checkpoint yet.", hint="Run collect after it has trained.")


def load(path: Path | str) -> CheckpointIndex:
    """Read a checkpoint_index.json and the manifest beside it."""
    index = Path(path)
    jobs = read_json(StudyPaths(index.parent).manifest)["jobs"]
    return CheckpointIndex(index.parent, tuple(read_json(index)["checkpoints"]), tuple(jobs))


def _verified(path: Path, sha256: str) -> Path:
    if not path.exists():
        raise StudyDirectoryError(
            f"{path} is missing, though the index has it.", hint="Run collect to bring the index up to date."
        )
    digest = sha256_file(path)
    if digest != sha256:
        raise StudyDirectoryError(
            f"{path} is damaged: its sha256 is {digest}, the index has {sha256}.", hint="Use another checkpoint."
        )
    return path
