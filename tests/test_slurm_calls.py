"""Calls of Slurm: with a time-out, counted, outside of any job; and the lock that a call keeps when its caller is killed."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fly64_hpc.slurm.calls import BATCH_PID_VARIABLE, SlurmCalls, outside_of_jobs, slurm_is_here, submit_environment

SITE = {
    "SLURM_CONF": "/etc/slurm.conf", "SLURM_JWT": "t", "SLURM_CLUSTERS": "a", "SBATCH_CLUSTERS": "a", "SBATCH_RESERVATION": "r",
    "PATH": "/bin",
}  # fmt: skip
JOB = {
    "SLURM_JOB_ID": "7", "SLURM_MEM_PER_NODE": "1", "SLURM_CPU_BIND": "x", "SLURM_NTASKS": "1", "SLURM_ARRAY_TASK_ID": "0",
    "SRUN_CPUS_PER_TASK": "2", "SRUN_DEBUG": "3", "PMI_RANK": "0", "PMIX_SERVER_URI": "x",
}  # fmt: skip
HABITS = {
    "SQUEUE_PARTITION": "debug", "SQUEUE_ACCOUNT": "mine", "SQUEUE_USERS": "me", "SQUEUE_FORMAT2": "jobid", "SQUEUE_STATES": "R",
    "SACCT_FORMAT": "jobid", "SCANCEL_INTERACTIVE": "1", "SCONTROL_ALL": "1", "SBATCH_ARRAY_INX": "0-3", "SBATCH_WAIT": "1",
    "SBATCH_ACCOUNT": "mine", "SBATCH_PARTITION": "debug", "SBATCH_QOS": "high", "SBATCH_TIMELIMIT": "1", "SBATCH_EXPORT": "NONE",
}  # fmt: skip
WAIT_S = 10.0

HOLDER = """
import fcntl, sys
from fly64_hpc.slurm.calls import SlurmCalls
with open(sys.argv[1], "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    SlurmCalls()("sbatch", timeout_s=60, held_open=[lock.fileno()])
"""


def program(folder: Path, name: str, *lines: str) -> None:
    """A command of that name in a folder."""
    (folder / name).write_text("\n".join(["#!/bin/sh", *lines, ""]))
    (folder / name).chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose commands come first on the PATH."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def written_pid(file: Path) -> int:
    deadline = time.monotonic() + WAIT_S
    while not (file.exists() and file.read_text().endswith("\n")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return int(file.read_text())


def is_free(lock: Path) -> bool:
    with lock.open("r") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def test_the_site_s_variables_stay_and_a_job_s_and_the_user_s_habits_go() -> None:
    """A habit would hide jobs from us, which are then taken for lost, or make another request of what the script asks."""
    assert outside_of_jobs(SITE | JOB | HABITS) == SITE


@given(st.sets(st.sampled_from(sorted(HABITS))), st.sets(st.sampled_from(sorted(HABITS))))
def test_of_the_user_s_own_those_that_are_named_stay_where_they_are_set(mine: set[str], defaults: set[str]) -> None:
    environment = {name: HABITS[name] for name in mine}
    assert outside_of_jobs(SITE | JOB | environment, sorted(defaults)) == SITE | {name: HABITS[name] for name in mine & defaults}


@given(st.dictionaries(st.text(min_size=1), st.text(), max_size=5))
def test_what_is_not_slurm_s_stays(environment: dict[str, str]) -> None:
    own = {f"MY_{name}": value for name, value in environment.items()}
    assert outside_of_jobs(own | JOB) == own


def test_a_command_gets_that_environment_and_no_input(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ({"SLURM_CONF": "here"} | JOB).items():
        monkeypatch.setenv(name, value)
    program(programs, "squeue", "env | grep -c ^SLURM_", 'echo "$SLURM_CONF"', "wc -c")
    assert SlurmCalls()("squeue").out.split() == ["1", "here", "0"]


def test_the_environment_of_calls_may_be_another_than_this_process_s(programs: Path) -> None:
    program(programs, "squeue", 'echo "$MINE $HABIT $SLURM_JOB_ID $SBATCH_QOS"')
    calls = SlurmCalls(environment={"PATH": str(programs), "MINE": "x", "SLURM_JOB_ID": "7", "SBATCH_QOS": "high"})
    assert calls("squeue").out == "x   \n"
    assert calls("squeue", defaults=["SBATCH_QOS"]).out == "x   high\n"


BATCH = f"""
export {BATCH_PID_VARIABLE}=$$
export LEAK=late MINE=changed PATH=/nowhere:$PATH SBATCH_PARTITION=broken
unset KEPT
{sys.executable} -c 'if True:
    import os
    from fly64_hpc.slurm.calls import submit_environment
    seen = submit_environment(os.environ)
    names = ("LEAK", "MINE", "KEPT", "PATH", "SBATCH_PARTITION", "{BATCH_PID_VARIABLE}")
    print(ascii([os.environ.get(names[1]), *map(seen.get, names)]))
'
"""


def test_what_a_job_hands_down_is_what_its_submit_had_and_not_what_its_setup_lines_changed(tmp_path: Path) -> None:
    (tmp_path / "batch.sh").write_text(BATCH)
    kept = b"a=b\nand \xff".decode(errors="surrogateescape")
    environment = {"MINE": "first", "KEPT": kept, "PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    answer = subprocess.run(["bash", tmp_path / "batch.sh"], env=environment, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == ascii(["changed", None, "first", kept, os.environ["PATH"], None, None])


def test_where_the_batch_shell_is_not_known_or_gone_the_environment_is_one_s_own() -> None:
    own = {"MINE": "x"}
    assert submit_environment(own) == own
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    for pid in (str(gone.pid), "", "not a number"):
        named = own | {BATCH_PID_VARIABLE: pid}
        assert submit_environment(named) == named


def test_the_words_of_a_command_are_its_errors_or_what_it_printed(programs: Path) -> None:
    program(programs, "squeue", "echo out", "echo noise >&2", "echo 'squeue: error: no' >&2", "exit 3")
    answer = SlurmCalls()("squeue")
    assert (answer.code, answer.is_good, answer.words) == (3, False, "squeue: error: no")
    program(programs, "squeue", "echo out", "exit 3")
    assert SlurmCalls()("squeue").words == "out"
    program(programs, "squeue", "exit 3")
    assert SlurmCalls()("squeue").words == "it ended with exit code 3 and no words"


def test_bytes_that_are_no_text_are_no_error(programs: Path) -> None:
    program(programs, "squeue", r"printf '\377\n'")
    assert SlurmCalls()("squeue").is_good


def test_a_missing_command_is_an_answer() -> None:
    answer = SlurmCalls()("squeue-that-is-absent")
    assert (answer.code, answer.is_good) == (None, False)
    assert answer.words == "squeue-that-is-absent is not on the PATH of this machine"


def test_a_command_that_cannot_be_run_is_an_answer(programs: Path) -> None:
    (programs / "squeue").write_bytes(b"\x7fELF of another machine")
    (programs / "squeue").chmod(0o755)
    answer = SlurmCalls(environment={"PATH": str(programs)})("squeue")
    assert (answer.code, answer.words) == (None, "squeue cannot be run: Exec format error")


def test_more_names_than_an_argument_holds_are_an_answer() -> None:
    answer = SlurmCalls()("true", "--name", ",".join(["x" * 95] * 1400))
    assert (answer.code, answer.words) == (None, "true cannot be run: Argument list too long")


@pytest.mark.parametrize("line", ["sleep 30", "exec sleep 30", "sleep 30 & wait"])
def test_a_hanging_command_is_ended_and_is_an_answer(programs: Path, line: str) -> None:
    program(programs, "squeue", f"echo $$ > {programs}/pid", line)
    started = time.monotonic()
    answer = SlurmCalls()("squeue", timeout_s=0.2)
    assert time.monotonic() - started < WAIT_S
    assert answer.code is None
    assert "squeue did not answer within" in answer.words
    assert not Path(f"/proc/{written_pid(programs / 'pid')}").exists()


def test_calls_are_counted_also_those_that_fail(programs: Path) -> None:
    program(programs, "squeue", "exit 1")
    calls = SlurmCalls()
    assert calls.summary() == "calls of Slurm: none"
    for command in ("squeue", "sacct-that-is-absent", "squeue"):
        calls(command)
    assert calls.summary() == "calls of Slurm: 1 sacct-that-is-absent, 2 squeue"


def test_slurm_is_where_sbatch_is(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(programs))
    assert not slurm_is_here()
    program(programs, "sbatch", "exit 0")
    assert slurm_is_here()


@contextmanager
def killed_submitter(folder: Path) -> Iterator[int]:
    """The process id of an sbatch that lives on after its submitter, who held a lock, was killed."""
    program(folder, "sbatch", f"echo $$ > {folder}/pid", "exec sleep 60")
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(folder / "lock")]) as submitter:
        pid = written_pid(folder / "pid")
        submitter.kill()
    try:
        yield pid
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_a_lock_stays_with_the_call_when_its_caller_was_killed(programs: Path) -> None:
    with killed_submitter(programs) as pid:
        assert not is_free(programs / "lock")
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + WAIT_S
        while not is_free(programs / "lock"):
            assert time.monotonic() < deadline
            time.sleep(0.01)
