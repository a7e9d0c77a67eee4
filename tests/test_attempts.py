"""Attempts at one job: numbers are never shared, and what is published is whole and the newest's."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import idle_trainer
import pytest
from tiny_study import AWAY, TinyStudy, tiny_study

from fly64_hpc import attempts
from fly64_hpc.attempts import (
    PUBLISHED,
    RESERVE_BYTES,
    NewestAttempt,
    claim_attempt,
    earlier_checkpoints,
    free_reserve,
    publish,
    publish_history,
    publishing,
    remove_earlier_checkpoints,
)
from fly64_hpc.errors import StudyDirectoryError
from fly64_hpc.job_paths import JobPaths
from fly64_hpc.job_record import AttemptRecord, proven_success, read_attempt
from fly64_hpc.process_identity import this_process
from fly64_hpc.train_task import SUPERSEDED, TRAINER_VARIABLE, attempt_job

CLAIMS = 15
CLAIMER = f"""
import sys
from pathlib import Path
from fly64_hpc.attempts import claim_attempt, publishing
from fly64_hpc.job_paths import JobPaths
paths = JobPaths(Path(sys.argv[1]))
for _ in range({CLAIMS}):
    with publishing(paths):
        print(claim_attempt(paths))
"""


@pytest.fixture
def paths(tmp_path: Path) -> JobPaths:
    """A job at which nobody has tried."""
    return JobPaths(tmp_path / "job")


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TinyStudy:
    """A study whose jobs are tried by a trainer that learns nothing."""
    monkeypatch.setenv(TRAINER_VARIABLE, "idle_trainer")
    return tiny_study(tmp_path / "study")


def claim(paths: JobPaths) -> int:
    with publishing(paths):
        return claim_attempt(paths)


def make(paths: JobPaths, number: int, *names: str) -> None:
    """Files as an attempt makes them, each with the attempt's number in it."""
    for name in names:
        (paths.attempt(number) / name).write_text(f"{number}\n")


def end_of(paths: JobPaths, number: int) -> AttemptRecord:
    record = read_attempt(paths.result(number), number)
    assert isinstance(record, AttemptRecord)
    return record


def test_numbers_go_up_from_one_and_a_gap_is_not_filled(paths: JobPaths) -> None:
    assert [claim(paths), claim(paths)] == [1, 2]
    paths.attempt(7).mkdir()
    assert claim(paths) == 8
    assert paths.attempt_numbers() == [1, 2, 7, 8]


def test_two_processes_never_share_a_number(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CLAIMER, str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    numbers = [int(line) for process in both for line in process.communicate(timeout=60)[0].split()]
    assert sorted(numbers) == list(range(1, 2 * CLAIMS + 1))


def test_a_number_is_taken_where_locks_do_not_hold(paths: JobPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    claim(paths)
    monkeypatch.setattr(JobPaths, "attempt_numbers", lambda _: [])  # what a slow file system may show
    assert claim_attempt(paths) == 2


def test_nobody_begins_beside_an_attempt_that_lives_on_this_machine(study: TinyStudy) -> None:
    study.attempt(1, "running", process=this_process())
    with pytest.raises(StudyDirectoryError, match=f"still alive as process {this_process().pid}"):
        claim(study.job())
    assert study.job().attempt_numbers() == [1]


@pytest.mark.parametrize(("state", "process"), [("running", AWAY), ("failed", this_process()), ("interrupted", this_process())])
def test_an_attempt_that_ended_or_is_elsewhere_hinders_nobody(study: TinyStudy, state: str, process: Any) -> None:
    study.attempt(1, state, process=process)
    assert claim(study.job()) == 2


def test_a_claim_keeps_room_until_it_is_given_back(paths: JobPaths) -> None:
    number = claim(paths)
    [reserve] = paths.attempt(number).iterdir()
    assert reserve.stat().st_size == RESERVE_BYTES
    assert reserve.stat().st_blocks * 512 >= RESERVE_BYTES, "a hole keeps no room"
    free_reserve(paths, number)
    free_reserve(paths, number)
    assert list(paths.attempt(number).iterdir()) == []


def test_what_was_made_is_moved_as_a_whole_and_the_weights_last(paths: JobPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    number = claim(paths)
    make(paths, number, *PUBLISHED)
    moved: list[str] = []
    replace = Path.replace

    def noted(self: Path, target: Path) -> Path:
        moved.append(self.name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", noted)
    publish(paths, number)
    assert all((paths.root / name).read_text() == f"{number}\n" for name in PUBLISHED)
    assert not any((paths.attempt(number) / name).exists() for name in PUBLISHED)
    assert moved[-1] == "model.safetensors"


def test_what_an_attempt_did_not_make_stays_as_it_was(paths: JobPaths) -> None:
    first, second = claim(paths), claim(paths)
    make(paths, first, "model.safetensors", "reconstruction.npz")
    publish(paths, first)
    make(paths, second, "model.safetensors")
    publish(paths, second)
    assert (paths.root / "reconstruction.npz").read_text() == f"{first}\n"


def test_the_history_is_shown_while_it_grows_and_none_is_no_error(paths: JobPaths) -> None:
    number = claim(paths)
    publish_history(paths, number)
    assert not paths.history.exists()
    make(paths, number, "history.jsonl")
    publish_history(paths, number)
    assert paths.history.read_text() == (paths.attempt(number) / "history.jsonl").read_text()


def test_an_attempt_is_the_newest_until_there_is_another_and_never_again(paths: JobPaths) -> None:
    first = NewestAttempt(paths, claim(paths))
    assert first()
    assert first.look()
    second = NewestAttempt(paths, claim(paths))
    assert not first.look()
    assert second.look()
    paths.attempt(2).rename(paths.root / "away")
    assert not first()
    assert not first.look()


def test_between_two_looks_seconds_pass(paths: JobPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    first = NewestAttempt(paths, claim(paths))
    claim(paths)
    assert first(), "not looked at yet"
    monkeypatch.setattr(attempts, "LOOK_PERIOD_S", 0.0)
    assert not first()


def test_checkpoints_of_earlier_attempts_are_found_newest_first_and_removed(paths: JobPaths) -> None:
    for number in (1, 2, 4, 5):
        paths.attempt(number).mkdir(parents=True)
        if number != 2:
            paths.own_checkpoints(number).mkdir(parents=True)
    assert earlier_checkpoints(paths, 5) == (paths.own_checkpoints(4), paths.own_checkpoints(1))
    remove_earlier_checkpoints(paths, 4)
    assert earlier_checkpoints(paths, 6) == (paths.own_checkpoints(5), paths.own_checkpoints(4))


def test_a_success_is_published_proven_and_not_repeated(study: TinyStudy) -> None:
    ended = attempt_job(str(study.paths.root), study.ids[0])
    assert ended is not None
    assert proven_success(study.job(), ended.config_sha256, study.job().attempt_numbers()) == ended
    assert attempt_job(str(study.paths.root), study.ids[0]) is None
    assert study.job().attempt_numbers() == [1]


def superseded(study: TinyStudy, monkeypatch: pytest.MonkeyPatch, *, newer_ends: bool) -> AttemptRecord | None:
    """An attempt during which another begins, which also ends before it if `newer_ends`."""
    train, folder = idle_trainer.train_job, str(study.paths.root)

    def overtaken(job: Any, files: Any, *, attempt: int, **rest: Any) -> dict[str, Any]:
        if attempt == 1:
            study.attempt(1, "running", process=AWAY)  # this process stands for one on another machine
            attempt_job(folder, study.ids[0]) if newer_ends else claim(study.job())
        return train(job, files, attempt=attempt, **rest)

    monkeypatch.setattr(idle_trainer, "train_job", overtaken)
    return attempt_job(folder, study.ids[0])


def test_the_older_of_two_attempts_does_not_publish(study: TinyStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = superseded(study, monkeypatch, newer_ends=False)
    assert ended is not None
    assert (ended.state, ended.stopped_by) == ("interrupted", SUPERSEDED)
    assert end_of(study.job(), 1) == ended
    assert not study.job().bundle.exists()


def test_and_leaves_alone_what_the_newer_has_published(study: TinyStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    superseded(study, monkeypatch, newer_ends=True)
    first, second = end_of(study.job(), 1), end_of(study.job(), 2)
    assert (first.state, second.state) == ("interrupted", "succeeded")
    assert proven_success(study.job(), second.config_sha256, study.job().attempt_numbers()) == second


@pytest.mark.parametrize(("error", "type_"), [(ValueError("no such luck"), "ValueError"), (MemoryError(), "MemoryError")])
def test_an_error_ends_in_the_record_and_nothing_is_published(
    study: TinyStudy, monkeypatch: pytest.MonkeyPatch, error: Exception, type_: str
) -> None:
    def raising(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(idle_trainer, "train_job", raising)
    ended = attempt_job(str(study.paths.root), study.ids[0])
    assert ended is not None
    assert ended.error is not None
    assert (ended.state, ended.error.type) == ("failed", type_)
    assert not study.job().bundle.exists()
