"""What a job is (job.json, written by the submitter) and what became of one attempt (result.json, written by its node)."""

import datetime
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, TypeGuard, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fly64_hpc.errors import StudyDirectoryError
from fly64_hpc.file_digests import file_digest
from fly64_hpc.job_matrix import Condition
from fly64_hpc.job_paths import JobPaths
from fly64_hpc.process_identity import ProcessIdentity
from fly64_hpc.provenance import AttemptProvenance
from ptycho_torch.config import JobConfig, SolverJobConfig, write_json

RecordT = TypeVar("RecordT", bound="Record")
Time = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")]
"""A time as `now_utc` writes it."""


class Record(BaseModel):
    """A file of the study directory."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    def write(self, path: Path) -> None:
        """Write the record as a whole."""
        write_json(path, self.model_dump(mode="json"))


class DataFile(Record):
    """A dataset file as a job knows it."""

    path: str
    """Relative to the study directory, or absolute where it lies outside."""
    sha256: str
    external: bool = False


class JobSpec(Record):
    """What this job is: job.json."""

    config: JobConfig | SolverJobConfig = Field(union_mode="left_to_right")  # neither has all keys of the other
    config_sha256: str
    train_data: DataFile
    test_data: DataFile

    @property
    def seeds(self) -> dict[str, int]:
        """What decides all that the job draws."""
        if isinstance(self.config, SolverJobConfig):
            return {"solver": self.config.seed}
        return {"training": self.config.training_seed, "grouping": self.config.grouping_seed}


class SchedulerIds(Record):
    """Who ran an attempt, as the node saw it."""

    executor: str
    job_id: str | None = None
    array_index: int | None = None
    node: str | None = None
    partition: str | None = None
    gpus: int = 0


class JobError(Record):
    """Why an attempt failed."""

    type: str
    message: str
    traceback_path: str | None = None
    hint: str = ""


class AttemptRecord(Record):
    """What a node says of one attempt: result.json."""

    attempt: int
    state: Literal["running", "succeeded", "failed", "interrupted"]
    submission: int
    config_sha256: str
    process: ProcessIdentity
    scheduler: SchedulerIds
    provenance: AttemptProvenance | None = None
    """What it was made with; None in records of older versions."""
    started_utc: Time
    ended_utc: Time | None = None
    first_step: int | None = None
    """The training step at which this attempt began, where it came to its end or was interrupted."""
    step: int | None = None
    """The last step of an attempt that was interrupted."""
    stopped_by: str | None = None
    """What interrupted it: `time limit`, a signal's name, `a newer attempt` or `a cancel`."""
    result: dict[str, Any] | None = None
    error: JobError | None = None

    @property
    def elapsed_s(self) -> float | None:
        """How long it took; None where its end is not known."""
        return None if self.ended_utc is None else seconds_between(self.started_utc, self.ended_utc)


class DamagedRecord(BaseModel):
    """A record that is there and cannot be read."""

    attempt: int
    reason: str


def now_utc() -> str:
    """The time as records have it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds_between(start_utc: str, end_utc: str) -> float:
    """Seconds from one recorded time to another."""
    start, end = (datetime.datetime.fromisoformat(text) for text in (start_utc, end_utc))
    return (end - start).total_seconds()


def read_attempt(path: Path, attempt: int) -> AttemptRecord | DamagedRecord | None:
    """Read an attempt's record; None where the attempt has left none."""
    try:
        return AttemptRecord.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        return DamagedRecord(attempt=attempt, reason=f"result.json of attempt {attempt} is damaged: {_first_line(error)}")


def proven_success(paths: JobPaths, config_sha256: str, attempts: Sequence[int]) -> AttemptRecord | None:
    """The one of these attempts that succeeded with this configuration and whose bundle lies there unharmed, if there is one."""
    for number in reversed(attempts):
        record = read_attempt(paths.result(number), number)
        if says_success(record, config_sha256):
            return record if bundle_is_whole(paths, record) else None
    return None


def says_success(record: AttemptRecord | DamagedRecord | None, config_sha256: str) -> TypeGuard[AttemptRecord]:
    """Whether an attempt recorded that it succeeded with this configuration."""
    return isinstance(record, AttemptRecord) and record.state == "succeeded" and record.config_sha256 == config_sha256


def bundle_is_whole(paths: JobPaths, record: AttemptRecord) -> bool:
    """Whether the bundle of an attempt that succeeded lies there unharmed."""
    return bundle_digest(paths, record) == (record.result or {}).get("bundle_sha256")


def bundle_of(paths: JobPaths, record: AttemptRecord) -> Path:
    """What a job that succeeded was run for: the best weights, or a solver's reconstruction."""
    return paths.root / Path((record.result or {}).get("bundle_path", paths.bundle)).name


def bundle_digest(paths: JobPaths, record: AttemptRecord) -> str | None:
    """The sha256 of a job's bundle as it lies there; None where it does not."""
    bundle = bundle_of(paths, record)
    return file_digest(bundle) if bundle.is_file() else None


def read_skipped_views(path: Path) -> list[dict[str, Any]]:
    """The views of a skip_summary.json; none where there is no such file.

    Raises
    ------
    StudyDirectoryError
        It is damaged.
    """
    if not path.exists():
        return []
    summary = read_json(path)
    if not isinstance(summary, dict) or not isinstance(summary.get("skipped_views"), list):
        raise StudyDirectoryError(f"{path} is damaged: it has no list of skipped views.", hint="Delete it and run submit again.")
    views: list[dict[str, Any]] = summary["skipped_views"]
    return views


def skipped_view(condition: Condition, reason: str) -> dict[str, Any]:
    """A view that could not be made, as a skip_summary.json has it; `sweep` where it is at a place of one."""
    place = {"sweep": dict(condition.sweep)} if condition.sweep else {}
    return {"dose": condition.dose_photons, "view": condition.view, **place, "reason": reason}


def skipped_condition(view: dict[str, Any]) -> Condition:
    """The condition of a view of a skip_summary.json."""
    return Condition(view["dose"], view["view"], tuple(view.get("sweep", {}).items()))


def read_skipped_conditions(path: Path) -> set[Condition]:
    """The condition of each view of a skip_summary.json; see `read_skipped_views`."""
    return {skipped_condition(view) for view in read_skipped_views(path)}


def read_record(path: Path, model: type[RecordT]) -> RecordT:
    """Read a record of the study directory.

    Raises
    ------
    StudyDirectoryError
        It is missing or damaged.
    """
    with suppress(OSError, ValidationError):
        return model.model_validate_json(path.read_bytes())
    try:  # the slow way, for its words
        return model.model_validate(read_json(path))
    except ValidationError as error:
        raise StudyDirectoryError(
            f"{path} is damaged: {_first_line(error)}.", hint="Delete it, and submit the study again."
        ) from None


def read_json(path: Path) -> Any:
    """Read a JSON file of the study directory.

    Raises
    ------
    StudyDirectoryError
        It is missing or damaged.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise StudyDirectoryError(f"{path} is missing.", hint="Name a study directory with --study-dir DIR.") from None
    except ValueError as error:
        raise StudyDirectoryError(f"{path} is damaged: {error}.") from None


def _first_line(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    return f"{where}: {problem['msg']}" if where else problem["msg"]
