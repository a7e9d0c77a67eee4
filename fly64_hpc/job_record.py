"""What a job is (job.json, written by the submitter) and what became of one attempt (result.json, written by its node)."""

import datetime
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from fly64_hpc.errors import StudyDirectoryError
from fly64_hpc.process_identity import ProcessIdentity
from ptycho_torch.config import JobConfig
from ptycho_torch.npz_contract import write_json


class Record(BaseModel):
    """A file of the study directory."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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

    config: JobConfig
    config_sha256: str
    train_data: DataFile
    test_data: DataFile


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
    started_utc: str
    ended_utc: str | None = None
    result: dict[str, Any] | None = None
    error: JobError | None = None


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


def read_job_spec(path: Path) -> JobSpec:
    """Read a job.json.

    Raises
    ------
    StudyDirectoryError
        It is missing or damaged.
    """
    try:
        return JobSpec.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise StudyDirectoryError(f"{path} is missing.", hint="Run submit again: it writes the jobs anew.") from None
    except ValidationError as error:
        raise StudyDirectoryError(f"{path} is damaged: {_first_line(error)}.", hint="Run submit again.") from None


def read_attempt(path: Path, attempt: int) -> AttemptRecord | DamagedRecord | None:
    """Read an attempt's record; None where the attempt has left none."""
    try:
        return AttemptRecord.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        return DamagedRecord(attempt=attempt, reason=f"result.json of attempt {attempt} is damaged: {_first_line(error)}")


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
