"""Records of who was asked to run what: numbers, names, the parts that stand, and the lock of the only submitter."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_study import TinyStudy, blank_submission, tiny_study

from fly64_hpc import submissions
from fly64_hpc.errors import RequestError, StudyDirectoryError
from fly64_hpc.executor_facts import newest_submissions
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.resources import Resources
from fly64_hpc.submissions import (
    LOCK_POLL_S,
    PATIENCE_S,
    Part,
    Submission,
    next_number,
    read_submissions,
    somebody_submits,
    submission_numbers,
    submitting,
)

HOLDER = """
import subprocess, sys
from pathlib import Path
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.submissions import submitting
with submitting(StudyPaths(Path(sys.argv[1]))) as lock:
    child = subprocess.Popen(["sleep", "60"], pass_fds=[lock]) if sys.argv[2] == "with child" else None
    print(child.pid if child else 0, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses of a submitter, on a clock that only they move."""
    pauses: list[float] = []
    clock = SimpleNamespace(sleep=pauses.append, monotonic=lambda: sum(pauses))
    monkeypatch.setattr(submissions, "time", clock)
    return pauses


@pytest.fixture
def study(tmp_path: Path) -> TinyStudy:
    """A study of which nothing was submitted."""
    return tiny_study(tmp_path / "study")


@contextmanager
def holder(paths: StudyPaths, child: str = "without child") -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """Another submitter, and the process id of the child that inherits its lock."""
    command = [sys.executable, "-c", HOLDER, str(paths.root), child]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())
        process.kill()


def train(*jobs: str, replaces: int | None = None, is_split: bool = False) -> Part:
    state = "refused" if is_split else "submitted"
    return Part(kind="train", tag="t", jobs=jobs, resources=Resources(), replaces=replaces, state=state)


def split_at_random(submission: Submission, choices: list[int]) -> Submission:
    """Parts are split into halves, also halves of halves, as long as there is something to split."""
    for choice in choices:
        parts = list(submission.parts)
        whole = choice % len(parts)
        jobs = parts[whole].jobs
        if parts[whole].state != "refused" and len(jobs) > 1:
            parts[whole] = parts[whole].model_copy(update={"state": "refused"})
            middle = len(jobs) // 2
            parts += [train(*jobs[:middle], replaces=whole), train(*jobs[middle:], replaces=whole)]
        submission = submission.model_copy(update={"parts": tuple(parts)})
    return submission


def test_numbers_begin_at_one_and_go_on_after_the_highest(study: TinyStudy) -> None:
    assert next_number(study.paths) == 1
    for number in (1, 2, 12345):
        study.submission(number=number).write(study.paths.submission(number))
    assert next_number(study.paths) == 12346
    assert [submission.number for submission in read_submissions(study.paths)] == [1, 2, 12345]


def test_other_files_of_a_submission_are_no_submissions(study: TinyStudy) -> None:
    study.submission().write(study.paths.submission(3))
    for file in (study.paths.supervisor(9), study.paths.dataset_job(8), study.paths.submissions / ".0007.json.tmp"):
        file.write_text("{}")
    assert submission_numbers(study.paths) == [3]


def test_a_number_whose_records_lie_there_is_not_given_again(study: TinyStudy) -> None:
    """Another submission with that number would take them for its own."""
    study.paths.submissions.mkdir()
    study.paths.dataset_job(1).write_text("{}")
    study.paths.supervisor(2).write_text("{}")
    assert next_number(study.paths) == 3


def test_a_refused_submission_keeps_its_number(study: TinyStudy) -> None:
    for number, state in enumerate(["submitted", "refused"], 1):
        study.submission(state=state).write(study.paths.submission(number))
        assert next_number(study.paths) == number + 1
    assert [(made.number, made.state) for made in read_submissions(study.paths)] == [(1, "submitted"), (2, "refused")]


@given(st.lists(st.sampled_from(["submitted", "refused", "intended"]), max_size=6))
def test_a_refused_submission_is_nobody_s_newest(states: list[str]) -> None:
    made = [blank_submission("j", number=number, state=state) for number, state in enumerate(states, 1)]
    standing = [submission for submission in made if submission.state != "refused"]
    assert newest_submissions(made) == ({"j": standing[-1]} if standing else {})


def test_two_submissions_have_different_names_also_of_one_number(study: TinyStudy) -> None:
    assert len({study.submission().tag for _ in range(100)}) == 100
    assert study.submission().tag.startswith("study-0001-")


def test_a_damaged_record_is_named(study: TinyStudy) -> None:
    study.submission().write(study.paths.submission(1))
    study.paths.submission(1).write_text('{"number": "one"}')
    with pytest.raises(StudyDirectoryError, match=r"0001\.json is damaged"):
        read_submissions(study.paths)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=4), st.lists(st.integers(0, 50), max_size=12))
def test_after_splits_of_splits_the_standing_parts_hold_every_job_once(sizes: list[int], choices: list[int]) -> None:
    jobs = [[f"{array}-{job}" for job in range(size)] for array, size in enumerate(sizes)]
    whole = blank_submission(parts=tuple(train(*own) for own in jobs))
    split = split_at_random(whole, choices)
    for array, own in enumerate(jobs):
        standing = split.standing([array])
        assert [job for part in standing for job in part.jobs] == own
        assert all(part.state != "refused" for part in standing)
    for job in (job for own in jobs for job in own):
        part, index = split.task(job) or (None, 0)
        assert part is not None
        assert part in split.standing(range(len(jobs)))
        assert part.jobs[index] == job


def test_a_job_that_no_part_holds_has_no_task() -> None:
    assert blank_submission(parts=(train("a", "b"),)).task("c") is None
    assert blank_submission(parts=(train("a", is_split=True),)).task("a") is None


def test_who_submits_is_known_to_others_and_known_no_longer_after(study: TinyStudy) -> None:
    assert not somebody_submits(study.paths)
    with holder(study.paths):
        assert somebody_submits(study.paths)
    assert not somebody_submits(study.paths)


def test_nobody_is_somebody_else_to_himself(study: TinyStudy) -> None:
    with submitting(study.paths):
        assert not somebody_submits(study.paths)


def test_a_second_submitter_waits_and_says_so_once_after_a_while(study: TinyStudy, slept: list[float]) -> None:
    said: list[tuple[str, float]] = []
    with holder(study.paths) as (first, _):
        assert first.stdin is not None
        stdin = first.stdin

        def say(words: str) -> None:
            said.append((words, sum(slept)))
            stdin.close()

        with submitting(study.paths, say):
            assert first.wait() is not None
    [(words, after_s)] = said
    assert words == "another submit of this study is at work; waiting for it"
    assert PATIENCE_S < after_s <= PATIENCE_S + 2 * LOCK_POLL_S
    assert set(slept) == {LOCK_POLL_S}


def test_a_killed_submitter_leaves_no_lock(study: TinyStudy) -> None:
    with holder(study.paths) as (first, _):
        first.kill()
        first.wait()
        assert not somebody_submits(study.paths)


def test_but_what_it_called_keeps_the_lock_until_it_ends(study: TinyStudy) -> None:
    with holder(study.paths, "with child") as (first, child):
        first.kill()
        first.wait()
        assert somebody_submits(study.paths)
        os.kill(child, signal.SIGKILL)
        with submitting(study.paths):
            assert not somebody_submits(study.paths)


def test_where_nothing_can_be_written_nothing_is_submitted(tmp_path: Path) -> None:
    (tmp_path / "study").write_text("a file")
    with pytest.raises(RequestError, match="cannot be written"), submitting(StudyPaths(tmp_path / "study")):
        pass
    assert not somebody_submits(StudyPaths(tmp_path / "study"))


def test_where_there_are_no_locks_nothing_is_submitted(study: TinyStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(RequestError, match="cannot be locked: Function not implemented"), submitting(study.paths):
        pass


@pytest.mark.parametrize("name", ["run 1,2", "a|b", "fly64*smoke"])
def test_a_name_that_slurm_would_cut_is_made_plain(study: TinyStudy, name: str) -> None:
    moved = StudyPaths(study.paths.root.with_name(name))
    study.paths.root.rename(moved.root)
    made = submissions.new_submission(moved, executor="slurm", jobs=["a"], filters={}, resources=Resources(), scratch=moved.root)
    assert re.fullmatch(r"[A-Za-z0-9_.-]+-0001-[0-9a-f]{8}", made.tag)
