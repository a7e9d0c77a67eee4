"""Handing parts to Slurm: every job once, nobody waits for what is not there, and a refusal harms nothing that runs."""

import math
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from scripted_slurm import NO_CONNECTION, Command, ScriptedSlurm
from tiny_study import AWAY, TinyStudy, tiny_study

from fly64_hpc import collector_job, watching
from fly64_hpc.collector import look
from fly64_hpc.collector_job import run_collector_job
from fly64_hpc.errors import RefusedError, SchedulerError
from fly64_hpc.executor_facts import newest_submissions
from fly64_hpc.executors import slurm as executors_slurm
from fly64_hpc.executors.slurm import LONGEST_WAIT_S, with_parts
from fly64_hpc.handing_over import Submitter
from fly64_hpc.job_record import JobError
from fly64_hpc.resources import Resources
from fly64_hpc.retry_policy import retries_so_far
from fly64_hpc.retrying import decisions, retry_round
from fly64_hpc.slurm.calls import BATCH_PID_VARIABLE, Answer, SlurmCalls
from fly64_hpc.submissions import Submission, SupervisorRecord, read_submissions, submitting

NO_ROOM = Answer(1, "", "sbatch: error: QOSMaxSubmitJobPerUserLimit")
REFUSED = Answer(1, "", "sbatch: error: Batch job submission failed: Requested node configuration is not available")
LONG_AGO = "2026-01-01T00:00:00.000Z"
MUTE = Answer(None, "", "sbatch did not answer within 90 s")
DEFAULTS = {"SBATCH_PARTITION", "SBATCH_ACCOUNT", "SBATCH_QOS", "SBATCH_CONSTRAINT"}
Sbatch = Callable[[Command], Answer]


def numbered(*instead: Answer | None) -> Sbatch:
    """Answers with ids from 100 on, but the first calls as told; None is an id there too."""
    told, given = list(instead), iter(range(100, 10_000))

    def sbatch(_: Command) -> Answer:
        answer = told.pop(0) if told else None
        return answer or Answer(0, f"{next(given)}\n", "")

    return sbatch


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made; none of them takes time."""
    pauses: list[float] = []
    for module in (executors_slurm, watching):
        monkeypatch.setattr(module, "time", SimpleNamespace(sleep=pauses.append))
    return pauses


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TinyStudy:
    """A study of which nothing was submitted; what is written of it need not outlast a power cut."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    return tiny_study(tmp_path / "study")


@contextmanager
def submitter(study: TinyStudy, calls: SlurmCalls, patience_s: float = math.inf) -> Iterator[Submitter]:
    with submitting(study.paths) as lock:
        yield Submitter(study.paths, lock, calls, lambda _: None, patience_s)


def hand_over(study: TinyStudy, calls: SlurmCalls, shapes: int = 1, **resources: object) -> Submission:
    """Hand all nine jobs over, in arrays of so many shapes."""
    asked = Resources.model_validate(resources)
    requests = [(job_id, asked.model_copy(update={"mem": f"{1 + number % shapes}G"})) for number, job_id in enumerate(study.ids)]
    with submitter(study, calls) as submits:
        return submits.to_slurm(study.submission(resources=asked), requests, makes_data=False)


def awaited(slurm: ScriptedSlurm) -> list[str]:
    """The ids for which jobs were told to wait."""
    return [job_id for text in slurm.options("sbatch", "dependency") for job_id in text.replace(",", ":").split(":")[1:]
            if not job_id.startswith("after")]  # fmt: skip


def test_every_part_is_with_slurm_and_the_collector_waits_for_all(study: TinyStudy) -> None:
    slurm = ScriptedSlurm(answers={"sbatch": numbered()})
    submission = hand_over(study, slurm, shapes=3)
    assert read_submissions(study.paths) == [submission]
    assert submission.state == "submitted"
    assert [part.scheduler_job_id for part in submission.parts] == ["100", "101", "102", "103"]
    assert awaited(slurm) == ["100", "101", "102"]
    assert len(set(slurm.options("sbatch", "job-name"))) == 4


@pytest.mark.parametrize("seed", range(12))
def test_however_little_room_there_is_every_job_is_handed_over_once(study: TinyStudy, seed: int) -> None:
    chance, ids = Random(seed), iter(range(100, 10_000))
    slurm = ScriptedSlurm(answers={"sbatch": lambda _: NO_ROOM if chance.random() < 0.4 else Answer(0, f"{next(ids)}\n", "")})
    submission = hand_over(study, slurm, shapes=4, array_parallelism=2)
    standing = [part for part in submission.parts if part.state == "submitted"]
    assert sorted(job for part in standing for job in part.jobs) == sorted(study.ids)
    assert all(part.state != "intended" for part in submission.parts)
    known = {part.scheduler_job_id for part in standing}
    assert set(awaited(slurm)) <= known
    collected = slurm.options("sbatch", "dependency")[-1].split(":")[1:]
    assert sorted(collected) == sorted(str(part.scheduler_job_id) for part in standing if part.kind != "collect")


def test_nobody_is_named_twice_among_those_a_job_waits_for(study: TinyStudy) -> None:
    slurm = ScriptedSlurm(answers={"sbatch": numbered(NO_ROOM, NO_ROOM)})
    hand_over(study, slurm)
    last = slurm.options("sbatch", "dependency")[-1].split(":")[1:]
    assert len(last) == len(set(last))


def test_a_refusal_takes_back_what_went_with_it_and_no_number_or_name_is_used_again(study: TinyStudy) -> None:
    slurm = ScriptedSlurm(answers={"sbatch": numbered(None, REFUSED)})
    with pytest.raises(RefusedError, match="Requested node configuration is not available"):
        hand_over(study, slurm, shapes=2)
    assert [command for command in slurm.asked if command[0] == "scancel"] == [("scancel", "100")]
    [refused] = read_submissions(study.paths)
    assert (refused.state, {part.state for part in refused.parts}) == ("refused", {"refused"})
    again = hand_over(study, slurm, shapes=2)
    assert again.number == 2
    assert not {part.tag for part in again.parts} & {part.tag for part in refused.parts}


def test_what_was_refused_was_never_submitted(study: TinyStudy) -> None:
    slurm = ScriptedSlurm(answers={"sbatch": numbered(REFUSED)})
    with pytest.raises(RefusedError):
        hand_over(study, slurm)
    [refused] = read_submissions(study.paths)
    view = look(study.paths, slurm)
    assert newest_submissions([refused]) == {}
    assert retries_so_far([refused.model_copy(update={"origin": "retry"})], study.ids[0]) == 0
    assert {(job.submission, job.outcome.reason) for job in view.jobs} == {(None, "not submitted")}
    assert not view.is_live()
    with submitter(study, slurm) as submits:
        submits.adopt()
    assert slurm.counts["sbatch"] == 1


def test_a_refusal_after_which_nothing_can_be_taken_back_is_not_called_one(study: TinyStudy) -> None:
    slurm = ScriptedSlurm(answers={"sbatch": numbered(None, REFUSED), "scancel": None})
    with pytest.raises(SchedulerError, match="job 100 cannot be taken back: scancel: error: Unable to contact"):
        hand_over(study, slurm, shapes=2)
    [left] = read_submissions(study.paths)
    assert (left.state, left.parts[0].state) == ("intended", "submitted")


@pytest.mark.parametrize("patience_s", [0.0, 5.0, 60.0, 600.0])
def test_patience_with_a_full_queue_ends_and_the_next_submit_goes_on(
    study: TinyStudy, slept: list[float], patience_s: float
) -> None:
    slurm = ScriptedSlurm(answers={"sbatch": lambda _: NO_ROOM})
    with submitter(study, slurm, patience_s) as submits, pytest.raises(SchedulerError, match="no room for another job") as error:
        submits.to_slurm(study.submission(study.ids[0]), [(study.ids[0], Resources())], makes_data=False)
    assert not isinstance(error.value, RefusedError)
    assert sum(slept[:-1]) <= patience_s < sum(slept)
    assert max(slept) <= LONGEST_WAIT_S
    [left] = read_submissions(study.paths)
    assert (left.state, {part.state for part in left.parts}) == ("intended", {"intended"})
    slurm.answers["sbatch"] = numbered()
    with submitter(study, slurm) as submits:
        submits.adopt()
    [whole] = read_submissions(study.paths)
    assert (whole.state, [part.scheduler_job_id for part in whole.parts]) == ("submitted", ["100", "101"])


def test_without_an_end_to_patience_room_is_waited_for(study: TinyStudy, slept: list[float]) -> None:
    slurm = ScriptedSlurm(answers={"sbatch": numbered(*[NO_ROOM] * 50)})
    with submitter(study, slurm) as submits:
        made = submits.to_slurm(study.submission(study.ids[0]), [(study.ids[0], Resources())], makes_data=False)
    assert made.state == "submitted"
    assert slept == sorted(slept)
    assert len(slept) == 50


def test_a_collector_that_is_refused_ends_nothing_that_runs(study: TinyStudy) -> None:
    slurm = ScriptedSlurm(answers={"sbatch": numbered(None, None, REFUSED)})
    submission = hand_over(study, slurm)
    with submitter(study, slurm) as submits:
        submits.come_again(submission, [0], 60)
    assert "scancel" not in slurm.counts
    [longer] = read_submissions(study.paths)
    assert (longer.state, [part.state for part in longer.parts]) == ("submitted", ["submitted", "submitted", "refused"])
    assert longer.parts[:2] == submission.parts


def test_another_collector_comes_after_the_arrays_that_are_at_work_and_a_pause(study: TinyStudy) -> None:
    slurm = ScriptedSlurm(answers={"sbatch": numbered()})
    submission = hand_over(study, slurm, shapes=3)
    with submitter(study, slurm) as submits:
        submits.come_again(submission, [0, 2], 60)
    assert slurm.options("sbatch", "dependency")[-1] == "afterany:100:102"
    assert slurm.options("sbatch", "begin") == ["now+60"]


def test_what_was_left_unfinished_and_is_refused_now_ends_nothing_that_runs(study: TinyStudy) -> None:
    slurm = ScriptedSlurm(answers={"sbatch": numbered(None, MUTE, REFUSED)})
    with pytest.raises(SchedulerError, match="Slurm knows no such name"):
        hand_over(study, slurm)
    with submitter(study, slurm) as submits:
        submits.adopt()
    assert "scancel" not in slurm.counts
    [whole] = read_submissions(study.paths)
    assert (whole.state, [part.state for part in whole.parts]) == ("submitted", ["submitted", "refused"])


def test_what_slurm_has_is_adopted_by_its_name_and_the_rest_is_handed_over(study: TinyStudy) -> None:
    slurm = ScriptedSlurm(answers={"sbatch": numbered(MUTE)})
    with pytest.raises(SchedulerError, match="Slurm knows no such name"):
        hand_over(study, slurm)
    [left] = read_submissions(study.paths)
    assert left.state == "intended"
    tag = left.parts[0].tag
    slurm.answers["squeue"] = lambda command: Answer(0, f"{tag}|77|0|RUNNING|None|g1" if tag in command else "", "")
    with submitter(study, slurm) as submits:
        submits.adopt()
    [whole] = read_submissions(study.paths)
    assert (whole.state, [part.scheduler_job_id for part in whole.parts]) == ("submitted", ["77", "100"])
    assert slurm.counts["sbatch"] == 2


def test_while_squeue_is_silent_nothing_is_handed_over_a_second_time(study: TinyStudy) -> None:
    slurm = ScriptedSlurm(answers={"sbatch": numbered(MUTE)})
    with pytest.raises(SchedulerError, match="Slurm knows no such name"):
        hand_over(study, slurm)
    slurm.answers["squeue"] = None
    with pytest.raises(SchedulerError, match="Slurm does not answer"), submitter(study, slurm) as submits:
        submits.adopt()
    assert slurm.counts["sbatch"] == 1


def test_what_the_study_asks_for_is_not_overruled_by_the_environment(
    study: TinyStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To sbatch its variables come before the script's #SBATCH lines."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "sbatch").write_text(f'#!/bin/sh\necho "p=$SBATCH_PARTITION w=$SBATCH_WAIT" >> {tmp_path}/seen\necho 7\n')
    (programs / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("SBATCH_PARTITION", "debug")
    monkeypatch.setenv("SBATCH_WAIT", "1")
    hand_over(study, SlurmCalls(), partition="gpu")
    hand_over(study, SlurmCalls())
    assert (tmp_path / "seen").read_text().splitlines() == ["p= w="] * 2 + ["p=debug w="] * 2


@pytest.mark.parametrize("fields", [(), ("partition",), ("account", "qos"), ("partition", "account", "qos", "constraint")])
def test_a_user_s_defaults_fill_what_a_study_leaves_open(study: TinyStudy, fields: tuple[str, ...]) -> None:
    slurm = ScriptedSlurm(answers={"sbatch": numbered()})
    asked: dict[str, Any] = dict.fromkeys(fields, "mine")
    hand_over(study, slurm, **asked)
    array = next(defaults for command, defaults in zip(slurm.asked, slurm.defaults, strict=True) if command[0] == "sbatch")
    assert set(array) == DEFAULTS - {f"SBATCH_{field.upper()}" for field in fields}
    others = [defaults for command, defaults in zip(slurm.asked, slurm.defaults, strict=True) if command[0] != "sbatch"]
    assert set(others) == {()}


def submitted(study: TinyStudy, number: int, *jobs: str) -> Submission:
    """A submission that is with Slurm, or was."""
    made = study.submission(*jobs, number=number, submitter=AWAY, created_utc=LONG_AGO)
    parts = with_parts(made, [(job_id, made.resources) for job_id in made.jobs], ScriptedSlurm(), makes_data=False).parts
    known = tuple(part.model_copy(update={"state": "submitted", "scheduler_job_id": f"{number}"}) for part in parts)
    made = made.model_copy(update={"state": "submitted", "parts": known})
    made.write(study.paths.submission(number))
    return made


def test_a_second_try_without_excluded_nodes_has_names_of_its_own(study: TinyStudy) -> None:
    submitted(study, 1, study.ids[0])
    study.attempt(1, "failed", error=JobError(type="ModuleNotFoundError", message="no torch"))
    slurm = ScriptedSlurm(answers={"sbatch": numbered(None, REFUSED)})
    with submitter(study, slurm) as submits:
        view = look(study.paths, slurm)
        retry_round(submits, view, decisions(view))
    names = slurm.options("sbatch", "job-name")
    assert slurm.counts["scancel"] == 1
    assert len(set(names)) == len(names) == 5
    assert [made.state for made in read_submissions(study.paths)] == ["submitted", "refused", "submitted"]


def test_what_is_tried_again_runs_the_code_that_it_was_submitted_with(study: TinyStudy) -> None:
    codes = {study.ids[0]: "a" * 64, study.ids[1]: "b" * 64, study.ids[2]: "a" * 64}
    for number, (job_id, code) in enumerate(codes.items()):
        made = submitted(study, number + 1, job_id).model_copy(update={"code": code})
        made.write(study.paths.submission(made.number))
        study.attempt(1, "failed", job=number, submission=made.number, error=JobError(type="ImportError", message="no torch"))
    slurm = ScriptedSlurm(answers={"sbatch": numbered()})
    with submitter(study, slurm) as submits:
        view = look(study.paths, slurm)
        retry_round(submits, view, decisions(view))
    again = [made for made in read_submissions(study.paths) if made.origin == "retry"]
    assert {job_id: made.code for made in again for job_id in made.jobs} == codes
    assert len(again) == 2
    for made in again:
        scripts = [file.read_text() for file in Path(made.scratch).glob("*.sh")]
        assert scripts
        assert all(f"export PYTHONPATH={study.paths.frozen_code(str(made.code))}" in script for script in scripts)


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> ScriptedSlurm:
    """The Slurm that a collector job sees: it takes everything and knows of nothing."""
    scripted = ScriptedSlurm(answers={"sbatch": numbered()})

    def calls(environment: Mapping[str, str]) -> SlurmCalls:
        scripted.environment = environment
        return scripted

    monkeypatch.setattr(collector_job, "SlurmCalls", calls)
    return scripted


def test_a_collector_job_that_starts_anew_finishes_its_round_of_retries(study: TinyStudy, slurm: ScriptedSlurm) -> None:
    own = submitted(study, 1, study.ids[0])
    study.attempt(1, "interrupted", stopped_by="SIGTERM", step=5, first_step=0)
    left = study.submission(study.ids[0], number=2, origin="retry", submitter=AWAY)
    left = with_parts(left, [(study.ids[0], left.resources)], ScriptedSlurm(), makes_data=False)
    left.write(study.paths.submission(2))
    run_collector_job(study.paths, own.number, len(own.parts) - 1, lambda _: None)
    assert slurm.counts["sbatch"] == 2
    assert [(made.number, made.state) for made in read_submissions(study.paths)] == [(1, "submitted"), (2, "submitted")]


def test_a_collector_job_starts_nothing_on_its_own_node(
    study: TinyStudy, slurm: ScriptedSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Submission] = []

    def start(_: object, submission: Submission) -> str:
        started.append(submission)
        return "started"

    monkeypatch.setattr("fly64_hpc.retrying.to_this_machine", start)
    study.submission(study.ids[1], number=1, executor="local", submitter=AWAY).write(study.paths.submission(1))
    ended = SupervisorRecord(process=AWAY, started={study.ids[1]: LONG_AGO}, ended={study.ids[1]: LONG_AGO})
    ended.write(study.paths.supervisor(1))
    study.attempt(1, "interrupted", job=1, stopped_by="SIGTERM", step=5, first_step=0)
    own = submitted(study, 2, study.ids[0])
    run_collector_job(study.paths, own.number, len(own.parts) - 1, lambda _: None)
    assert started == []
    assert [made.jobs for made in read_submissions(study.paths) if made.origin == "retry"] == [(study.ids[0],)]  # was lost


@pytest.mark.parametrize("silences", [1, 5])
def test_a_collector_job_waits_for_a_slurm_that_does_not_answer(
    study: TinyStudy, slurm: ScriptedSlurm, slept: list[float], silences: int
) -> None:
    own = submitted(study, 1, study.ids[0])
    study.attempt(1, "interrupted", stopped_by="SIGTERM", step=5, first_step=0)
    left = with_parts(study.submission(study.ids[1], number=2, submitter=AWAY), [(study.ids[1], Resources())], ScriptedSlurm(),
                      makes_data=False)  # fmt: skip
    left.write(study.paths.submission(2))
    answers = [Answer(1, "", NO_CONNECTION)] * silences
    slurm.answers["squeue"] = lambda _: answers.pop() if answers else Answer(0, "", "")
    run_collector_job(study.paths, own.number, len(own.parts) - 1, lambda _: None)
    assert len(slept) == silences
    assert slept == sorted(set(slept))
    assert {made.state for made in read_submissions(study.paths)} == {"submitted"}
    assert [made.jobs for made in read_submissions(study.paths)][1:] == [(study.ids[1],), (study.ids[0],)]


def test_but_not_for_ever_and_then_says_so(study: TinyStudy, slurm: ScriptedSlurm, slept: list[float]) -> None:
    own = submitted(study, 1, study.ids[0])
    left = with_parts(study.submission(study.ids[1], number=2, submitter=AWAY), [(study.ids[1], Resources())], ScriptedSlurm(),
                      makes_data=False)  # fmt: skip
    left.write(study.paths.submission(2))
    slurm.answers["squeue"] = None
    with pytest.raises(SchedulerError, match="Slurm does not answer"):
        run_collector_job(study.paths, own.number, len(own.parts) - 1, lambda _: None)
    assert len(slept) == collector_job.TRIES - 1
    assert "sbatch" not in slurm.counts


def test_a_collector_job_hands_down_the_environment_of_the_submit(
    study: TinyStudy, slurm: ScriptedSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = submitted(study, 1, study.ids[0])
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, env={"MINE": "first", "PATH": os.environ["PATH"]}) as batch:
        while not Path(f"/proc/{batch.pid}/environ").read_bytes():
            pass  # it is being started
        monkeypatch.setenv(BATCH_PID_VARIABLE, str(batch.pid))
        monkeypatch.setenv("LEAK", "late")
        run_collector_job(study.paths, own.number, len(own.parts) - 1, lambda _: None)
    assert slurm.environment == {"MINE": "first", "PATH": os.environ["PATH"]}


def test_the_collector_job_s_environment_is_left_as_it_was(study: TinyStudy, slurm: ScriptedSlurm) -> None:
    before = dict(os.environ)
    run_collector_job(study.paths, submitted(study, 1, study.ids[0]).number, 1, lambda _: None)
    assert dict(os.environ) == before
