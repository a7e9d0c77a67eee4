"""evaluation.json: what a job's network makes of both halves of its scan, linked to all that it comes from."""

from pathlib import Path
from typing import Any

from fly64_hpc.errors import StudyDirectoryError
from fly64_hpc.job_record import AttemptRecord, DataFile, JobSpec, Record, Time, read_record

SCHEMA_VERSION = 1
EVALUATION_NAME = "evaluation.json"


class EvaluationRecord(Record):
    """What `evaluate` says of one job."""

    schema_version: int
    job_id: str
    config_sha256: str
    bundle_sha256: str
    train_data: DataFile
    test_data: DataFile
    code: dict[str, Any]
    created_utc: Time
    device: str
    warnings: list[str]
    constants: dict[str, Any]
    """Region, alignment and every number that the figures depend on."""
    halves: dict[str, dict[str, Any]]
    """`train` and `test`: the half's facts, and under `methods` the figures of `network` and `refined`."""

    def is_of(self, spec: JobSpec, success: AttemptRecord) -> bool:
        """Whether this is of the job's network and data as they are now."""
        return (self.schema_version, self.config_sha256, self.bundle_sha256, self.train_data, self.test_data) == (
            SCHEMA_VERSION,
            spec.config_sha256,
            (success.result or {}).get("bundle_sha256"),
            spec.train_data,
            spec.test_data,
        )


def read_evaluation(folder: Path) -> EvaluationRecord | None:
    """The evaluation that a folder holds; None where there is none that can be read, for it can be made again."""
    try:
        return read_record(folder / EVALUATION_NAME, EvaluationRecord)
    except StudyDirectoryError:
        return None
