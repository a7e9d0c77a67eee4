"""The Slurm executor against a stateful Slurm at the process boundary: submission, states and retries, quickly."""

import json
import time
from pathlib import Path

import pytest
from command import Workplace
from slurm_machines import NODES, FakeMachine
from slurm_study import DOSE, DOSE_IDS, ONE, ONE_ID, SlurmStudy, program, wait_until

from fly64_hpc import executor_facts
from fly64_hpc.collector import StudyView, look
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.outcome import Cause
from fly64_hpc.slurm import calls, facts

NO_ACCOUNT = "sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified"


@pytest.fixture
def slurm(fake_slurm: FakeMachine) -> FakeMachine:
    return fake_slurm


@pytest.fixture
def study(slurm: FakeMachine, prepared: Path, tmp_path: Path) -> SlurmStudy:
    """A study on datasets that are there, its jobs trained by nobody."""
    return SlurmStudy(Workplace(tmp_path, slurm.environment()), prepared)


def idle(study: SlurmStudy, *arguments: str) -> None:
    study.good(study.submit(*arguments, trainer="idle_trainer"))


def without_nodes(slurm: FakeMachine) -> None:
    """What is submitted waits, and costs nothing."""
    for node in NODES:
        slurm.cut_off_node(node)


def seen_here(study: SlurmStudy, slurm: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> StudyView:
    """A look from this process."""
    for name, value in slurm.environment().items():
        monkeypatch.setenv(name, value)
    return look(StudyPaths(study.place.study))


def commands(slurm: FakeMachine, *names: str) -> list[list[str]]:
    """The calls of some commands, without those that only ask when a job would start."""
    return [call for call in slurm.calls() if call[0] in names and "--test-only" not in call]


def test_a_dataset_job_comes_first_then_the_arrays_then_the_collector(study: SlurmStudy, slurm: FakeMachine) -> None:
    slurm.set_max_array_size(2)
    own = SlurmStudy(study.place)
    printed = json.loads(own.submit(*DOSE, "--print-only", "--json", trainer="idle_trainer").out)
    assert not own.place.files()
    idle(own, *DOSE)
    data, first, second, collector = (part["scheduler_job_id"] for part in own.submission()["parts"])
    assert [slurm.script(part) for part in (data, first, second, collector)] == printed["scripts"]
    asked = [next((word for word in call if word.startswith("--dep")), "") for call in commands(slurm, "sbatch")]
    after = [f"afterok:{data}", f"afterok:{data}", f"afterany:{data}:{first}:{second}"]
    assert asked == ["", *(f"--dependency={word}" for word in after)]
    own.wait_for_manifest({"succeeded": 3})
    assert "0 jobs to submit, 3 succeeded or at work already" in own.submit(*DOSE).out


def test_a_study_is_split_at_the_largest_array_and_shares_its_throttle(study: SlurmStudy, slurm: FakeMachine) -> None:
    slurm.set_max_array_size(4)
    idle(study, "--set", "resources.array_parallelism=3")
    parts = study.parts()
    assert [len(part["jobs"]) for part in parts] == [4, 4, 1]
    assert sum(part["throttle"] for part in parts) == 3
    study.wait_for_manifest({"succeeded": 9})


def test_a_limit_on_submitted_jobs_means_smaller_arrays_and_waiting(study: SlurmStudy, slurm: FakeMachine) -> None:
    slurm.submit_limit = 2
    answer = study.good(study.submit(*DOSE, trainer="idle_trainer", IDLE_STEP_S=0.5))
    assert "Slurm has no room for an array of 3; handing over 1 and 2 instead" in answer.out
    assert "Slurm has no room for another job (sbatch: error: QOSMaxSubmitJobPerUserLimit" in answer.out
    assert [part["jobs"] for part in study.parts()] == [[job_id] for job_id in DOSE_IDS]
    study.wait_for_manifest({"succeeded": 3})
    assert [study.job(job_id)["scheduler"]["attempts"] for job_id in DOSE_IDS] == [1, 1, 1]


def test_a_refusal_is_exit_2_with_the_words_of_sbatch_and_nothing_submitted(study: SlurmStudy, slurm: FakeMachine) -> None:
    asked = 'case "$1" in --test-only) exec "$FAKE_SLURM/bin/sbatch" "$@";; esac'
    refusing = study.with_programs(program(study.place.folder / "bin", "sbatch", f'{asked}; echo "{NO_ACCOUNT}" >&2; exit 1'))
    answer = refusing.submit(*ONE)
    assert answer.code == 2
    assert f"sbatch refused the submission: {NO_ACCOUNT} Nothing was submitted. Name another --account" in answer.err
    assert slurm.job_ids() == []
    assert "not submitted" in study.status()[ONE_ID]["why"]
    idle(study, *ONE)
    study.wait_for("succeeded")


def test_an_answer_that_is_none_is_found_by_name(study: SlurmStudy, slurm: FakeMachine) -> None:
    slurm.mumble = "slurm: something, somehow"
    idle(study, *ONE)
    assert len(slurm.job_ids()) == 2
    study.wait_for("succeeded")


def test_one_squeue_and_one_sacct_a_look_whatever_the_number_of_jobs(study: SlurmStudy, slurm: FakeMachine) -> None:
    without_nodes(slurm)  # else a collector job may ask as well, and be counted
    idle(study)
    slurm.forget_calls()
    answer = study.collect()
    assert sorted(call[0] for call in commands(slurm, "squeue", "sacct", "sbatch", "scontrol")) == ["sacct", "squeue"]
    assert "calls of Slurm: 1 sacct, 1 squeue" in answer.out


def test_a_slurm_that_hangs_is_named_and_its_jobs_are_waited_for(
    study: SlurmStudy, slurm: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_nodes(slurm)
    idle(study, *ONE)
    for command in ("squeue", "sacct"):
        slurm.hang(command, 30)
    monkeypatch.setattr(calls.SlurmCalls.__call__, "__kwdefaults__", {"timeout_s": 0.5, "held_open": (), "defaults": ()})
    view = seen_here(study, slurm, monkeypatch)
    job = view.jobs[0]
    assert view.problems[0] == "squeue failed: squeue did not answer within 0 s"
    assert (job.outcome.state.value, job.outcome.is_live, job.job.job_id in view.unheard) == ("unknown", True, True)


def test_in_the_dark_nothing_is_submitted_again(study: SlurmStudy, slurm: FakeMachine) -> None:
    without_nodes(slurm)
    idle(study, *ONE)
    slurm.kill_controller()
    assert "0 jobs to submit" in study.submit(*ONE).out, "sacct knows it still"
    slurm.stop_database()
    answer = study.submit(*ONE)
    assert (answer.code, len(slurm.job_ids())) == (2, 2)
    assert f"{ONE_ID} may be running: no attempt left a record; squeue failed: " in answer.err
    assert "Submit again when squeue answers" in answer.err
    assert study.retry().code == 2


def test_without_sacct_the_nodes_and_squeue_suffice(study: SlurmStudy, slurm: FakeMachine) -> None:
    slurm.no_sacct = True
    idle(study, *ONE)
    study.wait_for("succeeded")
    answer = study.collect()
    assert (answer.code, "warning: sacct failed" in answer.out) == (0, True)


def test_a_sacct_that_lags_is_waited_for(study: SlurmStudy, slurm: FakeMachine) -> None:
    slurm.sacct_lag_s = 600
    study.good(study.submit(*ONE, "--set", "resources.setup=[exit 3]", "--set", "resources.retry.budget=0"))
    slurm.wait_idle()
    assert "squeue: FAILED NonZeroExitCode" in study.collected()["state_reason"]
    slurm.change_settings(min_job_age_s=0)
    assert study.collected()["state_reason"] == "was submitted a moment ago"
    assert "0 jobs to submit" in study.submit(*ONE).out
    slurm.sacct_lag_s = 0
    job = study.collected()
    assert (job["state"], "sacct: FAILED 3:0 g1" in job["state_reason"]) == ("failed", True)


def test_a_job_with_an_id_of_ours_is_not_ours(study: SlurmStudy, slurm: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    idle(study, *ONE, "--set", "resources.env.IDLE_STEP_S='60'")
    study.wait_for_attempt(1)
    slurm.restart_job_ids()
    slurm.occupy(study.parts()[0]["scheduler_job_id"])
    assert study.collected()["state_reason"].endswith("sacct: RUNNING g1"), "a moment ago it was there"
    monkeypatch.setattr(executor_facts, "LAG_S", 0.0)
    monkeypatch.setattr(facts, "LAG_S", 0.0)
    outcome = seen_here(study, slurm, monkeypatch).jobs[0].outcome
    assert (outcome.state.value, outcome.is_live, outcome.cause) == ("unknown", False, Cause.LOST)
    assert "Slurm has lost it: squeue does not list it, sacct: RUNNING g1" in outcome.reason


def test_of_what_has_succeeded_only_the_newest_submission_is_asked_for(study: SlurmStudy, slurm: FakeMachine) -> None:
    idle(study, *ONE)
    study.wait_for_manifest({"succeeded": 1})
    idle(study, *DOSE)
    study.wait_for_manifest({"succeeded": 3})
    slurm.wait_idle()  # the collector job asks as well
    slurm.forget_calls()
    study.status()
    parts = study.submission(2)["parts"]
    names, ids = (",".join(part[key] for part in parts) for key in ("tag", "scheduler_job_id"))
    (squeue,), (sacct,) = commands(slurm, "squeue"), commands(slurm, "sacct")
    assert (squeue[squeue.index("--name") + 1], sacct[sacct.index("--jobs") + 1]) == (names, ids)


def test_what_slurm_has_forgotten_is_known_by_its_record_or_by_nobody(study: SlurmStudy, slurm: FakeMachine) -> None:
    idle(study, *DOSE)
    study.wait_for_manifest({"succeeded": 3})
    slurm.wait_idle()
    slurm.change_settings(min_job_age_s=0)
    slurm.no_sacct = True
    (study.folder() / "attempts" / "001" / "result.json").unlink()
    submission = study.place.study / "submissions" / "0001.json"
    submission.write_text(json.dumps(study.submission() | {"created_utc": "2026-01-01T00:00:00.000Z"}))
    assert study.collect().code == 1
    assert [study.job(job_id)["state"] for job_id in DOSE_IDS] == ["unknown", "succeeded", "succeeded"]
    assert "the executor is silent" in study.job()["state_reason"]


def test_retry_says_first_what_it_would_do_and_keeps_to_its_budget(study: SlurmStudy, slurm: FakeMachine) -> None:
    not_on_g1 = ("--set", """resources.setup=['[ "$SLURMD_NODENAME" != g1 ]']""", "--set", "resources.retry.budget=0")
    study.good(study.submit(*ONE, *not_on_g1, trainer="idle_trainer"))
    study.wait_for("failed")
    slurm.wait_idle()
    assert "its budget of 0 retries is used up" in study.retry().out
    again = f"{ONE_ID}: again: a broken environment: again, on another node than g1"
    assert again in study.retry("--preview", "--budget", "1").out
    assert f"{ONE_ID}: left: " in study.retry("--preview", "--budget", "0").out
    assert len(slurm.job_ids()) == 2, "nothing was submitted again"
    assert again in study.good(study.retry("--budget", "1")).out
    assert study.wait_for("succeeded")["scheduler"]["node"] == "g2"


def test_a_launch_that_failed_and_is_held_is_named_and_released_by_the_next_submit(study: SlurmStudy, slurm: FakeMachine) -> None:
    study.good(study.submit(*ONE, trainer="idle_trainer", IDLE_STEP_S=1))
    study.wait_for_attempt(1)
    slurm.fail_launch(study.task_id())
    wait_until(lambda: "launch failed requeued held" in study.collected()["state_reason"], "the reason")
    assert study.job()["state"] == "pending"
    answer = study.good(study.submit(*ONE))
    assert f"{study.task_id()}, which Slurm held after its launch failed, is released" in answer.out
    assert "0 jobs to submit" in answer.out
    study.wait_for("succeeded")


def test_the_older_of_two_living_attempts_stops_and_does_not_publish(
    study: SlurmStudy, slurm: FakeMachine, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    study.good(study.submit(*ONE, trainer="slow_trainer", SLOW_GATE=gate))
    study.wait_for_attempt(1)
    result = study.folder() / "attempts" / "001" / "result.json"
    result.write_text(result.read_text().replace('"host": "', '"host": "another-'))  # the fake's nodes share one name
    slurm.cut_off_node(study.record(1)["scheduler"]["node"])
    study.wait_for_attempt(2)
    assert study.record(1)["ended_utc"] is None, "the first lives on"
    wait_until(lambda: study.record(1)["ended_utc"], "the end of attempt 1")
    gate.touch()
    study.wait_for("succeeded")
    assert study.record(1)["stopped_by"] == "a newer attempt"
    assert study.job()["result"]["bundle_sha256"] == study.record(2)["result"]["bundle_sha256"]


def test_a_setup_line_that_fails_fails_the_job_with_its_last_words(study: SlurmStudy, slurm: FakeMachine) -> None:
    setup = '["echo no such module >&2; exit 3"]'
    study.good(study.submit(*ONE, "--set", f"resources.setup={setup}", "--set", "resources.retry.budget=0"))
    job = study.wait_for("failed")
    assert "its log ends with 'no such module'" in job["state_reason"]


def test_a_collector_job_does_its_work_on_a_node_whose_setup_fails(study: SlurmStudy, slurm: FakeMachine) -> None:
    fails_on_g1 = json.dumps(['[ "$SLURMD_NODENAME" != g1 ]'])
    study.good(study.submit(*ONE, "--set", f"resources.setup={fails_on_g1}", trainer="idle_trainer"))
    study.wait_for_manifest({"succeeded": 1})
    assert study.submission(2)["reasons"][ONE_ID] == "a broken environment: again, on another node than g1"
    assert study.job()["scheduler"]["node"] != "g1"


def test_an_account_of_digits_reaches_sbatch_as_it_was_typed(study: SlurmStudy) -> None:
    assert "#SBATCH --account=007\n" in study.submit("--account", "007", "--print-only").out


def test_waiting_sees_a_study_to_its_end_with_few_calls(study: SlurmStudy, slurm: FakeMachine) -> None:
    started = time.monotonic()
    answer = study.good(study.submit(*DOSE, "--wait", trainer="idle_trainer"))
    assert "3 succeeded" in answer.out
    most = 4 + (time.monotonic() - started) / 5
    assert len(commands(slurm, "squeue")) < most + 4  # the collector job's own two, and the first look's, among them


def test_a_study_whose_dataset_job_failed_may_be_mended(study: SlurmStudy, slurm: FakeMachine) -> None:
    own = SlurmStudy(study.place)
    too_far = ("--set", "scan.pattern=jittered_raster", "--set", "scan.step_px=500.0")
    own.good(own.submit(*ONE, *too_far))
    job = own.wait_for("cancelled")
    assert "the dataset job failed" in job["state_reason"]
    slurm.wait_idle()  # the collector job reads the study as it was
    idle(own, *ONE)
    own.wait_for("succeeded")
