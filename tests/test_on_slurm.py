"""What a user sees of a study on a real Slurm: the cluster of batch/test_cluster on this machine. `make test-slurm`."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import REPOSITORY, SMOKE, Workplace
from slurm_machines import Slurm, kill_trainer, trainers
from slurm_study import DOSE, DOSE_IDS, ONE, SlurmStudy, wait_until

pytestmark = [pytest.mark.slurm, pytest.mark.parametrize("slurm", ["real"], indirect=True)]


@pytest.fixture
def study(slurm: Slurm, tmp_path: Path) -> Iterator[SlurmStudy]:
    """The smoke study, its datasets still to be made."""
    yield SlurmStudy(Workplace(tmp_path, slurm.environment()))
    slurm.settle()


@pytest.fixture
def ready(study: SlurmStudy, prepared: Path) -> SlurmStudy:
    """The study on datasets that are there."""
    return SlurmStudy(study.place, prepared)


def test_the_collector_job_alone_leaves_nine_succeeded(study: SlurmStudy) -> None:
    study.good(study.submit("--profile", "test_cluster"))  # the process that submitted has ended when this returns
    manifest = study.wait_for_manifest({"succeeded": 9})
    parts = study.submission()["parts"]
    assert [part["kind"] for part in parts] == ["data", "train", "train", "collect"], "MaxArraySize is 8, so nine are split"
    partitions = {job["scheduler"]["partition"] for job in manifest["jobs"]}
    assert (partitions, parts[0]["resources"]["partition"]) == ({"gpu"}, "cpu")
    again = study.submit("--profile", "test_cluster")
    assert "0 jobs to submit, 9 succeeded or at work already" in again.out


def test_print_only_shows_the_scripts_that_slurm_then_has(study: SlurmStudy, slurm: Slurm) -> None:
    printed = json.loads(study.submit(*DOSE, "--print-only", "--json").out)
    assert not study.place.study.exists()
    study.good(study.submit(*DOSE))
    parts = study.submission()["parts"]
    stored = [slurm.call("scontrol", "write", "batch_script", part["scheduler_job_id"], "-") for part in parts]
    assert stored == printed["scripts"]
    names = [command.split("--job-name=")[1].split()[0].rsplit("-", 2) for command in printed["commands"]]
    assert [(name[0], name[2]) for name in names] == [
        (part["tag"].rsplit("-", 2)[0], part["tag"].rsplit("-", 2)[2]) for part in parts
    ]


def test_three_interruptions_leave_the_bytes_of_none(ready: SlurmStudy, slurm: Slurm, tmp_path: Path) -> None:
    whole = SlurmStudy(Workplace(tmp_path / "whole"), ready.datasets)
    (tmp_path / "whole").mkdir()
    whole.good(whole.submit(*ONE, "--executor", "debug"))
    ready.good(ready.submit(*ONE, trainer="slow_trainer", SLOW_STEP_S=0.5))
    for attempt, epochs in ((1, 1), (2, 2)):
        ready.wait_for_epochs(epochs, attempt)
        slurm.call("scontrol", "requeue", ready.task_id())
        wait_until((ready.folder() / "attempts" / f"{attempt + 1:03d}" / "result.json").exists, f"attempt {attempt + 1}")
    newest = ready.folder() / "checkpoints" / "003"
    wait_until(lambda: list(newest.glob("step_*.json")), "a checkpoint of attempt 3")
    kill_trainer(ready)
    ready.wait_for("failed")
    damaged = max(ready.folder().glob("checkpoints/*/step_*.safetensors"), key=lambda file: file.name)
    content = damaged.read_bytes()
    damaged.unlink()  # it may share its bytes with another attempt's
    damaged.write_bytes(content[:-8])
    ready.good(ready.submit(*ONE))
    ready.wait_for("succeeded")
    assert ready.bundle() == whole.bundle()
    assert [ready.record(number)["state"] for number in (1, 2, 3, 4)] == ["interrupted", "interrupted", "running", "succeeded"]
    assert "is damaged" in (ready.folder() / "train.log").read_text()


def test_of_two_attempts_alive_at_once_only_the_newest_publishes(ready: SlurmStudy, slurm: Slurm, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    ready.good(ready.submit(*ONE, trainer="slow_trainer", SLOW_GATE=gate))
    wait_until((ready.folder() / "attempts" / "001" / "result.json").exists, "attempt 1")
    node = ready.record(1)["scheduler"]["node"]
    slurm.cut_off_node(node)
    try:
        wait_until((ready.folder() / "attempts" / "002" / "result.json").exists, "attempt 2", timeout_s=120)
        assert len(trainers(ready)) == 2, "the first process lives on, though its node is taken for dead"
        wait_until(lambda: ready.record(1)["ended_utc"], "the end of attempt 1")
        gate.touch()
        ready.wait_for("succeeded", timeout_s=240)
    finally:
        slurm.start_node(node)
    assert (ready.record(1)["state"], ready.record(1)["stopped_by"]) == ("interrupted", "a newer attempt")
    assert ready.record(2)["state"] == "succeeded"
    assert ready.job()["result"]["bundle_sha256"] == ready.record(2)["result"]["bundle_sha256"]


def test_a_step_gets_the_cpus_that_were_asked_for(ready: SlurmStudy, slurm: Slurm) -> None:
    ready.good(ready.submit(*ONE, "--cpus-per-task", "3", trainer="idle_trainer"))
    ready.wait_for("succeeded")

    def step_cpus() -> str:
        tag = ready.parts()[0]["tag"]
        rows = slurm.call(
            "sacct", "--name", tag, "--starttime=2026-01-01", "--noheader", "--parsable2", "--format=JobID,AllocCPUS"
        )
        return next((row.split("|")[1] for row in rows.splitlines() if row.split("|")[0].endswith(".0")), "")

    assert wait_until(step_cpus, "the step in sacct") == "3"


def test_jobs_that_a_warning_reaches_between_steps_save_in_time(ready: SlurmStudy, slurm: Slurm) -> None:
    ready.good(ready.submit(*DOSE, trainer="slow_trainer", SLOW_STEP_S=1))
    for job_id in DOSE_IDS:
        ready.wait_for_epochs(1, job_id=job_id)
        kill_trainer(ready, job_id, signal.SIGTERM)
    for job_id in DOSE_IDS:
        wait_until(lambda job_id=job_id: ready.record(1, job_id)["ended_utc"], "an end")  # type: ignore[misc]
        assert (ready.record(1, job_id)["state"], ready.record(1, job_id)["stopped_by"]) == ("interrupted", "SIGTERM")
    ready.wait_for("succeeded", *DOSE_IDS, timeout_s=240)  # the collector job submits them again
    assert {ready.submission(2)["reasons"][job_id] for job_id in DOSE_IDS} == {"interrupted: again, from its checkpoint"}


def test_a_cancel_ends_the_study_and_a_submit_takes_it_up(ready: SlurmStudy, slurm: Slurm) -> None:
    long = ("--set", "training.epochs=100")
    ready.good(ready.submit(*ONE, *long, trainer="idle_trainer", IDLE_STEP_S=1))
    ready.wait_for_attempt(1)
    ready.good(ready.place.run("cancel", "--study-dir", ready.place.study))
    slurm.wait_idle()
    job = ready.collected()
    assert (job["state"], ready.record(1)["stopped_by"]) == ("cancelled", "a cancel")
    assert "nothing to cancel" in ready.place.run("cancel", "--study-dir", ready.place.study).out
    ready.good(ready.submit(*ONE, *long, trainer="idle_trainer"))
    ready.wait_for("succeeded")
    assert ready.job()["scheduler"]["attempts"] == 2


def test_check_has_slurms_own_word_on_the_start_and_leaves_no_job(study: SlurmStudy, slurm: Slurm) -> None:
    def checked(*arguments: str) -> tuple[int, list[dict[str, str]]]:
        answer = study.place.run("check", "--study", SMOKE, "--profile", "test_cluster", "--json", *arguments)
        return answer.code, json.loads(answer.out)["findings"]

    code, findings = checked()
    assert (code, {finding["severity"] for finding in findings}) == (0, {"ok"})
    starts = [finding["sentence"] for finding in findings if finding["subject"] == "start"]
    assert [start.split(" now on ")[0] for start in starts] == [
        "Slurm would start a training",
        "Slurm would start the dataset job",
    ]
    assert any("9 jobs go as 2 arrays, as MaxArraySize is 8" in finding["sentence"] for finding in findings)
    code, findings = checked("--set", "resources.env.X='1'", "--time", "7-00:00:00", "--gpus-per-node", "3")
    assert code == 2
    words = "A job asks for 3 GPUs, and a node of partition gpu has at most 2."
    assert [finding["sentence"] for finding in findings if finding["severity"] == "error"] == [words]
    assert slurm.call("squeue", "--noheader") == ""
    assert study.place.files() == set()


def test_the_cluster_that_make_brings_up_has_what_the_tests_need(slurm: Slurm) -> None:
    config = slurm.call("scontrol", "show", "config")
    partitions = slurm.call("sinfo", "--noheader", "--format=%R %D").split("\n")
    assert "MaxArraySize            = 8" in config
    assert {"cpu 1", "gpu 3", "spot 3"} <= set(partitions)
    assert (REPOSITORY / "Makefile").read_text().count("batch/test_cluster/cluster.py") == 2
