"""What was found of a job is believed from one process to the next as long as nobody has touched its files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_study import TinyStudy, tiny_study
from touched_files import overwritten, replaced

from fly64_hpc import job_on_disk, known_jobs
from fly64_hpc.collector import StudyView, collect, look
from fly64_hpc.file_digests import stamp_of
from fly64_hpc.glance.facts import glance
from fly64_hpc.glance.machine import machine_view
from fly64_hpc.job_record import JobError, skipped_view
from fly64_hpc.job_state import JobState
from fly64_hpc.known_jobs import KnownJobs, read_known
from ptycho_torch.config import sha256_file, write_json

DONE, WAITING, FAILED = 0, 1, 2
ROW = '{"lesson": "network", "epoch": 4, "epochs": 4, "val_loss": 0.5, "seconds": 2.0}\n'


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TinyStudy:
    """A study of which one job has succeeded, one has failed and the others wait, collected by another process."""
    monkeypatch.setattr(known_jobs, "SETTLED_S", -60.0)
    made = tiny_study(tmp_path / "fly64_smoke")
    succeed(made)
    fail(made)
    collect(made.paths)
    return made


def succeed(study: TinyStudy, number: int = 1) -> None:
    files = study.job(DONE)
    files.bundle.write_bytes(b"weights")
    files.history.write_text(ROW)
    result = {"bundle_sha256": sha256_file(files.bundle), "bundle_path": files.bundle.name}
    record = study.attempt(number, "succeeded", DONE)
    record.model_copy(update={"ended_utc": record.started_utc, "result": result}).write(files.result(number))


def fail(study: TinyStudy) -> None:
    record = study.attempt(1, "failed", FAILED)
    error = JobError(type="ValueError", message="a loss that is not a number")
    record.model_copy(update={"ended_utc": record.started_utc, "error": error}).write(study.job(FAILED).result(1))


def known(study: TinyStudy) -> KnownJobs:
    return read_known(study.paths.known_jobs)


def told(view: StudyView) -> dict[str, Any]:
    """Everything that `status` tells, but for the moment."""
    seen = machine_view(glance(view), {})
    assert seen.pop("made_utc")
    return seen


def unreadable(*_: Any) -> Any:
    raise AssertionError("a file was read")


def test_jobs_at_rest_are_not_read_again(study: TinyStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    for reader in ("read_record", "bundle_is_whole", "spent_by_attempt", "history_end"):
        monkeypatch.setattr(job_on_disk, reader, unreadable)
    view = look(study.paths, known=known(study))
    assert [job.outcome.state for job in view.jobs[:3]] == [JobState.SUCCEEDED, JobState.PENDING, JobState.FAILED]


def test_what_is_told_of_them_is_what_their_files_say(study: TinyStudy) -> None:
    assert told(look(study.paths, known=known(study))) == told(look(study.paths))


def test_their_records_are_there_for_whoever_asks(study: TinyStudy) -> None:
    for job in look(study.paths, known=known(study)).jobs:
        read = next(one for one in look(study.paths).jobs if one.job == job.job)
        assert (job.spec, job.record, job.attempts) == (read.spec, read.record, read.attempts)


def bundle_overwritten(study: TinyStudy) -> None:
    overwritten(study.job(DONE).bundle)


def bundle_replaced(study: TinyStudy) -> None:
    replaced(study.job(DONE).bundle)


def bundle_gone(study: TinyStudy) -> None:
    study.job(DONE).bundle.unlink()


def result_damaged(study: TinyStudy) -> None:
    study.job(DONE).result(1).write_text("{")


def spec_damaged(study: TinyStudy) -> None:
    study.job(DONE).spec.write_text("{")


def another_attempt(study: TinyStudy) -> None:
    study.attempt(2, "running", DONE)
    bundle_gone(study)


def waiting_job_damaged(study: TinyStudy) -> None:
    study.job(WAITING).spec.write_text("{")


def waiting_job_begun(study: TinyStudy) -> None:
    study.attempt(1, "failed", WAITING)


def failed_job_tried_again(study: TinyStudy) -> None:
    study.attempt(2, "running", FAILED)


def failed_job_has_another_end(study: TinyStudy) -> None:
    study.attempt(1, "interrupted", FAILED)


TOUCHES = (
    failed_job_tried_again,
    failed_job_has_another_end,
    bundle_overwritten,
    bundle_replaced,
    bundle_gone,
    result_damaged,
    spec_damaged,
    another_attempt,
    waiting_job_damaged,
    waiting_job_begun,
)


@pytest.mark.parametrize("touch", TOUCHES)
def test_what_somebody_touched_is_read(study: TinyStudy, touch: Callable[[TinyStudy], None]) -> None:
    before = told(look(study.paths))
    touch(study)
    after = told(look(study.paths))
    assert told(look(study.paths, known=known(study))) == after
    assert after != before


def test_a_damaged_job_is_unknown_whatever_was_skipped(study: TinyStudy) -> None:
    write_json(study.paths.skip_summary, {"skipped_views": [skipped_view(study.jobs[WAITING].data, "too few patterns")]})
    assert look(study.paths).jobs[WAITING].outcome.state is JobState.SKIPPED
    waiting_job_damaged(study)
    assert look(study.paths).jobs[WAITING].outcome.state is JobState.UNKNOWN


def test_a_bundle_that_comes_back_is_seen(study: TinyStudy) -> None:
    away = study.paths.root / "away"
    study.job(DONE).bundle.rename(away)
    assert collect(study.paths).jobs[DONE].outcome.state is JobState.FAILED
    away.rename(study.job(DONE).bundle)
    assert look(study.paths, known=known(study)).jobs[DONE].outcome.state is JobState.SUCCEEDED


def test_a_training_that_went_on_shows_its_epochs(study: TinyStudy) -> None:
    with study.job(DONE).history.open("a") as file:
        file.write(ROW.replace('"epoch": 4', '"epoch": 5'))
    assert glance(look(study.paths, known=known(study))).jobs[DONE].epoch == 5


def test_what_was_written_a_moment_ago_is_not_remembered(study: TinyStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_jobs, "SETTLED_S", 60.0)
    collect(study.paths)
    assert all(known(study).of(job.job_id, str(study.paths.job(job).root)) is None for job in study.jobs)


def test_a_large_inode_is_no_time(study: TinyStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_jobs, "stamp_of", lambda file: (*stamp_of(file)[:3], 2**63 + 1))
    collect(study.paths)
    assert known(study).of(study.jobs[DONE].job_id, str(study.job(DONE).root)) is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"schema_version": 2, "jobs": []}',
        '{"schema_version": 3}',
        '{"schema_version": 3}\n["a", 1, "0", [1]',
        '{"schema_version": 3}\n["a", 1]',
        '{"schema_version": 3}\n["a", 1, "0", [1], null, ["x"], null, null, [[], null]]',
    ],
)
def test_a_damaged_memory_costs_time_only(study: TinyStudy, text: str) -> None:
    study.paths.known_jobs.write_text(text)
    assert told(look(study.paths, known=known(study))) == told(look(study.paths))
