"""What `status` says of a study: every state with its reason, silence, forecasts and costs; on a terminal, in a pipe, as JSON."""

import io
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from scripted_slurm import ScriptedSlurm
from tiny_study import TinyStudy, tiny_study

from fly64_hpc import status
from fly64_hpc.collector import look
from fly64_hpc.glance import plain, words
from fly64_hpc.glance.facts import JobGlance, StudyGlance, glance
from fly64_hpc.glance.lines import lines
from fly64_hpc.glance.machine import machine_view
from fly64_hpc.glance.table import picture
from fly64_hpc.heartbeat import Heartbeat
from fly64_hpc.resources import Resources
from fly64_hpc.submissions import Part
from ptycho_torch.config import sha256_file

TAG = "train-1"


@pytest.fixture
def study(tmp_path: Path) -> TinyStudy:
    """All jobs with Slurm, as one array."""
    study = tiny_study(tmp_path / "fly64_smoke")
    made = study.submission(state="submitted", created_utc="2020-01-01T00:00:00.000Z")
    train = Part(
        kind="train", tag=TAG, state="submitted", jobs=made.jobs, resources=Resources(time="4:00:00"), scheduler_job_id="7"
    )
    made.model_copy(update={"parts": (train,)}).write(study.paths.submission(1))
    return study


def running(job: int, left: str = "3:00:00", word: str = "RUNNING", start: str = "N/A") -> str:
    return f"{TAG}|7|{job}|{word}|None|g1|4:00:00|{left}|{start}"


def beat(study: TinyStudy, job: int, silent_s: float = 0.0, **fields: Any) -> None:
    file = study.job(job).heartbeat(1)
    moment = time.time() - silent_s
    known: dict[str, Any] = {"lesson": "network", "step": 100, "step_s": 0.8, "longest_silence_s": 1.2}
    Heartbeat(**({"attempt": 1, "time_utc": utc(moment), "phase": "training"} | known | fields)).write(file)
    os.utime(file, (moment, moment))


def utc(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(moment))


def seen(study: TinyStudy, squeue: str = "", sacct: str | None = "") -> StudyGlance:
    return glance(look(study.paths, ScriptedSlurm(answers={"squeue": squeue, "sacct": sacct})))


def one(study: TinyStudy, squeue: str = "", job: int = 0) -> JobGlance:
    return seen(study, squeue).jobs[job]


def test_a_waiting_job_says_why_in_a_sentence_and_when_slurm_expects_it(study: TinyStudy) -> None:
    job = one(study, f"{TAG}|7|0|PENDING|QOSMaxJobsPerUserLimit||4:00:00|4:00:00|2026-11-28T20:00:00")
    assert words.why(job).startswith(
        "waits: its QOS's limit on running jobs a user is reached (QOSMaxJobsPerUserLimit); Slurm expects"
    )


def test_a_requeued_job_keeps_what_was_before(study: TinyStudy) -> None:
    answers = {"squeue": f"{TAG}|7|0|PENDING|BeginTime|", "sacct": "7_0|train-1|NODE_FAIL|0:0|g1|8G|\n"}
    job = glance(look(study.paths, ScriptedSlurm(answers={**answers}))).jobs[0]
    assert words.state_words(job) == "node_failed"
    assert "from which it may start" in words.why(job)
    assert "before that sacct: NODE_FAIL g1" in words.why(job)


def test_a_job_that_makes_no_progress_is_stuck_and_goes_on_running(study: TinyStudy) -> None:
    study.attempt(1, "running")
    beat(study, 0, silent_s=14 * 60)
    job = one(study, running(0))
    assert f"{words.state_words(job)}: {words.why(job)}".startswith("running, stuck: no step for 14 min (a step took 0.8 s)")
    assert job.state.value == "running"
    assert words.counts(seen(study, running(0))).startswith("9 jobs: ")
    assert "1 running (1 stuck)" in words.counts(seen(study, running(0)))


@pytest.mark.parametrize("word", ["SUSPENDED", "STOPPED"])
def test_a_job_that_slurm_suspended_is_not_stuck(study: TinyStudy, word: str) -> None:
    study.attempt(1, "running")
    beat(study, 0, silent_s=3600)
    job = one(study, running(0, word=word))
    assert (words.state_words(job), job.is_stuck) == ("running, suspended", False)


def test_a_job_that_slurm_started_again_is_not_stuck_by_its_earlier_attempt(study: TinyStudy) -> None:
    record = study.attempt(1, "running")
    record.model_copy(update={"started_utc": utc(time.time() - 7200)}).write(study.job(0).result(1))
    beat(study, 0, silent_s=3600)
    start = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() - 30))
    assert one(study, running(0)).is_stuck
    job = one(study, running(0, start=start))
    assert not job.is_stuck
    assert "no sign of it from the node yet" in words.why(job)


@pytest.mark.parametrize(
    ("end", "left", "expected", "fits"),
    [
        (1000, "3:00:00", "12 min left of training, 3 h of the limit", True),
        (1000, "10:00", "will not fit its limit: 12 min left of training, 10 min of the limit", False),
        (1000, "13:00", "will not fit its limit: 12 min left of training, 13 min of the limit", False),  # it is warned before
        (500, "3:00:00", "more than 5 min left of training, 3 h of the limit", None),
    ],
)
def test_what_is_left_of_the_training_stands_beside_the_limit(
    study: TinyStudy, end: int, left: str, expected: str, fits: bool | None
) -> None:
    study.attempt(1, "running")
    beat(study, 0, lesson_end_step=end, total_steps=1000)
    job = one(study, running(0, left=left))
    assert words.forecast_words(job) == expected
    assert job.forecast.fits is fits


def test_the_refiner_takes_as_long_as_in_the_trainings_that_have_been_through_it(study: TinyStudy) -> None:
    others = [number for number, job in enumerate(study.jobs) if job.view == study.jobs[0].view][1:]
    for number, seconds in zip(others, (60, 90), strict=True):
        own = study.job(number)
        own.bundle.write_bytes(b"weights")
        study.attempt(1, "succeeded", number, result={"bundle_sha256": sha256_file(own.bundle)})
        own.history.write_text(json.dumps({"lesson": "refiner", "epoch": 2, "seconds": seconds}) + "\n")
    study.attempt(1, "running")
    beat(study, 0, step=500, lesson_end_step=500, total_steps=1000)
    job = one(study, running(0))
    assert job.forecast.is_whole
    assert job.forecast.training_s == pytest.approx(75)


def test_without_squeue_the_limit_is_counted_from_the_start(study: TinyStudy) -> None:
    study.attempt(1, "running")
    beat(study, 0)
    job = one(study, f"{TAG}|7|0|RUNNING|None|g1")
    assert job.forecast.limit_s is None
    assert words.why(job) == "attempt 1 on g1"


def full_study(study: TinyStudy) -> StudyGlance:
    """One that succeeded, one that is stuck, one that trains, one that waits, one that failed."""
    own = study.job(0)
    own.bundle.write_bytes(b"weights")
    study.attempt(1, "succeeded", 0, result={"bundle_sha256": sha256_file(own.bundle)})
    rows = [
        {
            "lesson": "network",
            "epoch": epoch,
            "train_loss": 1 / epoch,
            "val_loss": 2 / epoch,
            "samples_per_s": 999.0,
            "seconds": 1.0,
        }
        for epoch in range(1, 21)
    ]
    own.history.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for number, silent_s in ((1, 900), (2, 0)):
        study.attempt(1, "running", number)
        beat(study, number, silent_s=silent_s, lesson_end_step=1000, total_steps=1000)
    study.attempt(1, "failed", 4, error={"type": "ValueError", "message": "a loss that is not a number"})
    return seen(study, f"{running(1)}\n{running(2)}\n{TAG}|7|3|PENDING|Priority||4:00:00|4:00:00|N/A")


def drawn(shown: StudyGlance, width: int, height: int = 60) -> str:
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system="truecolor")
    with console.capture() as capture:
        console.print(picture(shown, ["sacct failed"], "calls of Slurm: 1 squeue", console))
    return capture.get()


def without_colours(text: str) -> str:
    from rich.text import Text

    return Text.from_ansi(text).plain


@pytest.mark.parametrize("width", [80, 110, 150, 200])
def test_every_width_shows_job_state_epoch_and_why(study: TinyStudy, width: int) -> None:
    shown = full_study(study)
    text = drawn(shown, width)
    assert "\x1b[" in text
    plain_text = without_colours(text)
    assert all(len(line) <= width for line in plain_text.splitlines())
    heading = next(line for line in plain_text.splitlines() if line.strip().startswith("job"))
    assert all(name in heading for name in ("job", "state", "epoch", "why"))
    assert ("validation loss" in heading) == (width >= 110)
    assert all(job_id in plain_text for job_id in study.ids)
    together = " ".join(plain_text.split())
    for words_shown in ("running, stuck", "20/", "warning: sacct failed", "calls of Slurm: 1 squeue", "GPU-hours: 36"):
        assert words_shown in together


def test_bars_fall_as_the_losses_do(study: TinyStudy) -> None:
    assert "▂▁▁" in without_colours(drawn(full_study(study), 150))


def test_bars_are_as_many_as_asked_and_end_with_the_last() -> None:
    assert words.sparkline([], 5) == ""
    assert words.sparkline([3.0, 3.0], 5) == "▁▁"
    assert words.sparkline([float(value) for value in range(100)], 8) == "▁▂▃▄▅▆▇█"


def test_many_jobs_share_lines_where_nothing_is_to_be_said_of_each(study: TinyStudy) -> None:
    jobs = full_study(study).jobs
    assert len(lines(jobs)) == len(jobs)
    folded = lines(jobs, most=3)
    assert sum(len(line.jobs) for line in folded) == len(jobs)
    assert all(len({job.state for job in line.jobs}) == 1 for line in folded)
    assert [line.label for line in folded if line.first.state.value == "running"] == study.ids[1:3]


def test_without_a_terminal_it_is_columns_without_colour(study: TinyStudy) -> None:
    heading, *rows = plain.table(full_study(study))
    assert not any("\x1b" in line for line in rows)
    assert len(rows) == len(study.ids)
    place = heading.index("state")
    assert [row[place:].split("  ")[0] for row in rows[:2]] == ["succeeded", "running, stuck"]


def test_json_has_everything_with_units(study: TinyStudy) -> None:
    found = machine_view(full_study(study), {"squeue": 1})
    json.dumps(found, allow_nan=False)
    assert found["stuck_jobs"] == [study.ids[1]]
    assert found["counts"]["running"] == 2
    done, stuck, training, waiting, failed, *_ = found["jobs"]
    assert (done["epoch"], done["samples_per_s"], len(done["val_losses"])) == (20, 999.0, 20)
    assert (stuck["is_stuck"], round(stuck["silence_s"] / 60)) == (True, 15)
    assert (training["limit_left_s"], round(training["training_left_s"])) == (10800, 720)
    assert (waiting["scheduler_reason"], waiting["limit_s"]) == ("Priority", 14400)
    assert "a loss that is not a number" in failed["why"]


def test_a_study_without_gpu_says_so(study: TinyStudy) -> None:
    made = study.submission(number=1, state="submitted", executor="local")
    made.write(study.paths.submission(1))
    assert words.costs(seen(study)) == ""
    study.attempt(1, "failed").model_copy(update={"started_utc": utc(0), "ended_utc": utc(7200)}).write(study.job(0).result(1))
    assert words.costs(seen(study)) == "no GPU; all attempts took 2 h, of which 2 h were lost"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.8, "0.8 s"),
        (14, "14 s"),
        (840, "14 min"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (11 * 3600, "11 h"),
        (27 * 3600, "1 d 3 h"),
    ],
)
def test_times_are_said_as_people_say_them(seconds: float, said: str) -> None:
    assert words.rough(seconds) == said


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], ScriptedSlurm]:
    """A Slurm whose squeue gives one answer after the other, and the last again and again."""

    def scripted(answers: list[str]) -> ScriptedSlurm:
        from fly64_hpc.slurm.calls import Answer

        made = ScriptedSlurm(
            answers={"squeue": lambda _: Answer(0, answers.pop(0) if len(answers) > 1 else answers[0], ""), "sacct": ""}
        )
        monkeypatch.setattr(status, "SlurmCalls", lambda: made)
        monkeypatch.setattr(time, "sleep", lambda _: None)
        return made

    return scripted


def test_watching_ends_when_nobody_is_at_work(
    study: TinyStudy, slurm: Callable[[list[str]], ScriptedSlurm], capsys: pytest.CaptureFixture[str]
) -> None:
    made = slurm([f"{TAG}|7|0|PENDING|Priority|", running(0), f"{TAG}|7|0|FAILED|NonZeroExitCode|g1"])
    assert status.main(["--study-dir", str(study.paths.root), "--watch"]) == 1
    said = capsys.readouterr().out
    states = [line.split(": ")[1].split(" ")[0] for line in said.splitlines() if line.startswith(f"{study.ids[0]}: ")]
    assert states == ["pending", "running", "failed"]
    assert said.count("why\n") == 1
    assert made.counts == {"squeue": 3, "sacct": 3}
    assert not study.paths.manifest.exists(), "status writes nothing"


def test_watching_as_json_says_words_on_stderr_and_the_end_on_stdout(
    study: TinyStudy, slurm: Callable[[list[str]], ScriptedSlurm], capsys: pytest.CaptureFixture[str]
) -> None:
    slurm([running(0), f"{TAG}|7|0|FAILED|NonZeroExitCode|g1"])
    status.main(["--study-dir", str(study.paths.root), "--watch", "--json"])
    said = capsys.readouterr()
    assert json.loads(said.out)["jobs"][0]["state"] == "failed"
    assert f"{study.ids[0]}: running" in said.err
