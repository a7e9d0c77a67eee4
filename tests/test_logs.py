"""One job's log across attempts and nodes, and who is meant by a part of a job id."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command import Workplace
from local_study import LocalStudy
from scripted_slurm import ScriptedSlurm
from tiny_study import TinyStudy, tiny_study

from fly64_hpc import logs
from fly64_hpc.errors import RequestError
from fly64_hpc.job_choice import JobFilter, chosen_job
from fly64_hpc.job_log import GrowingFile
from fly64_hpc.resources import Resources
from fly64_hpc.submissions import Part


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TinyStudy:
    """Two submissions: two attempts of one task, and one that its node never began. Slurm knows of nothing any more."""
    made = tiny_study(tmp_path / "study")
    monkeypatch.setattr(logs, "SlurmCalls", lambda: ScriptedSlurm(answers={"sacct": "20_0|t2|FAILED|3:0|g2||\n"}))
    for number in (1, 2):
        submission = made.submission(made.ids[0], number=number, state="submitted")
        part = Part(kind="train", tag=f"t{number}", state="submitted", jobs=(made.ids[0],), resources=Resources(),
                    scheduler_job_id=f"{number}0")  # fmt: skip
        submission.model_copy(update={"parts": (part,)}).write(made.paths.submission(number))
        Path(submission.scratch).mkdir(parents=True)
        (Path(submission.scratch) / f"{number}0_0_0_log.err").write_text(f"words of task {number}0\n")
    made.attempt(1, "interrupted", stopped_by="time limit", ended_utc="2026-01-01T00:00:00.000Z")
    made.attempt(2, "failed", submission=1)
    lines = [f"2026-01-01T00:00:0{i}Z attempt {1 + i % 2} INFO line {i}" for i in range(6)]
    made.job().log.write_text("\n".join(lines) + "\n")
    return made


def shown(study: TinyStudy, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert logs.main(["--study-dir", str(study.paths.root), *arguments]) == 0
    return capsys.readouterr().out


def test_attempts_follow_each_other_each_with_its_node_and_end_then_what_their_task_printed(
    study: TinyStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    out = shown(study, capsys, study.ids[0])
    heads = [line for line in out.splitlines() if line.startswith(("==", "--"))]
    assert heads[0].startswith("== attempt 1 on g1, submission 1: began ")
    assert heads[0].endswith("; interrupted by time limit 2026-01-01T00:00:00.000Z")
    assert heads[1].startswith("== attempt 2 on g1")
    assert [head.rpartition("/")[2] for head in heads[2:]] == ["10_0_0_log.err", "20_0_0_log.err"]
    assert [line[-1] for line in out.splitlines() if " INFO line " in line] == ["0", "2", "4", "1", "3", "5"]
    assert out.endswith("words of task 20\n"), "a task that began no attempt says why"


def test_one_attempt_and_the_last_lines_of_each_part(study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    out = shown(study, capsys, study.ids[0], "--attempt", "2", "--lines", "1")
    assert [line[-1] for line in out.splitlines() if " INFO line " in line] == ["5"]
    assert ("task 10" in out, "task 20" in out) == (True, False)
    assert " INFO line " not in shown(study, capsys, study.ids[0], "--attempt", "2", "--lines", "0")
    with pytest.raises(RequestError, match=r"has no attempt 7\."):
        shown(study, capsys, study.ids[0], "--attempt", "7")


def test_json_has_the_same_as_parts(study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(shown(study, capsys, study.ids[0], "--json"))
    assert (found["job_id"], found["state"]) == (study.ids[0], "failed")
    assert [(part["attempt"], part["submission"], len(part["lines"])) for part in found["parts"]] == [
        (1, 1, 3), (2, 1, 3), (None, 1, 1), (None, 2, 1),
    ]  # fmt: skip


def test_a_job_with_nothing_yet_says_why(study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(study, capsys, study.ids[1]) == f"{study.ids[1]} has no log yet: pending: not submitted\n"


@pytest.mark.parametrize(
    ("name", "selection", "words"),
    [
        ("sparse", JobFilter(), r"'sparse' leaves 3 jobs: dose_1000-sparse-gs2, dose_10000-sparse-gs2, dose_100000-sparse-gs2\."),
        (None, JobFilter(views=("dense",)), "the selection leaves 3 jobs: dose_1000-dense-gs2, "),
        ("dosis", JobFilter(), "'dosis' is in no job id; there are dose_1000-baseline-gs1, "),
    ],
)
def test_what_means_no_job_or_several_is_refused_naming_them(
    study: TinyStudy, name: str | None, selection: JobFilter, words: str
) -> None:
    with pytest.raises(RequestError, match=words):
        chosen_job(study.jobs, name, selection)


@pytest.mark.parametrize(
    ("name", "selection"),
    [("1000-dense", JobFilter((1e3,))), (None, JobFilter((1e3,), ("dense",))), ("dose_1000-dense-gs2", JobFilter())],
)
def test_an_id_a_part_of_one_or_a_selection_means_one_job(study: TinyStudy, name: str | None, selection: JobFilter) -> None:
    assert chosen_job(study.jobs, name, selection).job_id == "dose_1000-dense-gs2"


@pytest.mark.parametrize(
    ("flags", "words"), [(("--follow", "--json"), "is one answer"), (("--lines", "-1"), "must be 0 or more")]
)
def test_flags_that_contradict_each_other_are_refused(study: TinyStudy, flags: tuple[str, ...], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        logs.main(["--study-dir", str(study.paths.root), study.ids[0], *flags])


def test_a_line_is_shown_when_it_is_whole_and_once(tmp_path: Path) -> None:
    file = GrowingFile(tmp_path / "log")
    assert file.new_lines() == []
    seen: list[str] = []
    text = "one\ntwo\n\nthr\xffee\n".encode("latin-1")
    for end in range(1, len(text) + 1):
        (tmp_path / "log").write_bytes(text[:end])
        seen += file.new_lines()
    assert seen == ["one", "two", "", "thr\ufffdee"]


def following(place: Workplace, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-u", "-m", "fly64_hpc.logs", "--study-dir", str(place.study), *arguments, "--follow"]
    return subprocess.Popen(command, cwd=place.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_following_goes_on_until_the_job_has_ended_and_leaves_at_ctrl_c(prepared: Path, tmp_path: Path) -> None:
    study = LocalStudy(tmp_path, prepared, step_s=2)
    one = ("--dose", "1000", "--view", "baseline")
    assert study.submit(*one).code == 0
    with following(study.place, "1000-baseline") as left, following(study.place, *one) as stayed:
        assert left.stdout is not None
        assert left.stdout.readline()
        left.send_signal(signal.SIGINT)
        assert left.wait(30) == 130
        out, err = stayed.communicate(timeout=300)
        assert stayed.returncode == 0, err
    assert "== attempt 1 on " in out
    assert "_0_log." in out, "what its process printed"
    assert out.splitlines()[-1].startswith("dose_1000-baseline-gs1: succeeded: attempt 1 finished")
    assert "; succeeded 2" in out, "the attempt's title is said again with its end"
