"""The two Slurms on which the same tests run: a real one on this machine, and a fake at the process boundary."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from command import REPOSITORY
from fake_slurm.cluster import FakeSlurm
from fake_slurm.records import NODES
from slurm_study import ONE_ID, SlurmStudy, wait_until

from fly64_hpc.job_record import now_utc, seconds_between

sys.path.insert(0, str(REPOSITORY / "batch" / "test_cluster"))
from cluster import Cluster
from cluster_errors import ClusterUnavailableError

__all__ = ["NODES", "ClusterUnavailableError", "FakeMachine", "RealSlurm", "Slurm", "kill_trainer", "slurm_words", "trainers"]


class Slurm(Protocol):
    """What tests need of a Slurm, and do to it."""

    is_real: bool

    def environment(self) -> dict[str, str]: ...
    def call(self, *command: str, timeout_s: float = 60) -> str: ...
    def settle(self) -> None: ...
    def cancel_all(self) -> None: ...
    def wait_idle(self, timeout_s: float = 400) -> None: ...
    def crash_node(self, name: str) -> None: ...
    def start_node(self, name: str) -> None: ...
    def cut_off_node(self, name: str) -> None: ...
    def kill_controller(self) -> None: ...
    def start_controller(self) -> None: ...
    def stop_database(self) -> None: ...
    def start_database(self) -> None: ...
    def preempt(self, study: SlurmStudy) -> None: ...
    def restart_job_ids(self) -> None: ...
    def occupy(self, job_id: str) -> None: ...
    def exhaust_memory(self, study: SlurmStudy) -> None: ...
    def let_time_run_out(self, study: SlurmStudy) -> None: ...


class RealSlurm(Cluster):
    """The cluster of batch/test_cluster."""

    is_real = True

    def environment(self) -> dict[str, str]:
        return super().environment() | {"PATH": os.environ["PATH"]}

    def settle(self) -> None:
        """Nothing is left of what a test did to it; nodes that were drained meanwhile are at work again."""
        self.up()
        self.cancel_all()
        wait_until(self._resumed_and_idle, "an idle cluster", 120)

    def _resumed_and_idle(self) -> bool:
        for node, state in self._node_states().items():
            if state.startswith(("drain", "down")):
                self._resume(node)
        return self._is_idle()

    def cut_off_node(self, name: str) -> None:
        """slurmd is gone for longer than the controller waits; the job's processes live on."""
        self.kill_slurmd(name)

    def preempt(self, study: SlurmStudy) -> None:
        """A job of a higher partition takes the node of the study's job."""
        node = f"--nodelist={study.record(1)['scheduler']['node']}"
        self.call("sbatch", "--partition=gpu", "--gpus-per-node=2", node, "--time=1", "--output=/dev/null", "--wrap=sleep 5")

    def restart_job_ids(self) -> None:
        """The controller has lost its state: every job is forgotten, and ids start again from 1."""
        self.kill_controller()
        for file in (self.folder.root / "state").iterdir():
            if file.is_file():
                file.unlink()
        self.start_controller()

    def occupy(self, job_id: str) -> None:
        """Give jobs of somebody else the ids up to one of the study's."""
        foreign = ("--partition=cpu", "--output=/dev/null", "--job-name=foreign", "--wrap=sleep 9")
        while int(self.call("sbatch", "--parsable", *foreign)) < int(job_id):
            pass

    def exhaust_memory(self, study: SlurmStudy) -> None:
        """Its nodes look for themselves at what a step uses."""

    def let_time_run_out(self, study: SlurmStudy) -> None:
        """It will, by itself."""


class FakeMachine(FakeSlurm):
    """The fake of tests/fake_slurm, its pauses long enough for a test that looks every second or two."""

    is_real = False

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, requeue_delay_s=2.5, kill_wait_s=1, node_timeout_s=1)

    def settle(self) -> None:
        """Nothing is left of what a test did to it."""
        self.cancel_all()
        self.wait_idle()

    def preempt(self, study: SlurmStudy) -> None:  # type: ignore[override]
        """The study's job must make room."""
        super().preempt(study.task_id(), grace_s=1)

    def exhaust_memory(self, study: SlurmStudy) -> None:
        """It measures nothing: it is told that the study's job uses too much."""
        study.wait_for_attempt(1)
        self.exceed_memory(study.task_id())

    def let_time_run_out(self, study: SlurmStudy) -> None:
        """Minutes are shorter, until the time limit of the study's job, which is one minute, has come."""
        study.wait_for_attempt(1)
        age_s = seconds_between(study.record(1)["started_utc"], now_utc())
        self.change_settings(minute_s=age_s + 4)
        self.wait_for(study.task_id(), "TIMEOUT", "FAILED")
        self.change_settings(minute_s=60)

    def restart_job_ids(self) -> None:  # type: ignore[override]
        """Every job is forgotten, and ids start again from the first."""
        super().restart_job_ids(int(self.store.read()["settings"]["first_job_id"]))

    def occupy(self, job_id: str) -> None:
        """Give jobs of somebody else the ids up to one of the study's."""
        script = self.folder / "foreign.sh"
        options = ("job-name=foreign", "output=/dev/null", "partition=cpu")
        script.write_text("\n".join(["#!/bin/bash", *(f"#SBATCH --{option}" for option in options), "sleep 9", ""]))
        while int(self.call("sbatch", "--parsable", str(script))) < int(job_id):
            pass


def trainers(study: SlurmStudy, job_id: str = ONE_ID) -> list[int]:
    """The pids, as this machine counts them, of the processes that train a job."""
    index = str(next(part["jobs"].index(job_id) for part in study.parts() if job_id in part["jobs"]))
    return [pid for pid, variables in _tasks(study) if variables.get("SLURM_ARRAY_TASK_ID") == index]


def kill_trainer(study: SlurmStudy, job_id: str = ONE_ID, sign: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal to the process that trains a job."""
    pids = wait_until(lambda: trainers(study, job_id), "a process that trains")
    for pid in pids:
        os.kill(pid, sign)


def _tasks(study: SlurmStudy) -> Iterator[tuple[int, dict[str, str]]]:
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            command = (folder / "cmdline").read_bytes().split(b"\0")
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        is_python = command[0].endswith((b"python", b"python3")) or b"/python3." in command[0]
        if is_python and b"fly64_hpc.slurm_task" in command and str(study.place.study).encode() in command:
            yield int(folder.name), dict(item.decode(errors="replace").partition("=")[::2] for item in variables)


def slurm_words(slurm: Slurm, study: SlurmStudy, job_id: str = ONE_ID) -> str:
    """What sacct says of every start of a job, for the page on reliability; the fake's words are not for that."""
    rows: list[str] = []
    if not slurm.is_real:
        return "-"
    for number in range(1, len(list((study.place.study / "submissions").glob("[0-9]*.json"))) + 1):
        for part in study.parts(number):
            if job_id in part["jobs"]:
                rows += _sacct(slurm, part["tag"], f"_{part['jobs'].index(job_id)}")
    return ", then ".join(rows) or "nothing"


def _sacct(slurm: Slurm, tag: str, task: str) -> list[str]:
    """The starts of a task, once sacct, which lags, knows of an end."""
    rows: list[str] = []
    for _ in range(10):
        rows = list(_starts(slurm, tag, task))
        if rows and rows[-1].split()[0] not in ("PENDING", "RUNNING"):
            break
        time.sleep(0.5)
    return rows


def _starts(slurm: Slurm, tag: str, task: str) -> Iterator[str]:
    names = ("--name", tag, "--starttime=2026-01-01", "--allocations", "--noheader", "--parsable2")
    try:
        text = slurm.call("sacct", "--duplicates", *names, "--format=JobID,State,ExitCode")
    except Exception:  # noqa: BLE001 - no words is an answer too
        yield "sacct is down"
        return
    yield from (" ".join(line.split("|")[1:3]) for line in text.splitlines() if line.split("|")[0].endswith(task))
