"""`retry --only STATES`: a person's word goes before the policy's, but for what the job then asks of the cluster."""

import dataclasses
import json
from pathlib import Path

import pytest
from command import REPOSITORY, Workplace
from hypothesis import given
from hypothesis import strategies as st
from local_study import LocalStudy
from scripted_slurm import ScriptedSlurm
from slurm_machines import FakeMachine
from slurm_study import ONE, ONE_ID, SlurmStudy
from test_retry_policy import failure
from tiny_study import TinyStudy, on_slurm, tiny_study

from fly64_hpc import retry
from fly64_hpc.collector import StudyView, look
from fly64_hpc.errors import RequestError
from fly64_hpc.job_state import JobState
from fly64_hpc.outcome import Cause
from fly64_hpc.resources import Resources
from fly64_hpc.retry_policy import decide, insist
from fly64_hpc.retrying import RETRIABLE, decisions


@pytest.fixture
def view(tmp_path: Path) -> StudyView:
    """One that failed, one whose time ran out, one that somebody cancelled, one that lost its node, and five that wait."""
    return look(failed(tmp_path).paths, ScriptedSlurm(answers={"sacct": ROWS, "squeue": QUEUE}))


ROWS = "10_0|t1|FAILED|1:0|g1||\n10_1|t1|TIMEOUT|0:0|g1||\n10_2|t1|CANCELLED by 0|0:0|g1||\n10_3|t1|NODE_FAIL|0:0|g1||\n"
QUEUE = "".join(f"t1|10|{index}|PENDING|Priority|\n" for index in range(4, 9))


def failed(folder: Path) -> TinyStudy:
    tiny = tiny_study(folder / "study")
    on_slurm(tiny, 1)
    tiny.attempt(1, "failed", error={"type": "ValueError", "message": "no", "hint": ""})
    return tiny


@pytest.mark.parametrize("cause", list(Cause))
@given(retries=st.integers(0, 9))
def test_a_person_s_word_goes_before_cause_and_budget(cause: Cause, retries: int) -> None:
    assert insist(failure(cause, retries=retries)).again


@pytest.mark.parametrize("cause", list(Cause))
def test_what_it_asks_of_the_cluster_is_what_the_policy_says(cause: Cause) -> None:
    one = failure(cause, Resources(mem="2G"))
    assert insist(one).resources == decide(one).resources
    spent = dataclasses.replace(one, retries=99)
    assert insist(spent).resources == insist(one).resources, "whatever was tried before"


def test_just_the_jobs_in_these_states_are_tried_whatever_the_policy_says(view: StudyView) -> None:
    states = {job.job.job_id: job.outcome.state for job in view.jobs}
    assert not any(one.again for one in decisions(view) if states[one.job_id] is not JobState.NODE_FAILED)
    for only in [(JobState.FAILED,), (JobState.TIMED_OUT, JobState.CANCELLED), (JobState.PREEMPTED,)]:
        chosen = decisions(view, only=only)
        assert {one.job_id for one in chosen} == {job_id for job_id, state in states.items() if state in only}
        assert all(one.again for one in chosen)
    assert decisions(view, only=(JobState.PENDING,)) == [], "those that wait are with somebody"


def test_a_budget_that_is_given_with_it_holds(view: StudyView) -> None:
    assert not decisions(view, 0, only=(JobState.NODE_FAILED,))[0].again
    assert decisions(view, 1, only=(JobState.FAILED,))[0].again


@pytest.mark.parametrize("names", ["dead", "failed,", "succeeded", "Failed", "running"])
def test_a_state_in_which_nothing_is_tried_again_is_refused_naming_those_that_are(names: str) -> None:
    allowed = ", ".join(state.value for state in RETRIABLE)
    with pytest.raises(RequestError, match=f"is no state in which a job may be tried again; these are {allowed}"):
        retry.states_of(names)


def test_every_state_that_is_offered_is_taken() -> None:
    assert retry.states_of(" , ".join(RETRIABLE)) == RETRIABLE


def test_a_preview_shows_it_and_submits_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = failed(tmp_path)
    slurm = ScriptedSlurm(answers={"sacct": ROWS, "squeue": QUEUE})
    monkeypatch.setattr(retry, "SlurmCalls", lambda: slurm)
    directory = ("--study-dir", str(tiny.paths.root), "--preview")
    assert retry.main([*directory, "--only", "failed", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"job_id": ONE_ID, "again": True, "why": "asked for as failed: again"}]
    assert retry.main([*directory, "--only", "preempted"]) == 0
    assert "nothing to retry: no job that was submitted is preempted, and with nobody" in capsys.readouterr().out
    assert not slurm.options("sbatch", "job-name")


@pytest.fixture
def slurm(fake_slurm: FakeMachine) -> FakeMachine:
    return fake_slurm


def test_on_slurm_an_exception_is_tried_again_when_a_person_says_so(slurm: FakeMachine, prepared: Path, tmp_path: Path) -> None:
    study = SlurmStudy(Workplace(tmp_path, slurm.environment()), prepared)
    gate = tmp_path / "mended"
    lines = json.dumps([f"if test -e {gate}; then export FLY64_TRAINER=idle_trainer; else export FLY64_TRAINER=json; fi"])
    path = json.dumps({"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'tests'}"})
    study.good(study.submit(*ONE, "--set", f"resources.setup={lines}", "--set", f"resources.env={path}"))
    study.wait_for("failed")
    slurm.wait_idle()
    gate.touch()
    assert f"{ONE_ID}: left: an exception" in study.good(study.retry()).out
    assert f"{ONE_ID}: again: asked for as failed: again" in study.good(study.retry("--only", "failed,timed_out")).out
    assert study.wait_for("succeeded")["scheduler"]["attempts"] == 2


def test_on_this_machine_too(prepared: Path, tmp_path: Path) -> None:
    broken, mended = (LocalStudy(tmp_path, prepared, trainer) for trainer in ("json", "idle_trainer"))
    assert broken.submit(*ONE, "--wait").code == 1
    place = mended.place
    answer = place.run("retry", "--study-dir", place.study, "--only", "failed")
    assert f"{ONE_ID}: again: asked for as failed: again" in answer.out
    assert place.run("collect", "--study-dir", place.study, "--watch").code == 0
    assert place.states()[ONE_ID] == "succeeded"
