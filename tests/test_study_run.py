"""The smoke study from end to end on the local executor, and everything that may come between."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import REPOSITORY, SMOKE, Workplace
from finished_study import Finished
from local_study import LocalStudy

from fly64_hpc import checkpoint_index
from fly64_hpc.errors import StudyDirectoryError
from ptycho_torch.config import sha256_file

ONE = ("--dose", "1000", "--view", "baseline")
ONE_ID = "dose_1000-baseline-gs1"
GIVEN_NAMES = (
    "views",
    "files",
    "counts",
    "train",
    "test",
    "constants",
    "env",
    "conventions",
    "recipe",
    "started",
    "ended",
    "solvers",
    "verified",
)
"""Keys of the study's files below which stand names that are no keys of ours, or what the reference says in a sentence."""


@pytest.fixture
def copy(finished: Finished, tmp_path: Path) -> Workplace:
    """The finished study, in another place, to be harmed."""
    shutil.copytree(finished.place.folder, tmp_path, symlinks=True, dirs_exist_ok=True)
    return Workplace(tmp_path)


def wait_until(condition: Callable[[], Any], timeout_s: float = 60) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return value


def test_nine_jobs_succeed_and_stdout_manifest_and_file_agree(finished: Finished) -> None:
    place, printed = finished.place, finished.printed
    jobs = place.manifest()["jobs"]
    assert place.manifest()["counts"]["succeeded"] == len(jobs) == 9
    for job in jobs:
        digest = job["result"]["bundle_sha256"]
        assert digest == sha256_file(place.study / job["result"]["bundle_path"])
        assert f"[{job['view']}/dose={job['dose']:.0e}] sha256 {digest}" in printed


def test_every_path_of_the_manifest_is_relative_and_there(finished: Finished) -> None:
    place = finished.place
    for job in place.manifest()["jobs"]:
        for key in ("train_data_path", "test_data_path", "log_path", "artifact_dir"):
            assert not Path(job[key]).is_absolute()
            assert (place.study / job[key]).exists()
        assert job["train_data_sha256"] == sha256_file(place.study / job["train_data_path"])


def test_the_record_of_each_job_is_complete(finished: Finished) -> None:
    job = finished.place.job(ONE_ID)
    assert job["scheduler"]["executor"] == "local"
    assert job["scheduler"]["attempts"] == 1
    assert job["scheduler"]["elapsed_s"] > 0
    assert job["result"]["epochs_completed"] == 4
    assert job["result"]["metrics"]["held_out_deviance"] < job["result"]["metrics"]["untrained_deviance"]


def _undocumented(value: Any, known: str) -> set[str]:
    """Keys of a JSON value, but for names that a study gives."""
    if isinstance(value, list):
        return set().union(*(_undocumented(one, known) for one in value))
    if not isinstance(value, dict):
        return set()
    inner = [one for key, one in value.items() if key not in GIVEN_NAMES]
    return {key for key in value if f"`{key}`" not in known}.union(*(_undocumented(one, known) for one in inner))


def test_every_key_of_every_file_is_in_the_reference(finished: Finished) -> None:
    study, reference = finished.place.study, (REPOSITORY / "docs" / "reference.md").read_text()
    files = [file for file in study.rglob("*.json") if file.parent.name != "dense" and ".lock" not in file.name]
    assert len(files) > 20
    for file in files:
        assert not _undocumented(json.loads(file.read_text()), reference), file


def test_the_same_submit_again_trains_nothing(copy: Workplace) -> None:
    before = {job["job_id"]: job["scheduler"]["attempts"] for job in copy.manifest()["jobs"]}
    answer = copy.submit("--executor", "local", "--wait")
    assert answer.code == 0
    assert "0 jobs to submit, 9 succeeded or at work already" in answer.out
    assert {job["job_id"]: job["scheduler"]["attempts"] for job in copy.manifest()["jobs"]} == before


def test_a_deleted_bundle_turns_its_job_to_failed_and_submit_brings_it_back(copy: Workplace) -> None:
    bundle = copy.study / copy.job(ONE_ID)["result"]["bundle_path"]
    digest = sha256_file(bundle)
    bundle.unlink()
    answer = copy.run("collect", "--study-dir", copy.study)
    assert answer.code == 1
    assert f"{ONE_ID}: failed: the bundle is missing" in answer.out
    assert (copy.job(ONE_ID)["state"], copy.job(ONE_ID)["result"]) == ("failed", None)
    assert copy.submit("--executor", "debug").code == 0
    assert copy.job(ONE_ID)["result"]["bundle_sha256"] == digest


def test_an_altered_bundle_is_failed_with_both_hashes(copy: Workplace) -> None:
    bundle = copy.study / copy.job(ONE_ID)["result"]["bundle_path"]
    recorded = sha256_file(bundle)
    bundle.write_bytes(bundle.read_bytes()[:-1] + b"\x00")
    assert copy.run("collect", "--study-dir", copy.study).code == 1
    reason = copy.job(ONE_ID)["state_reason"]
    assert recorded in reason
    assert sha256_file(bundle) in reason


def test_a_result_that_is_cut_off_is_unknown_and_named(copy: Workplace) -> None:
    result = copy.study / copy.job(ONE_ID)["artifact_dir"] / "attempts" / "001" / "result.json"
    result.write_text(result.read_text()[:100])
    assert copy.run("collect", "--study-dir", copy.study).code == 1
    assert copy.job(ONE_ID)["state"] == "unknown"
    assert "result.json of attempt 1 is damaged" in copy.job(ONE_ID)["state_reason"]


def test_a_study_that_was_moved_is_collected_as_it_was(copy: Workplace) -> None:
    before = copy.states()
    moved = copy.folder / "elsewhere"
    copy.study.rename(moved)
    assert copy.run("collect", "--study-dir", moved).code == 0
    assert {job["job_id"]: job["state"] for job in json.loads((moved / "training_manifest.json").read_text())["jobs"]} == before
    assert checkpoint_index.load(moved / "checkpoint_index.json").best(dose=1e3, view="dense", gridsize=2).exists()


def test_the_index_verifies_before_it_hands_out_a_path(copy: Workplace) -> None:
    index = checkpoint_index.load(copy.study / "checkpoint_index.json")
    best = index.best(dose=1e4, view="sparse", gridsize=2)
    best.write_bytes(best.read_bytes() + b"x")
    with pytest.raises(StudyDirectoryError, match=r"is damaged: its sha256 is .*, the index has"):
        index.best(dose=1e4, view="sparse", gridsize=2)
    with pytest.raises(StudyDirectoryError, match="is in no job of the study"):
        index.last(dose=2e4, view="sparse", gridsize=2)


def test_the_index_lists_best_and_last_of_every_job(finished: Finished) -> None:
    rows = json.loads((finished.place.study / "checkpoint_index.json").read_text())["checkpoints"]
    for kind in ("best", "last"):
        assert len({row["job_id"] for row in rows if row["kind"] == kind}) == 9
    assert all(row["sha256"] == sha256_file(finished.place.study / row["path"]) for row in rows)


def test_collectors_at_once_and_killed_ones_leave_whole_files(copy: Workplace) -> None:
    command = [sys.executable, "-m", "fly64_hpc.collect", "--study-dir", str(copy.study)]
    for delay_s in (0.2, 0.3, 0.4):
        collectors = [subprocess.Popen(command, cwd=copy.folder, stdout=subprocess.DEVNULL) for _ in range(2)]
        time.sleep(delay_s)
        collectors[0].kill()
        assert collectors[1].wait() == 0
        collectors[0].wait()
        assert copy.manifest()["counts"]["succeeded"] == 9
        assert len(json.loads((copy.study / "checkpoint_index.json").read_text())["checkpoints"]) >= 18
    assert copy.run("collect", "--study-dir", copy.study).code == 0


def test_another_version_of_the_study_is_refused_naming_the_keys(copy: Workplace) -> None:
    before = copy.files()
    answer = copy.submit("--executor", "local", "--set", "training.epochs=5", "--set", "scan.jitter_px=2.0")
    assert answer.code == 2
    assert "scan.jitter_px: 1.0 -> 2.0; training.epochs: 3 -> 5" in answer.err
    assert copy.files() == before


def test_a_dose_that_was_added_submits_only_its_own_cells(copy: Workplace) -> None:
    answer = copy.submit("--executor", "debug", "--set", "design.doses_photons=[1e3, 1e4, 1e5, 2e5]", "--view", "baseline")
    assert answer.code == 0
    assert "1 jobs to submit, 3 succeeded or at work already" in answer.out
    assert copy.states()["dose_200000-baseline-gs1"] == "succeeded"


def test_one_job_alone_gives_the_same_bytes_on_another_executor(finished: Finished, tmp_path: Path) -> None:
    place = Workplace(tmp_path)
    assert place.submit("--executor", "debug", *ONE).code == 0
    assert place.job(ONE_ID)["result"]["bundle_sha256"] == finished.place.job(ONE_ID)["result"]["bundle_sha256"]
    assert sorted(place.states().values()) == ["pending"] * 8 + ["succeeded"]
    assert place.job("dose_1000-dense-gs2")["state_reason"] == "not submitted"


def slow(place: Workplace, **variables: str) -> Workplace:
    """The same place, where jobs are trained by the slow trainer."""
    path = f"{REPOSITORY}:{REPOSITORY / 'tests'}"
    return Workplace(place.folder, {"FLY64_TRAINER": "slow_trainer", "PYTHONPATH": path} | variables)


def kill_in_training(place: Workplace) -> None:
    """SIGKILL the process of the first attempt once it has saved two epochs."""
    root = place.study / "phase_e_training" / "dose_1000" / "baseline" / "gs1"
    result, history = root / "attempts" / "001" / "result.json", root / "history.jsonl"
    wait_until(lambda: history.exists() and len(history.read_text().splitlines()) >= 2)
    os.kill(json.loads(result.read_text())["process"]["pid"], signal.SIGKILL)


def test_a_killed_training_goes_on_from_its_checkpoint_to_the_same_bytes(tmp_path: Path) -> None:
    whole, killed = Workplace(tmp_path / "whole"), Workplace(tmp_path / "killed")
    for place in (whole, killed):
        place.folder.mkdir()
    waits_for_ever = {"SLOW_GATE": str(tmp_path / "gate"), "SLOW_FROM": "13"}
    assert slow(killed, **waits_for_ever).submit("--executor", "local", *ONE).code == 0
    kill_in_training(killed)
    wait_until(lambda: killed.run("collect", "--study-dir", killed.study).code == 1)
    assert killed.job(ONE_ID)["state_reason"].startswith("killed: process")
    assert killed.submit("--executor", "local", *ONE, "--wait").code == 0
    assert whole.submit("--executor", "debug", *ONE).code == 0
    record = json.loads((killed.study / "phase_e_training/dose_1000/baseline/gs1/attempts/002/result.json").read_text())
    assert record["result"]["resumed_from"] is not None
    assert killed.job(ONE_ID)["result"]["bundle_sha256"] == whole.job(ONE_ID)["result"]["bundle_sha256"]


def test_a_supervisor_that_is_killed_leaves_the_rest_pending_and_the_next_submit_goes_on(prepared: Path, tmp_path: Path) -> None:
    study = LocalStudy(tmp_path, prepared, step_s=1)
    place = study.place
    assert study.submit("--dose", "1000", "--set", f"training.threads={os.cpu_count()}").code == 0
    supervisor = json.loads((place.study / "submissions" / "0001.supervisor.json").read_text())["process"]["pid"]
    os.kill(supervisor, signal.SIGKILL)
    wait_until(lambda: place.run("collect", "--study-dir", place.study) and "running" not in place.states().values())
    left = [job for job in place.manifest()["jobs"] if job["dose"] == 1000 and job["state"] == "pending"]
    assert len(left) >= 2
    assert left[-1]["state_reason"] == "the supervisor ended before it started this job; submit again"
    assert study.submit("--dose", "1000", "--wait").code == 0
    assert [state for job, state in place.states().items() if job.startswith("dose_1000-")] == ["succeeded"] * 3


def test_waiting_for_jobs_that_nobody_trains_ends_with_1(tmp_path: Path) -> None:
    place = Workplace(tmp_path)
    command = [sys.executable, "-m", "fly64_hpc.submit", "--study", str(SMOKE), "--executor", "local", "--dose", "1000", "--wait"]
    waiting = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    record = place.study / "submissions" / "0001.supervisor.json"
    wait_until(record.exists)
    os.kill(json.loads(record.read_text())["process"]["pid"], signal.SIGKILL)
    assert waiting.wait(120) == 1


def test_a_job_that_failed_earlier_does_not_count_where_it_was_not_asked_for(tmp_path: Path) -> None:
    place = Workplace(tmp_path)
    assert place.submit("--executor", "debug", *ONE, "--set", "training.device=cuda").code == 1
    assert place.submit("--executor", "debug", "--dose", "1e4", "--view", "baseline").code == 0
    assert place.run("collect", "--study-dir", place.study).code == 1


def test_two_submits_at_once_train_a_job_once(tmp_path: Path) -> None:
    place = Workplace(tmp_path)
    command = [sys.executable, "-m", "fly64_hpc.submit", "--study", str(SMOKE), "--executor", "local", *ONE, "--wait"]
    submits = [subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL) for _ in range(2)]
    assert [submit.wait(120) for submit in submits] == [0, 0]
    assert place.job(ONE_ID)["scheduler"]["attempts"] == 1


def test_a_later_attempt_that_was_killed_does_not_undo_a_success(copy: Workplace) -> None:
    (copy.study / copy.job(ONE_ID)["artifact_dir"] / "attempts" / "002").mkdir()
    assert copy.run("collect", "--study-dir", copy.study).code == 0
    assert copy.job(ONE_ID)["state"] == "succeeded"


def test_a_deleted_bundle_is_waited_for_while_it_is_trained_again(copy: Workplace) -> None:
    (copy.study / copy.job(ONE_ID)["result"]["bundle_path"]).unlink()
    answer = copy.submit("--executor", "local", *ONE, "--wait")
    assert answer.code == 0, answer.out
    assert copy.job(ONE_ID)["state"] == "succeeded"


def test_nobody_listening_does_not_end_the_work(tmp_path: Path) -> None:
    place = Workplace(tmp_path)
    command = f"{sys.executable} -m fly64_hpc.submit --study {SMOKE} --executor debug --dose 1000 --view baseline 2>&1 | head -1"
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True, capture_output=True)
    wait_until(lambda: (place.study / "training_manifest.json").exists())
    wait_until(lambda: place.run("collect", "--study-dir", place.study) and place.states()[ONE_ID] == "succeeded")


@pytest.mark.parametrize(
    ("file", "text", "code"),
    [
        ("training_manifest.json", "[]", 0),
        ("phase_e_training/dose_1000/baseline/gs1/history.jsonl", "\x00{", 0),
        ("phase_e_training/dose_1000/baseline/gs1/checkpoints/001/step_00000018.json", "{}", 0),
        ("phase_e_training/dose_1000/baseline/gs1/job.json", "", 1),
        ("skip_summary.json", "{}", 2),
        ("submissions/0001.json", "{}", 2),
        ("submissions/0001.supervisor.json", "{}", 2),
        ("study.json", '{"schema_version": 99}', 2),
    ],
)
@pytest.mark.parametrize("verb", ["collect", "status"])
def test_a_damaged_file_costs_what_it_held_and_is_named(copy: Workplace, verb: str, file: str, text: str, code: int) -> None:
    (copy.study / file).write_text(text)
    answer = copy.run(verb, "--study-dir", copy.study)
    assert answer.code == code, answer.err
    assert "Traceback" not in answer.err
    assert code != 2 or Path(file).name in answer.err


def test_a_view_that_cannot_be_made_is_a_skip_with_its_reason(tmp_path: Path) -> None:
    place = Workplace(tmp_path)
    answer = place.submit("--executor", "debug", "--dose", "1000", "--set", "design.views.sparse.image_fraction=0.02",
                          "--set", "design.views.dense.image_fraction=0.01")  # fmt: skip
    assert answer.code == 0
    skips = json.loads((place.study / "skip_summary.json").read_text())
    assert [skip["view"] for skip in skips["skipped_views"]] == ["dense", "sparse"]
    manifest = place.manifest()
    assert manifest["skipped_views"] == skips["skipped_views"]
    assert place.states()["dose_1000-sparse-gs2"] == "skipped"
    assert place.job("dose_1000-sparse-gs2")["state_reason"] == skips["skipped_views"][1]["reason"]


def test_a_training_that_raises_is_failed_with_type_message_and_traceback(tmp_path: Path) -> None:
    place = Workplace(tmp_path)
    assert place.submit("--executor", "debug", *ONE, "--set", "training.device=cuda").code == 1
    job = place.job(ONE_ID)
    assert (job["state"], job["error"]["type"]) == ("failed", "DeviceError")
    assert "DeviceError" in (place.study / job["error"]["traceback_path"]).read_text()
    assert job["error"]["hint"]


def test_data_that_changed_after_submit_fail_the_job_instead_of_training_it(copy: Workplace) -> None:
    (copy.study / copy.job(ONE_ID)["result"]["bundle_path"]).unlink()
    spec = copy.study / copy.job(ONE_ID)["artifact_dir"] / "job.json"
    job = json.loads(spec.read_text())
    job["train_data"]["sha256"] = "0" * 64
    spec.write_text(json.dumps(job))
    from fly64_hpc.train_task import run_job

    assert run_job(str(copy.study), ONE_ID) == "failed"
    copy.run("collect", "--study-dir", copy.study)
    assert "has changed since the job was submitted" in copy.job(ONE_ID)["state_reason"]


def test_status_and_json_say_what_the_manifest_says(finished: Finished) -> None:
    place = finished.place
    table = place.run("status", "--study-dir", place.study)
    assert table.code == 0
    assert table.out.count("succeeded") == 10
    machine = place.run("status", "--study-dir", place.study, "--json")
    assert {row["job"]: row["state"] for row in json.loads(machine.out)["jobs"]} == place.states()
    assert json.loads(place.run("collect", "--study-dir", place.study, "--json").out)["counts"]["succeeded"] == 9


def test_datasets_that_exist_already_are_trained_on_and_marked_external(finished: Finished, tmp_path: Path) -> None:
    place, roots = Workplace(tmp_path), finished.place.study / "data"
    answer = place.submit(
        "--executor", "debug", "--dose", "1000", "--phase-c-root", roots / "phase_c", "--phase-d-root", roots / "phase_d"
    )
    assert answer.code == 0, answer.err
    job = place.job("dose_1000-sparse-gs2")
    assert (job["external"], job["state"]) == (True, "succeeded")
    assert job["train_data_path"] == str(roots / "phase_d" / "dose_1000" / "sparse" / "sparse_train.npz")
    assert not (place.study / "data").exists()
