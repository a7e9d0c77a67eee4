"""Cancelling: trainings save and stop, the record keeps everybody else from trying again, and a submit takes the jobs up."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command import Workplace
from hypothesis import given
from hypothesis import strategies as st
from local_study import LocalStudy
from scripted_slurm import ScriptedSlurm
from slurm_machines import NODES, FakeMachine
from slurm_study import DOSE, DOSE_IDS, ONE, ONE_ID, SlurmStudy, wait_until
from tiny_study import TinyStudy, on_slurm, tiny_study

from fly64_hpc.cancellations import CancelledJob, CancelWatch, cancelled_jobs, read_cancellations, write_cancellation
from fly64_hpc.cancelling import index_ranges, plan
from fly64_hpc.collector import look
from fly64_hpc.job_state import JobState
from fly64_hpc.local_ending import LocalJob, end_local
from fly64_hpc.outcome import Cause
from fly64_hpc.process_identity import process
from fly64_hpc.retrying import decisions
from fly64_hpc.submissions import SupervisorRecord


@pytest.fixture
def slurm(fake_slurm: FakeMachine) -> FakeMachine:
    return fake_slurm


@pytest.fixture
def study(slurm: FakeMachine, prepared: Path, tmp_path: Path) -> SlurmStudy:
    return SlurmStudy(Workplace(tmp_path, slurm.environment()), prepared)


@pytest.fixture
def tiny(tmp_path: Path) -> TinyStudy:
    return tiny_study(tmp_path / "study")


def cancel(place: Workplace, *arguments: str) -> Any:
    return place.run("cancel", "--study-dir", place.study, *arguments)


def scancels(slurm: FakeMachine) -> list[list[str]]:
    return [call[1:] for call in slurm.calls() if call[0] == "scancel"]


@given(st.sets(st.integers(0, 60), min_size=1))
def test_ranges_name_the_very_indices(indices: set[int]) -> None:
    spans = [span.split("-") for span in index_ranges(list(indices)).split(",")]
    assert [i for span in spans for i in range(int(span[0]), int(span[-1]) + 1)] == sorted(indices)
    assert all(int(b[0]) - int(a[-1]) > 1 for a, b in itertools.pairwise(spans)), "as few as can be"


def test_a_cancelled_job_is_free_again_in_a_newer_submission(tiny: TinyStudy) -> None:
    job_id = tiny.ids[0]
    write_cancellation(tiny.paths, [CancelledJob(job_id=job_id, submission=1)])
    first = write_cancellation(tiny.paths, [CancelledJob(job_id=job_id, submission=1)])
    assert [one.number for one in read_cancellations(tiny.paths)] == [1, 2]
    assert (cancelled_jobs(tiny.paths, 1), cancelled_jobs(tiny.paths, 2)) == ({job_id}, set())
    on_slurm(tiny, 1)
    view = look(tiny.paths, ScriptedSlurm(answers={"sacct": "10_0|t1|CANCELLED by 0|0:0|g1||\n"}))
    outcome = view.jobs[0].outcome
    assert (outcome.state, outcome.cause) == (JobState.CANCELLED, Cause.CANCELLED)
    assert outcome.reason.startswith(f"cancelled by {first.user} at ")
    assert not decisions(view)[0].again
    on_slurm(tiny, 2, job_id)
    waiting = look(tiny.paths, ScriptedSlurm(answers={"squeue": "t2|20|0|PENDING|Priority|\n"})).jobs[0]
    assert (waiting.outcome.state, waiting.cancelled) == (JobState.PENDING, "")


def test_a_success_that_came_before_the_end_stays_one(tiny: TinyStudy) -> None:
    from reported_study import succeed

    on_slurm(tiny, 1)
    succeed(tiny, 0)
    write_cancellation(tiny.paths, [CancelledJob(job_id=tiny.ids[0], submission=1)])
    assert look(tiny.paths, ScriptedSlurm()).jobs[0].outcome.state is JobState.SUCCEEDED


def test_what_had_failed_before_keeps_its_state_and_is_not_tried_again(tiny: TinyStudy) -> None:
    on_slurm(tiny, 1)
    rows = "10_0|t1|NODE_FAIL|0:0|g1||\n10_1|t1|RUNNING|0:0|g1||\n"
    queue = "t1|10|1|RUNNING|None|g1\nc1|11|N/A|PENDING|Dependency|\n"
    slurm = ScriptedSlurm(answers={"sacct": rows, "squeue": queue})
    chosen = plan(look(tiny.paths, slurm), tiny.ids[:2], is_whole=False)
    assert [job.job.job_id for job in chosen.spared] == tiny.ids[:1]
    assert [job.job.job_id for job in chosen.jobs] == tiny.ids[1:2]
    write_cancellation(tiny.paths, chosen.records())
    view = look(tiny.paths, slurm)
    assert view.jobs[0].outcome.state is JobState.NODE_FAILED
    (decision,) = (one for one in decisions(view) if one.job_id == tiny.ids[0])
    assert (decision.again, "that it be not tried again" in decision.why) == (False, True)


def test_a_damaged_record_ends_no_work(tiny: TinyStudy) -> None:
    tiny.paths.cancellations.mkdir()
    tiny.paths.cancellation(1).write_text("{")
    assert not CancelWatch(tiny.paths, tiny.ids[0], 1).look()


def test_a_process_that_only_has_the_pid_of_a_training_is_left_alone(tiny: TinyStudy) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        real = process(other.pid)
        reused = type(real)(real.host, real.pid, real.boot_id, real.start_ticks - 1)
        tiny.attempt(1, "running", process=reused)
        assert end_local(tiny.paths, [LocalJob(tiny.ids[0], tiny.job(), 1)], wait_s=0.3) == []
        assert other.poll() is None
        other.communicate(b"\n")


def test_a_training_that_does_not_heed_the_signal_is_killed_after_a_while(tiny: TinyStudy) -> None:
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as deaf:
        assert deaf.stdout is not None
        deaf.stdout.readline()
        tiny.attempt(1, "running", process=process(deaf.pid))
        SupervisorRecord(process=process(os.getpid()), started={}, ended={tiny.ids[0]: "now"}).write(tiny.paths.supervisor(1))
        assert end_local(tiny.paths, [LocalJob(tiny.ids[0], tiny.job(), 1)], wait_s=0.5) == []
        assert deaf.wait(5) == -9


def test_a_whole_study_on_slurm_ends_by_one_call_and_a_submit_takes_it_up(study: SlurmStudy, slurm: FakeMachine) -> None:
    long = ("--set", "training.epochs=100")
    study.good(study.submit(*ONE, *long, trainer="idle_trainer", IDLE_STEP_S=1))
    study.wait_for_attempt(1)
    answer = study.good(cancel(study.place))
    collector = study.parts(kind="collect")[0]["scheduler_job_id"]
    assert scancels(slurm) == [[collector, study.parts()[0]["scheduler_job_id"]]]
    slurm.wait_idle()
    job = study.collected()
    assert (job["state"], job["error"]["type"]) == ("cancelled", "Cancelled"), answer.out
    assert "attempt 1 was interrupted and saved" in job["state_reason"]
    assert study.record(1)["stopped_by"] == "a cancel"
    assert "nothing to cancel" in study.good(cancel(study.place)).out
    assert "1 jobs to submit" in study.good(study.submit(*ONE, *long, trainer="idle_trainer")).out
    study.wait_for("succeeded")
    assert study.job()["scheduler"]["attempts"] == 2


def test_a_selection_ends_its_tasks_and_the_collector_job_stays(study: SlurmStudy, slurm: FakeMachine) -> None:
    for node in NODES:
        slurm.cut_off_node(node)
    study.good(study.submit(trainer="idle_trainer"))
    answer = study.good(cancel(study.place, "--dose", "1000", "--json"))
    assert scancels(slurm) == [[f"{study.parts()[0]['scheduler_job_id']}_[0-2]"]]
    assert set(json.loads(answer.out)["cancelled"]) == set(DOSE_IDS)
    for node in NODES:
        slurm.start_node(node)
    study.wait_for_manifest({"succeeded": 6, "cancelled": 3})
    slurm.wait_idle()
    assert len(list((study.place.study / "submissions").glob("0*.json"))) == 1, "nobody tried the others again"


def test_a_slurm_that_does_not_answer_is_exit_2_and_the_record_ends_the_jobs_all_the_same(
    study: SlurmStudy, slurm: FakeMachine
) -> None:
    study.good(study.submit(*ONE, "--set", "training.epochs=100", trainer="idle_trainer", IDLE_STEP_S=1))
    study.wait_for_attempt(1)
    slurm.kill_controller()
    answer = cancel(study.place)
    assert (answer.code, "Traceback" in answer.err) == (2, False)
    ids = [study.parts(kind=kind)[0]["scheduler_job_id"] for kind in ("collect", "train")]
    assert f"Slurm was not told to end {', '.join(ids)}: scancel:" in answer.err
    assert "Run cancel again when Slurm answers" in answer.err
    wait_until(lambda: study.record(1)["ended_utc"], "the end of the training")
    assert study.record(1)["stopped_by"] == "a cancel"
    slurm.start_controller()
    study.wait_for("cancelled")


def test_a_submit_after_a_killed_submitter_and_a_cancel_hands_over_nothing_of_the_old_submission(tiny: TinyStudy) -> None:
    from fly64_hpc.cancelling import SlurmCancel

    on_slurm(tiny, 1, state="intended")
    submission = look(tiny.paths, ScriptedSlurm()).submissions[0]
    parts = (submission.parts[0], submission.parts[1].model_copy(update={"state": "intended", "scheduler_job_id": None}))
    submission.model_copy(update={"parts": parts}).write(tiny.paths.submission(1))
    slurm = ScriptedSlurm(answers={"squeue": "".join(f"t1|10|{i}|PENDING|Priority|\n" for i in range(9))})
    chosen = plan(look(tiny.paths, slurm), tiny.ids, is_whole=True)
    ending = SlurmCancel(chosen, slurm)
    ending.run()
    (left,) = look(tiny.paths, slurm).submissions
    assert (left.state, [part.state for part in left.parts]) == ("submitted", ["submitted", "refused"])
    assert ([call for call in slurm.asked if call[0] == "scancel"], ending.not_told) == ([("scancel", "10")], [])


def test_local_jobs_save_and_stop_and_those_that_wait_are_not_started(prepared: Path, tmp_path: Path) -> None:
    study = LocalStudy(tmp_path, prepared, step_s=0.5)
    one_slot = ("--set", f"training.threads={os.cpu_count()}", "--set", "training.epochs=200")
    assert study.submit(*one_slot, *DOSE).code == 0
    place = study.place
    result = place.study / "phase_e_training" / "dose_1000" / "baseline" / "gs1" / "attempts" / "001" / "result.json"
    wait_until(result.exists, "an attempt")
    answer = cancel(place)
    assert answer.code == 0, answer.err
    states = place.states()
    assert {states[job_id] for job_id in DOSE_IDS} == {"cancelled"}, answer.out
    assert "attempt 1 was interrupted and saved" in place.job(ONE_ID)["state_reason"]
    assert "it was not started" in place.job(DOSE_IDS[1])["state_reason"]
    supervisor = json.loads((place.study / "submissions" / "0001.supervisor.json").read_text())
    assert set(supervisor["started"]) == {ONE_ID}
    wait_until(lambda: not Path(f"/proc/{supervisor['process']['pid']}").exists(), "the end of the supervisor", 20)
    assert "nothing to cancel" in cancel(place).out
    again = LocalStudy(tmp_path, prepared)
    assert again.submit(*one_slot, *ONE, "--wait").code == 0
    assert place.job(ONE_ID)["scheduler"]["attempts"] == 2
