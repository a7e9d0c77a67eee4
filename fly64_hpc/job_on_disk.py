"""What the study directory alone says of a job, whatever the executors say. Read when it is asked for, and at most once."""

import os
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fly64_hpc.attempt_costs import Spent, spent_by_attempt
from fly64_hpc.errors import StudyDirectoryError
from fly64_hpc.heartbeat import Heartbeat, read_heartbeat
from fly64_hpc.history import HistoryEnd, history_end
from fly64_hpc.job_matrix import TrainingJob
from fly64_hpc.job_paths import JobPaths, heartbeat_name, own_checkpoints_name
from fly64_hpc.job_record import (
    AttemptRecord,
    DamagedRecord,
    JobSpec,
    bundle_is_whole,
    bundle_of,
    proven_success,
    read_attempt,
    read_record,
    says_success,
)
from fly64_hpc.known_jobs import KnownJob, KnownJobs, Success


@dataclass
class JobOnDisk:
    """A job's files. What was read of one is not read again, and nobody but `read_job` says what is in one."""

    job: TrainingJob
    root: str
    """Their folder."""
    is_known: bool = False
    """Whether what is said of it here comes from an earlier look, and its files are as they were then."""

    @cached_property
    def paths(self) -> JobPaths:
        """Where they lie."""
        return JobPaths(Path(self.root))

    @cached_property
    def damage(self) -> str:
        """What is wrong with job.json."""
        return self._spec_or_damage[1]

    @cached_property
    def spec(self) -> JobSpec | None:
        """What the job is; None where there is no job.json that can be read."""
        return self._spec_or_damage[0]

    @cached_property
    def _spec_or_damage(self) -> tuple[JobSpec | None, str]:
        try:
            return (read_record(self.paths.spec, JobSpec) if self.paths.spec.exists() else None), ""
        except StudyDirectoryError as error:
            return None, str(error)

    @cached_property
    def attempts(self) -> int:
        """Attempts begun."""
        return len(self.numbers)

    @cached_property
    def success(self) -> Success | None:
        """The attempt that succeeded with the job's own configuration and whose bundle lies there unharmed."""
        record = self._proven
        return None if record is None else Success.of(record, bundle_of(self.paths, record).name)

    @cached_property
    def record(self) -> AttemptRecord | DamagedRecord | None:
        """That of the success or else of the newest attempt, where it has left one."""
        return self.newest_record if self.is_known else None if self.damage else self._proven or self.newest_record

    @cached_property
    def records(self) -> list[AttemptRecord]:
        """Those of all attempts that left a readable one, oldest first."""
        earlier = [read_attempt(self.paths.result(number), number) for number in self.numbers[:-1]]
        return [record for record in (*earlier, self.newest_record) if isinstance(record, AttemptRecord)]

    @cached_property
    def beats(self) -> dict[int, Heartbeat | None]:
        """By the number of an attempt its last sign of progress, of those records that are not of a success."""
        unfinished = [record.attempt for record in self.records if record.state != "succeeded"]
        return {number: read_heartbeat(self.heartbeat(number)) for number in unfinished}

    def heartbeat(self, number: int) -> str:
        """The file in which an attempt tells of its progress; as text, for there are thousands of jobs."""
        return f"{self.root}/{heartbeat_name(number)}"

    @cached_property
    def spent(self) -> Spent:
        """What all attempts took, none of them being at work."""
        costs = spent_by_attempt(self.paths, self.records, self.beats, is_at_work=False) if self.attempts else ()
        return Spent.total(spent for _, spent in costs)

    @cached_property
    def config_sha256(self) -> str | None:
        """The digest of what the job is; None where nobody knows."""
        return None if self.spec is None else self.spec.config_sha256

    @cached_property
    def newest(self) -> int:
        """The number of the newest attempt; 0 where none was begun."""
        return self.numbers[-1] if self.numbers else 0

    def to_keep(self) -> KnownJob | None:
        """What to keep of it for later looks; None where more files than those of the newest attempt decide what it is."""
        if self.config_sha256 is None or not (self.newest == 0 or self._is_decided_by_newest()):
            return None
        has_ended = not isinstance(self.newest_record, AttemptRecord) or self.newest_record.ended_utc is not None
        spent = self.spent if has_ended else None
        record = self.newest_record if self.success is None and isinstance(self.newest_record, AttemptRecord) else None
        saved_s = self.saved_s if has_ended and self.success is None else None
        return KnownJob(self.config_sha256, self.numbers, record, self.success, spent, saved_s, self.history)

    def _is_decided_by_newest(self) -> bool:
        if self.success is not None:
            return self.success.attempt == self.newest
        says_success = any(record.state == "succeeded" for record in self.records)  # its bundle may come back
        return isinstance(self.newest_record, AttemptRecord) and not says_success

    @cached_property
    def history(self) -> HistoryEnd:
        """How far its training has come."""
        return history_end(self.paths) if self.attempts else HistoryEnd()

    @cached_property
    def saved_s(self) -> float | None:
        """When its newest checkpoint was written, in seconds since 1970, by the file system; None where it has none."""
        for number in reversed(self.numbers):  # a later attempt's are the newer ones
            folder = f"{self.root}/{own_checkpoints_name(number)}"
            with suppress(OSError, ValueError):  # no folder, an empty one, or pruned at this moment
                newest = max(name for name in os.listdir(folder) if name.startswith("step_") and name.endswith(".json"))  # noqa: PTH208
                return os.stat(f"{folder}/{newest}").st_mtime  # noqa: PTH116
        return None

    @cached_property
    def numbers(self) -> list[int]:
        """The numbers of the attempts that were begun, oldest first."""
        return self.paths.attempt_numbers()

    @cached_property
    def newest_record(self) -> AttemptRecord | DamagedRecord | None:
        """That of the newest attempt, where it has left one."""
        return read_attempt(self.paths.result(self.newest), self.newest) if self.newest else None

    @cached_property
    def _proven(self) -> AttemptRecord | None:
        if self.spec is None:
            return None
        if says_success(self.newest_record, self.spec.config_sha256):
            return self.newest_record if bundle_is_whole(self.paths, self.newest_record) else None
        return proven_success(self.paths, self.spec.config_sha256, self.numbers[:-1])


def read_job(job: TrainingJob, root: str, known: KnownJobs) -> JobOnDisk:
    """A job as its files have it now; what decides its state is read at once, where it is not known."""
    before = known.of(job.job_id, root)
    found = JobOnDisk(job, root, is_known=before is not None)
    if before is None:
        _ = found.damage, found.success, found.record
    else:
        _fill_in(found, before)
    return found


def _fill_in(found: JobOnDisk, before: KnownJob) -> None:
    """Say what an earlier look found; what is not kept of it is read where it is asked for."""
    found.damage = ""
    found.config_sha256 = before.config_sha256
    found.numbers = before.numbers
    found.attempts = len(before.numbers)
    found.success = before.success
    found.history = before.history
    if before.newest_record is not None or not before.numbers:
        found.newest_record = found.record = before.newest_record
    if before.spent is not None:
        found.spent = before.spent
    if before.saved_s is not None or not before.numbers:
        found.saved_s = before.saved_s
