"""The Slurm executor against a small stateful Slurm at the process boundary: sbatch, srun, squeue, sacct, scancel."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command import REPOSITORY, Workplace

DOSE = ("--dose", "1000")
IDS = ("dose_1000-baseline-gs1", "dose_1000-dense-gs2", "dose_1000-sparse-gs2")


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    """A folder with a fake Slurm of its own on the PATH."""
    programs, state, folder = (tmp_path / name for name in ("bin", "slurm", "work"))
    for path in (programs, state, folder):
        path.mkdir()
    for name in ("sbatch", "srun", "squeue", "sacct", "scancel"):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {REPOSITORY}/tests/fake_slurm/fake_slurm.py {name} "$@"\n')
        program.chmod(0o755)
    return Workplace(folder, {"PATH": f"{programs}:{os.environ['PATH']}", "FAKE_SLURM": str(state)})


def state(place: Workplace) -> Path:
    assert place.environment is not None
    return Path(place.environment["FAKE_SLURM"])


def collect_until_ended(place: Workplace) -> int:
    deadline = time.monotonic() + 120
    while True:
        answer = place.run("collect", "--study-dir", place.study)
        if not {"running"} & set(place.states().values()) and not any(
            place.job(job)["state_reason"].startswith("squeue") for job in IDS
        ):
            return answer.code
        assert time.monotonic() < deadline, answer.out
        time.sleep(0.5)


def test_an_array_of_three_succeeds_with_the_script_that_print_only_showed(place: Workplace) -> None:
    printed = place.submit("--partition", "gpu", *DOSE, "--print-only").out
    answer = place.submit("--partition", "gpu", *DOSE)
    assert answer.code == 0, answer.err
    script = (state(place) / "job_1000" / "script.sh").read_text()
    assert script in printed
    assert collect_until_ended(place) == 0
    assert [place.states()[job] for job in IDS] == ["succeeded"] * 3
    scheduler = place.job(IDS[1])["scheduler"]
    assert (scheduler["executor"], scheduler["job_id"], scheduler["array_index"], scheduler["partition"]) == (
        "slurm",
        "1000",
        1,
        "gpu",
    )
    assert "0 jobs to submit, 3 succeeded or at work already" in place.submit(*DOSE).out


def test_banners_round_the_answer_do_not_change_the_id(place: Workplace) -> None:
    (state(place) / "banner").write_text("Welcome! Your previous job 42 is done.")
    assert "array 1000" in place.submit("--view", "baseline", *DOSE).out


def test_a_refusal_is_exit_2_with_the_words_of_sbatch_and_nothing_submitted(place: Workplace) -> None:
    (state(place) / "refuse").write_text("sbatch: error: invalid partition specified: moon")
    answer = place.submit("--partition", "moon", *DOSE)
    assert answer.code == 2
    assert "invalid partition specified: moon" in answer.err
    assert not list((place.study / "submissions").glob("*.json"))
    assert place.run("status", "--study-dir", place.study).out.count("not submitted") == 9


def test_an_answer_that_is_none_is_found_by_name_and_nothing_is_submitted_twice(place: Workplace) -> None:
    (state(place) / "mumble").write_text("slurm: something, somehow")
    answer = place.submit("--view", "baseline", *DOSE)
    assert answer.code == 2
    assert "leaves open whether it took the submission" in answer.err
    (state(place) / "mumble").unlink()
    assert "0 jobs to submit, 1 succeeded or at work already" in place.submit("--view", "baseline", *DOSE).out
    assert len(list(state(place).glob("job_*"))) == 1
    subprocess.run(["scancel", "1000"], env=os.environ | (place.environment or {}), check=True)


def test_while_squeue_is_silent_nothing_that_may_run_is_submitted_again(place: Workplace) -> None:
    place.submit("--view", "baseline", *DOSE)
    collect_until_ended(place)
    for result in place.study.rglob("result.json"):
        result.unlink()
    (state(place) / "down").touch()
    answer = place.submit("--view", "baseline", *DOSE)
    assert answer.code == 2
    assert "may be running" in answer.err
    assert "Submit again when squeue answers" in answer.err
    assert len(list(state(place).glob("job_*"))) == 1


def test_an_account_of_digits_reaches_sbatch_as_it_was_typed(place: Workplace) -> None:
    assert "#SBATCH --account=007\n" in place.submit("--account", "007", "--print-only").out


def test_one_squeue_and_one_sacct_a_look_whatever_the_number_of_jobs(place: Workplace) -> None:
    place.submit(*DOSE)
    collect_until_ended(place)
    (state(place) / "calls").unlink()
    place.run("status", "--study-dir", place.study)
    calls = (state(place) / "calls").read_text().splitlines()
    assert sorted(call.split()[0] for call in calls) == ["sacct", "squeue"]


@pytest.mark.parametrize("fault", ["no_sacct", "down"])
def test_the_records_of_the_nodes_prove_success_without_the_scheduler(place: Workplace, fault: str) -> None:
    place.submit("--view", "baseline", *DOSE)
    (state(place) / fault).touch()
    deadline = time.monotonic() + 60
    while place.run("collect", "--study-dir", place.study) and place.states()[IDS[0]] != "succeeded":
        assert time.monotonic() < deadline
        time.sleep(0.5)
    answer = place.run("collect", "--study-dir", place.study)
    assert answer.code == 0
    assert "warning: sacct failed" in answer.out


def test_a_job_that_was_cancelled_is_cancelled_and_can_be_submitted_again(place: Workplace) -> None:
    place.submit("--view", "baseline", *DOSE, "--set", "training.epochs=4000")
    deadline = time.monotonic() + 60
    while (state(place) / "job_1000" / "0").read_text() != "RUNNING":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)
    subprocess.run(["scancel", "1000"], env=os.environ | (place.environment or {}), check=True)
    time.sleep(0.5)
    assert place.run("collect", "--study-dir", place.study).code == 1
    assert place.states()[IDS[0]] == "cancelled"
    assert "CANCELLED by 0" in place.job(IDS[0])["state_reason"]


def test_a_setup_line_that_fails_fails_the_job(place: Workplace) -> None:
    place.submit("--view", "baseline", *DOSE, "--set", "resources.setup=[module_that_is_absent load]")
    assert collect_until_ended(place) == 1
    assert place.states()[IDS[0]] == "failed"
    assert "sacct: FAILED" in place.job(IDS[0])["state_reason"]
