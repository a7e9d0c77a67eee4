"""One job's log across attempts and nodes: what each attempt wrote into train.log, and what its task printed in the scratch."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fly64_hpc.job_paths import JobPaths
from fly64_hpc.job_record import AttemptRecord, DamagedRecord, read_attempt
from fly64_hpc.slurm.task_logs import task_log
from fly64_hpc.submissions import Submission

_OF_ATTEMPT = re.compile(r"\S+Z attempt (\d+) ")


class GrowingFile:
    """Gives the whole lines that were added since it was last asked; none where there is no file yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0

    def new_lines(self) -> list[str]:
        """The lines, without what is still being written behind the last end of a line."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                text, end, _ = file.read().rpartition(b"\n")
        except OSError:
            return []
        self._offset += len(text) + len(end)
        return text.decode(errors="replace").split("\n") if end else []


@dataclass(frozen=True)
class LogPart:
    """Some lines of one attempt, or of what one task printed."""

    key: str
    """`attempt 2`, or the file."""
    title: str
    lines: tuple[str, ...]
    attempt: int | None = None
    submission: int | None = None


class JobLog:
    """A job's log; each look gives what is new. With `only`, of one attempt and its task."""

    def __init__(self, paths: JobPaths, job_id: str, only: int | None = None) -> None:
        self._paths, self._job_id, self._only = paths, job_id, only
        self._files: dict[Path, GrowingFile] = {}
        self._last_attempt = 0

    def news(self, submissions: Sequence[Submission]) -> list[LogPart]:
        """What came since the last look: the parts of each attempt, with no lines where it wrote none, oldest first."""
        lines = self._lines_by_attempt()
        records = {number: read_attempt(self._paths.result(number), number) for number in self._paths.attempt_numbers()}
        numbers = sorted(number for number in lines.keys() | records.keys() if self._only in (None, number))
        parts: list[LogPart] = []
        own = [one for one in submissions if self._job_id in one.jobs and one.state != "refused"]
        for submission in (None, *own):
            in_it = [number for number in numbers if _submission_of(records.get(number), own) is submission]
            parts += [_attempt_part(number, records.get(number), lines.get(number, [])) for number in in_it]
            if submission is not None and (in_it or self._only is None):
                parts += self._output_parts(submission, [records.get(number) for number in in_it])
        return parts

    def _lines_by_attempt(self) -> dict[int, list[str]]:
        found: dict[int, list[str]] = {}
        for line in self._file(self._paths.log).new_lines():
            if match := _OF_ATTEMPT.match(line):
                self._last_attempt = int(match[1])
            found.setdefault(self._last_attempt, []).append(line)
        return found

    def _output_parts(self, submission: Submission, records: Sequence[AttemptRecord | DamagedRecord | None]) -> Iterator[LogPart]:
        """What the task of a submission printed; attempts that Slurm requeued share one."""
        for errors in dict.fromkeys(_error_files(submission, self._job_id, records)):
            for file in (errors.with_suffix(".out"), errors):
                if lines := self._file(file).new_lines():
                    yield LogPart(str(file), f"-- {file}", tuple(lines), submission=submission.number)

    def _file(self, path: Path) -> GrowingFile:
        return self._files.setdefault(path, GrowingFile(path))


def _error_files(submission: Submission, job_id: str, records: Sequence[AttemptRecord | DamagedRecord | None]) -> Iterator[Path]:
    if (task := submission.task(job_id)) is not None:
        part, index = task
        if part.scheduler_job_id is not None:
            yield task_log(submission.scratch, part.scheduler_job_id, index)
        return
    for record in records:
        if isinstance(record, AttemptRecord) and record.scheduler.job_id is not None:
            yield task_log(submission.scratch, record.scheduler.job_id, None)


def _submission_of(record: AttemptRecord | DamagedRecord | None, submissions: Sequence[Submission]) -> Submission | None:
    """The submission to which an attempt belongs; None for one that was begun by hand, or has left no record."""
    if not isinstance(record, AttemptRecord):
        return None
    return next((one for one in submissions if one.number == record.submission), None)


def _attempt_part(number: int, record: AttemptRecord | DamagedRecord | None, lines: Sequence[str]) -> LogPart:
    submission = record.submission if isinstance(record, AttemptRecord) else None
    return LogPart(f"attempt {number}", f"== attempt {number}{_facts(record)}", tuple(lines), number, submission)


def _facts(record: AttemptRecord | DamagedRecord | None) -> str:
    """Where an attempt ran, since when, and how it ended."""
    if record is None:
        return ": left no record"
    if isinstance(record, DamagedRecord):
        return f": {record.reason}"
    ids = record.scheduler
    task = "" if ids.job_id is None else f", {ids.executor} job {ids.job_id}"
    task += "" if ids.array_index is None else f"_{ids.array_index}"
    by = f" by {record.stopped_by}" if record.stopped_by else ""
    end = f"; {record.state}{by} {record.ended_utc}" if record.ended_utc else f"; {record.state}"
    return f" on {ids.node or record.process.host}{task}, submission {record.submission}: began {record.started_utc}{end}"
