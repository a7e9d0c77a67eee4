"""The tests' own Slurm: it must say and do what the real one (22.05.8, batch/test_cluster) was seen to say and do."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_slurm.cluster import FakeSlurm, FakeSlurmError
from fake_slurm.processes import processes_by_run

QUEUE = ("squeue", "--noheader", "--states=all", "--format=%i|%T|%r|%N")
STUBBORN = """srun sh -c 'trap "echo got USR2" USR2; trap "" TERM; echo ready; while :; do sleep 0.05; done'"""
"""A step that notes its warning and ends by SIGKILL only."""
UNTIL_GO = "while [ ! -e go ]; do sleep 0.05; done"
"""In the folder from which it was submitted."""
LEAVING = """srun sh -c 'trap "exit 75" USR2; echo ready; while :; do sleep 0.05; done'"""
BY = f"CANCELLED by {os.getuid()}"


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[FakeSlurm]:
    slurm = FakeSlurm(tmp_path / "slurm", kill_wait_s=0.5, requeue_delay_s=3, node_timeout_s=0.5, minute_s=1)
    slurm.up()
    yield slurm
    slurm.down()
    assert not processes_by_run(slurm.folder)


def submit(slurm: FakeSlurm, body: str, *options: str, **lines: str) -> str:
    """Submit a script of these commands to partition gpu; its id is returned."""
    named = {"job_name": "law", "partition": "gpu", "output": "out_%A_%a.txt", "open_mode": "append"} | lines
    head = "".join(f"#SBATCH --{name.replace('_', '-')}={value}\n" for name, value in named.items())
    script = slurm.folder / "submitted.sh"
    script.write_text(f"#!/bin/bash\n{head}set -e\n{body}\n")
    return slurm.call("sbatch", "--parsable", *options, str(script)).strip()


def queue(slurm: FakeSlurm, *options: str) -> list[str]:
    return slurm.call(*QUEUE, *options).splitlines()


def sacct(slurm: FakeSlurm, fields: str, *options: str) -> list[str]:
    return slurm.call("sacct", "--noheader", "--parsable2", "--format", fields, *options).splitlines()


def failure(slurm: FakeSlurm, *command: str) -> str:
    with pytest.raises(FakeSlurmError) as error:
        slurm.call(*command)
    return str(error.value).partition(" failed: ")[2]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.03)


def test_an_array_waits_as_one_row_and_runs_as_many_at_once_as_it_may(slurm: FakeSlurm) -> None:
    job = submit(slurm, "srun --output=step_%A_%a_%j_%t.txt echo in the step\n" + UNTIL_GO, array="0-3%2")
    slurm.wait_for(f"{job}_1", "RUNNING")
    assert queue(slurm, f"--jobs={job}") == [
        f"{job}_[2-3%2]|PENDING|JobArrayTaskLimit|",
        f"{job}_0|RUNNING|None|g1",
        f"{job}_1|RUNNING|None|g1",
    ]
    assert queue(slurm, "--array", "--jobs", job)[:2] == [f"{job}_{index}|PENDING|JobArrayTaskLimit|" for index in (2, 3)]
    assert (
        sacct(slurm, "JobID,State,NodeList,Start", "--allocations", "--jobs", job)[-1]
        == f"{job}_[2-3%2]|PENDING|None assigned|Unknown"
    )
    (slurm.folder / "go").touch()
    slurm.wait_idle()
    rows = sacct(slurm, "JobID,JobName,State,ExitCode,NodeList,ReqMem")
    assert rows[:3] == [
        f"{job}_0|law|COMPLETED|0:0|g1|100M",
        f"{job}_0.batch|batch|COMPLETED|0:0|g1|",
        f"{job}_0.0|echo|COMPLETED|0:0|g1|",
    ]
    # The first tasks get numbers of their own, the last one keeps the array's.
    assert sorted(path.name for path in slurm.folder.glob("step_*.txt")) == [
        "step_1000_0_1001_0.txt",
        "step_1000_1_1002_0.txt",
        "step_1000_2_1003_0.txt",
        "step_1000_3_1000_0.txt",
    ]


def test_a_job_has_the_variables_of_slurm_and_the_environment_of_sbatch(
    slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THE_SUBMITTER", "kept")
    submit(slurm, "srun env", array="0,3,5")
    slurm.wait_idle()
    variables = dict(line.split("=", 1) for line in (slurm.folder / "out_1000_3.txt").read_text().splitlines() if "=" in line)
    expected = {
        "OF_THE_SUBMITTER": "kept",
        "SLURM_ARRAY_JOB_ID": "1000",
        "SLURM_ARRAY_TASK_ID": "3",
        "SLURM_JOB_PARTITION": "gpu",
        "SLURMD_NODENAME": "g1",
        "SLURM_JOB_NODELIST": "g1",
        "SLURM_PROCID": "0",
        "SLURM_CONF": str(slurm.folder / "slurm.conf"),
    }
    assert expected.items() <= variables.items()
    assert "SLURM_RESTART_COUNT" not in variables


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ("--partition=moon",),
            "sbatch: error: invalid partition specified: moon\n"
            "sbatch: error: Batch job submission failed: Invalid partition name specified",
        ),
        (("--array", "0-1001"), "sbatch: error: Batch job submission failed: Invalid job array specification"),
        (("--exclude=g[1-2],g3",), "sbatch: error: Batch job submission failed: Requested node configuration is not available"),
        (("--exclude=moon",), "sbatch: error: Batch job submission failed: Invalid node name specified"),
        (("--dependency=before:1",), "sbatch: error: Batch job submission failed: Job dependency problem"),
        (("--test-only", "--array=0-1001"), "allocation failure: Invalid job array specification"),
        (("--bogus",), "sbatch: unrecognized option '--bogus'\nTry \"sbatch --help\" for more information"),
    ],
)
def test_sbatch_refuses_in_slurms_own_words(slurm: FakeSlurm, options: tuple[str, ...], words: str) -> None:
    assert failure(slurm, "sbatch", "--partition", "gpu", *options, "--wrap", "true") == words
    assert slurm.job_ids() == []


@pytest.mark.parametrize(
    ("body", "row", "steps"),
    [
        ("exit 200", "FAILED|72:0", ["FAILED|72:0"]),
        ("kill -9 $$", "FAILED|0:9", ["CANCELLED|0:9"]),
        ("srun sh -c 'exit 3'", "FAILED|3:0", ["FAILED|3:0", "FAILED|3:0"]),
        ("srun sh -c 'kill -9 $$'", "FAILED|9:0", ["FAILED|9:0", "CANCELLED|0:9"]),
        ("srun sh -c 'kill -9 $$' || true", "COMPLETED|0:0", ["COMPLETED|0:0", "CANCELLED|0:9"]),
    ],
)
def test_exit_codes_are_as_sacct_has_them(slurm: FakeSlurm, body: str, row: str, steps: list[str]) -> None:
    submit(slurm, body)
    slurm.wait_idle()
    assert sacct(slurm, "State,ExitCode") == [row, *steps]


def test_output_that_cannot_be_opened_is_a_launch_failure(slurm: FakeSlurm) -> None:
    job = submit(slurm, "true", output="/nowhere/at/all")
    slurm.wait_idle()
    assert sacct(slurm, "State,ExitCode", "-X") == ["FAILED|0:53"]
    assert queue(slurm, "--jobs", job) == [f"{job}|FAILED|JobLaunchFailure|g1"]


def test_what_waits_for_a_success_that_never_comes_is_cancelled_or_waits_for_ever(slurm: FakeSlurm) -> None:
    first = submit(slurm, f"{UNTIL_GO}; [ $SLURM_ARRAY_TASK_ID = 0 ]", array="0-1")
    after = f"--dependency=afterok:{first}"
    killed = submit(slurm, "true", after, "--kill-on-invalid-dep=yes", array="0-3%2")
    waits = submit(slurm, "true", "--dependency", f"afterok:{first}", array="0-1")
    runs = submit(slurm, "true", f"--dependency=afterany:{first}", "--kill-on-invalid-dep=yes")
    until(lambda: queue(slurm, "--jobs", waits) == [f"{waits}_[0-1]|PENDING|Dependency|"])
    (slurm.folder / "go").touch()
    slurm.wait_for(f"{killed}_0", "CANCELLED")
    slurm.wait_for(runs, "COMPLETED")
    assert queue(slurm, "--jobs", f"{killed},{waits}") == [
        f"{killed}_[0-3%2]|CANCELLED|DependencyNeverSatisfied|",
        f"{waits}_[0-1]|PENDING|DependencyNeverSatisfied|",
    ]
    rows = sacct(slurm, "JobID,State,ExitCode,NodeList,Start", "--jobs", f"{killed},{waits}")
    assert rows == [f"{killed}_[0-3%2]|CANCELLED|0:0|None assigned|None", f"{waits}_[0-1]|PENDING|0:0|None assigned|Unknown"]
    # What never could start is not among those that sacct finds by a name.
    ids = sacct(slurm, "JobID", "--name=law", "-X")
    assert not {f"{killed}_[0-3%2]", f"{waits}_[0-1]"} & set(ids)


def test_scancel_ends_what_runs_by_sigterm_and_then_by_sigkill(slurm: FakeSlurm) -> None:
    job = submit(slurm, STUBBORN.replace("srun", "srun --error=step_%A.err"), array="0-2%1")
    slurm.wait_for_step(f"{job}_0")
    slurm.call("scancel", f"{job}_2")
    slurm.call("scancel", f"{job}_0")
    slurm.wait_for(f"{job}_0", "COMPLETING")
    rows = [f"{BY}|0:0", "CANCELLED|0:15", "CANCELLED|0:0"]
    until(lambda: sacct(slurm, "State,ExitCode", "-j", f"{job}_0") == rows)
    slurm.wait_for(f"{job}_0", "CANCELLED")
    assert sacct(slurm, "State,ExitCode", "-j", f"{job}_0") == [*rows[:2], "CANCELLED|0:9"]
    assert "error: *** STEP 1001.0 ON g1 CANCELLED AT 20" in (slurm.folder / f"step_{job}.err").read_text()
    slurm.call("scancel", "--name", "law")
    slurm.wait_idle()
    assert set(slurm.states().values()) == {"CANCELLED"}
    slurm.call("scancel", "4242")  # no error, as with the real one


def test_a_requeued_task_begins_again_after_a_while(slurm: FakeSlurm) -> None:
    job = submit(slurm, f"echo count $SLURM_RESTART_COUNT\n{STUBBORN}", array="0-0")
    slurm.wait_for_step(f"{job}_0")
    slurm.call("scontrol", "requeue", f"{job}_0")
    slurm.wait_for(f"{job}_0", "COMPLETING")
    slurm.wait_for(f"{job}_0", "PENDING")
    assert queue(slurm, "--array", "--jobs", job) == [f"{job}_0|PENDING|BeginTime|"]
    assert sacct(slurm, "JobID,State", "-X", "-j", job) == [f"{job}_0|REQUEUED"]  # the database does not know yet
    slurm.wait_for_step(f"{job}_0")
    assert sacct(slurm, "State", "-X", "-j", job, "--duplicates") == ["REQUEUED", "RUNNING"]
    assert sacct(slurm, "State", "-X", "-j", job) == ["RUNNING"]
    assert (slurm.folder / f"out_{job}_0.txt").read_text().count("count 1") == 1
    assert failure(slurm, "scontrol", "requeue", "4242") == "Invalid job id specified for job 4242"


def test_the_warning_goes_to_the_step_before_the_time_is_up(slurm: FakeSlurm) -> None:
    job = submit(slurm, STUBBORN, time="3", signal="USR2@120")
    slurm.wait_for(job, "TIMEOUT")
    assert "got USR2" in (slurm.folder / f"out_{job}_4294967294.txt").read_text()
    assert queue(slurm, "--jobs", job) == [f"{job}|TIMEOUT|TimeLimit|g1"]
    assert sacct(slurm, "State,ExitCode") == ["TIMEOUT|0:0", "CANCELLED|0:15", "CANCELLED|0:9"]


def test_preemption_requeues_what_ignores_it_and_not_what_leaves_by_itself(slurm: FakeSlurm) -> None:
    stays = submit(slurm, STUBBORN, signal="USR2@60")
    leaves = submit(slurm, LEAVING, signal="USR2@60")
    outputs = [slurm.folder / f"out_{job}_4294967294.txt" for job in (stays, leaves)]
    until(lambda: all(path.exists() and "ready" in path.read_text() for path in outputs))
    for job in (stays, leaves):
        slurm.preempt(job, grace_s=0.5)
    slurm.wait_for(leaves, "FAILED")
    slurm.wait_for(stays, "PENDING")
    slurm.wait_for(stays, "RUNNING")
    rows = sacct(slurm, "JobID,State,ExitCode", "-X", "--duplicates")
    assert rows == [f"{stays}|PREEMPTED|0:0", f"{stays}|RUNNING|0:0", f"{leaves}|FAILED|75:0"]


def test_a_crashed_node_takes_its_processes_and_its_jobs_run_elsewhere(slurm: FakeSlurm) -> None:
    again = submit(slurm, STUBBORN)
    never = submit(slurm, STUBBORN, "--no-requeue")
    pids = [slurm.wait_for_step(job) for job in (again, never)]
    slurm.crash_node("g1")
    assert not any(Path(f"/proc/{pid}/cwd").exists() for pid in pids)
    assert slurm.states() == {again: "RUNNING", never: "RUNNING"}  # the controller does not know yet
    slurm.wait_for(never, "NODE_FAIL")
    slurm.wait_for(again, "RUNNING")
    assert sacct(slurm, "State,NodeList", "-X", "-D", "-j", again) == ["NODE_FAIL|g1", "RUNNING|g2"]
    slurm.start_node("g1")
    slurm.wait_for(submit(slurm, "true"), "COMPLETED")


def test_a_node_that_is_cut_off_keeps_its_processes_until_it_is_back(slurm: FakeSlurm) -> None:
    job = submit(slurm, STUBBORN)
    old = slurm.wait_for_step(job)
    slurm.cut_off_node("g1")
    slurm.wait_for(job, "PENDING")
    slurm.wait_for(job, "RUNNING")
    new = slurm.wait_for_step(job)
    assert all(Path(f"/proc/{pid}/cwd").exists() for pid in (old, new))
    slurm.start_node("g1")
    assert [Path(f"/proc/{pid}/cwd").exists() for pid in (old, new)] == [False, True]


def test_without_the_controller_nobody_answers_and_what_runs_runs_on(slurm: FakeSlurm) -> None:
    job = submit(slurm, UNTIL_GO)
    slurm.wait_for(job, "RUNNING")
    slurm.kill_controller()
    contact = "Unable to contact slurm controller (connect failure)"
    assert failure(slurm, "squeue") == f"slurm_load_jobs error: {contact}"
    assert failure(slurm, "sbatch", "--wrap", "true") == f"sbatch: error: Batch job submission failed: {contact}"
    assert failure(slurm, "scancel", job) == f"scancel: error: Kill job error on job id {job}: {contact}"
    failure(slurm, "scontrol", "ping")
    (slurm.folder / "go").touch()
    time.sleep(0.5)
    assert sacct(slurm, "State", "-X") == ["RUNNING"]
    slurm.start_controller()
    slurm.wait_for(job, "COMPLETED")
    assert slurm.call("scontrol", "ping") == "Slurmctld(primary) at fake is UP\n"


def test_the_database_can_be_down_absent_or_behind(slurm: FakeSlurm) -> None:
    slurm.wait_for(submit(slurm, "true"), "COMPLETED")
    slurm.sacct_lag_s = 60
    assert sacct(slurm, "State") == []
    slurm.stop_database()
    assert failure(slurm, "sacct").endswith("sacct: error: Problem talking to the database: Connection refused")
    slurm.no_sacct = True
    assert failure(slurm, "sacct") == "Slurm accounting storage is disabled"


def test_memory_that_is_exceeded_kills_the_step_and_is_in_its_error_file(slurm: FakeSlurm) -> None:
    job = submit(slurm, STUBBORN.replace("srun", "srun --error step.err"), array="0-0")
    slurm.wait_for_step(f"{job}_0")
    slurm.exceed_memory(f"{job}_0")
    slurm.wait_idle()
    assert sacct(slurm, "JobID,State,ExitCode,MaxRSS", "-j", f"{job}_0")[::2] == [
        f"{job}_0|FAILED|9:0|",
        f"{job}_0.0|CANCELLED by 0|0:9|189252K",
    ]
    words = f"slurmstepd-g1: error: StepId={job}.0 exceeded memory limit (193794048 > 104857600), being killed\n"
    assert (slurm.folder / "step.err").read_text() == words


def test_jobs_can_be_lost_and_their_ids_given_again(slurm: FakeSlurm) -> None:
    job = submit(slurm, "sleep 60", job_name="older")
    slurm.wait_for(job, "RUNNING")
    slurm.lose_job(job)
    assert failure(slurm, "squeue", "--jobs", job) == "slurm_load_jobs error: Invalid job id specified"
    assert sacct(slurm, "State", "-X", "-j", job) == ["RUNNING"]
    slurm.restart_job_ids(1000)
    assert submit(slurm, "true", job_name="younger") == job
    assert sacct(slurm, "JobName", "-X", "-j", job) == ["younger"]
    assert sacct(slurm, "JobName", "-X", "-j", job, "-D") == ["older", "younger"]


def test_what_sbatch_answers_can_be_anything(slurm: FakeSlurm) -> None:
    slurm.banner = "Welcome! Your previous job 42 is done."
    assert submit(slurm, "true").splitlines() == [slurm.banner, "1000", slurm.banner]
    slurm.mumble = "something, somehow"
    assert "1001" not in submit(slurm, "true")
    slurm.lost_replies = True
    words = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"
    assert failure(slurm, "sbatch", "--wrap", "true") == words
    assert slurm.job_ids() == [1000, 1001, 1002]
    slurm.refuse = "sbatch: error: No."
    assert failure(slurm, "sbatch", "--wrap", "true") == slurm.refuse
    slurm.refuse, slurm.submit_limit = "", 2
    assert failure(slurm, "sbatch", "--array=0-2", "--wrap", "true").startswith("sbatch: error: QOSMaxSubmitJobPerUserLimit\n")
    assert len(slurm.job_ids()) == 3


@pytest.mark.parametrize(("moment", "submitted"), [("before_sbatch", 1), ("after_sbatch", 1)])
def test_the_submitter_can_be_killed_by_what_it_calls(slurm: FakeSlurm, moment: str, submitted: int) -> None:
    setattr(slurm, moment, "kill -9 $PPID")
    command = ["sh", "-c", "sbatch --wrap true; echo survived"]
    answer = subprocess.run(command, env=os.environ | slurm.environment(), cwd=slurm.folder, capture_output=True, check=False)
    assert (answer.returncode, answer.stdout) == (-signal.SIGKILL, b"Submitted batch job 1000\n")
    assert len(slurm.job_ids()) == submitted


def test_every_call_is_noted_and_can_hang(slurm: FakeSlurm) -> None:
    slurm.hang("squeue", 0.3)
    began = time.monotonic()
    subprocess.run(["squeue", "--me"], env=os.environ | slurm.environment(), check=True, capture_output=True)
    assert time.monotonic() - began > 0.3
    assert slurm.calls() == [["squeue", "--me"]]


def test_a_job_that_is_only_asked_about_uses_up_an_id_and_is_none(slurm: FakeSlurm) -> None:
    command = ["sbatch", "--test-only", "--partition=gpu", "--array=0-3", "--cpus-per-task=2", "--wrap", "true"]
    answer = subprocess.run(command, env=os.environ | slurm.environment(), capture_output=True, text=True, check=True)
    assert re.fullmatch(r"sbatch: Job 1000 to start at \S+ using 2 processors on nodes g1 in partition gpu\n", answer.stderr)
    assert (answer.stdout, slurm.job_ids()) == ("", [])
    assert submit(slurm, "true") == "1001"


def test_nodes_and_partitions_can_be_asked_for(slurm: FakeSlurm) -> None:
    lines = slurm.call("sinfo", "--all", "--Node", "--noheader", "--format=%R|%N|%o|%c|%m|%G|%T").splitlines()
    assert lines[:2] == ["cpu|c1|127.0.0.1|4|8000|(null)|idle", "gpu|g1|127.0.0.1|4|8000|gpu:2|idle"]
    assert "PartitionName=cpu " in slurm.call("scontrol", "--all", "--oneliner", "show", "partition")


def test_the_configuration_and_a_jobs_script_can_be_asked_for(slurm: FakeSlurm) -> None:
    slurm.set_max_array_size(8)
    job = submit(slurm, "true", array="0-7")
    assert "MaxArraySize            = 8\n" in slurm.call("scontrol", "show", "config")
    assert slurm.call("scontrol", "write", "batch_script", job, "-") == (slurm.folder / "submitted.sh").read_text()


def test_a_task_whose_launch_failed_is_held_until_it_is_released(slurm: FakeSlurm) -> None:
    job = submit(slurm, "sleep 60")
    slurm.wait_for(job, "RUNNING")
    slurm.fail_launch(job)
    time.sleep(0.5)
    assert queue(slurm) == [f"{job}|PENDING|launch failed requeued held|"]
    slurm.call("scontrol", "release", job)
    slurm.wait_for(job, "RUNNING")


def test_ended_jobs_are_forgotten_after_a_while(slurm: FakeSlurm) -> None:
    job = submit(slurm, "true")
    slurm.wait_for(job, "COMPLETED")
    assert slurm.call("squeue", "--noheader") == ""
    slurm.change_settings(min_job_age_s=0)
    assert queue(slurm) == []
    assert sacct(slurm, "State", "-X") == ["COMPLETED"]


def test_it_ends_with_its_folder(tmp_path: Path) -> None:
    slurm = FakeSlurm(tmp_path / "slurm")
    slurm.up()
    submit(slurm, "srun sleep 60")
    slurm.wait_for_step("1000")
    slurm.folder.rename(tmp_path / "gone")
    deadline = time.monotonic() + 10
    while processes_by_run(slurm.folder):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    slurm.down()
