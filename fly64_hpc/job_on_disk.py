"""What the study directory alone says of a job, whatever the executors say. Read when it is asked for, and at most once."""

from dataclasses import dataclass
from functools import cached_property

from fly64_hpc.errors import StudyDirectoryError
from fly64_hpc.history import HistoryEnd, history_end
from fly64_hpc.job_matrix import TrainingJob
from fly64_hpc.job_paths import JobPaths
from fly64_hpc.job_record import AttemptRecord, DamagedRecord, JobSpec, bundle_of, proven_success, read_attempt, read_record
from fly64_hpc.settled_jobs import SettledJob, SettledJobs, Success


@dataclass(frozen=True)
class JobOnDisk:
    """A job's files."""

    job: TrainingJob
    paths: JobPaths
    settled: SettledJob | None = None
    """What is known of a job at rest whose files nobody has touched since."""

    @cached_property
    def damage(self) -> str:
        """What is wrong with job.json."""
        return "" if self.settled is not None else self._spec_or_damage[1]

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
        return self.settled.attempts if self.settled is not None else len(self._numbers)

    @cached_property
    def success(self) -> Success | None:
        """The attempt that succeeded with the job's own configuration and whose bundle lies there unharmed."""
        if self.settled is not None:
            return self.settled.success
        record = self._proven
        return None if record is None else Success.of(record, bundle_of(self.paths, record).name)

    @cached_property
    def record(self) -> AttemptRecord | DamagedRecord | None:
        """That of the success or else of the newest attempt, where it has left one."""
        if self.settled is not None:
            own = self.settled.success
            return None if own is None else read_attempt(self.paths.result(own.attempt), own.attempt)
        newest = self._numbers[-1] if self._numbers and not self.damage else None
        return self._proven or (None if newest is None else read_attempt(self.paths.result(newest), newest))

    @cached_property
    def history(self) -> HistoryEnd:
        """How far its training has come."""
        if self.settled is not None:
            return self.settled.history
        return history_end(self.paths) if self.attempts else HistoryEnd()

    @cached_property
    def _numbers(self) -> list[int]:
        return self.paths.attempt_numbers()

    @cached_property
    def _proven(self) -> AttemptRecord | None:
        return proven_success(self.paths, self.spec.config_sha256, self._numbers) if self.spec is not None else None


def read_job(job: TrainingJob, paths: JobPaths, settled: SettledJobs) -> JobOnDisk:
    """A job as its files have it now; what decides its state is read at once, and not at all of a job that is settled."""
    found = JobOnDisk(job, paths, settled.of(job.job_id, paths))
    if found.settled is None:
        _ = found.damage, found.success, found.record
    return found
