"""A fake Slurm for a test: what batch/test_cluster's Cluster is for the real one, quicker, and with more that can go wrong."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from fake_slurm import processes, transitions
from fake_slurm.controller import append, warn
from fake_slurm.queue_table import shown_state
from fake_slurm.records import (
    COMMANDS,
    DEFAULTS,
    Job,
    Run,
    Settings,
    State,
    Task,
    all_tasks,
    find_tasks,
    is_ended,
    known_tasks,
    new_state,
    run_of,
    task_id,
)
from fake_slurm.stepping import steps_of
from fake_slurm.store import UNLOGGED, Store, write_text

_PROGRAM = Path(__file__).with_name("program.py")
T = TypeVar("T")


class FakeSlurmError(Exception):
    """A command failed, or a test asked for what cannot be."""


class Switch(Generic[T]):
    """An attribute that every process of the fake Slurm sees."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, slurm: "FakeSlurm", owner: type) -> T:
        return cast(T, cast("dict[str, Any]", slurm.store.read()["switches"])[self._name])

    def __set__(self, slurm: "FakeSlurm", value: T) -> None:
        with slurm.store.change() as state:
            cast("dict[str, Any]", state["switches"])[self._name] = value


class FakeSlurm:
    """A Slurm with nodes c1 (partition cpu, the default) and g1 to g3 (gpu and spot); what can happen to it are its methods.

    Parameters
    ----------
    folder
        Where its state is kept; made by `up`.
    settings
        See `records.DEFAULTS`.
    """

    sacct_lag_s = Switch[float]()
    """sacct tells what was so many seconds ago."""
    submit_limit = Switch[int | None]()
    """How many tasks a user may have with Slurm; sbatch refuses more."""
    lost_replies = Switch[bool]()
    """sbatch submits, and then says that it timed out."""
    banner = Switch[str]()
    """Printed before and after what sbatch answers."""
    mumble = Switch[str]()
    """Printed instead of sbatch's answer; the job is submitted."""
    no_sacct = Switch[bool]()
    """A Slurm without accounting."""
    refuse = Switch[str]()
    """Words with which sbatch refuses everything."""
    before_sbatch = Switch[str]()
    """Shell text that sbatch runs before it submits; $PPID in it is the process that called sbatch."""
    after_sbatch = Switch[str]()
    """The same, run after it has submitted and before it answers."""
    address = Switch[str]()
    """Where its nodes are, as sinfo has it: this machine, unless told."""

    def __init__(self, folder: Path, **settings: float) -> None:
        self.folder = folder.resolve()
        self.store = Store(self.folder)
        self._settings = _with(DEFAULTS, settings)
        self._controller: subprocess.Popen[bytes] | None = None

    # Up, down, and what it is like

    def environment(self) -> dict[str, str]:
        """The variables that a user of it needs."""
        path = f"{self.folder / 'bin'}:{os.environ.get('PATH', '/usr/bin:/bin')}"
        return {"PATH": path, "FAKE_SLURM": str(self.folder), "SLURM_CONF": str(self.folder / "slurm.conf")}

    def up(self) -> None:
        """Start it, with no jobs; returns when it is at work."""
        self.store.create(new_state(self._settings))
        (self.folder / "slurm.conf").write_text("ClusterName=fake\nSlurmctldHost=fake\n")
        python = [sys.executable, "-E", "-s", "-S", str(_PROGRAM), str(self.folder)]
        for name in COMMANDS:
            program = self.folder / "bin" / name
            program.write_text(f'#!/bin/sh\nexec {shlex.join(python)} {name} "$@"\n')
            program.chmod(0o755)
        with (self.folder / "controller.log").open("w") as log:
            command = [*python, "controller"]
            self._controller = subprocess.Popen(
                command, start_new_session=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/"
            )
        self._wait_until("the controller is at work", (self.folder / "controller.json").exists)

    def down(self) -> None:
        """End every process of it; its folder stays, for a look at what happened."""
        if self._controller is None:
            return
        self._controller.terminate()
        try:
            self._controller.wait(10)
        except subprocess.TimeoutExpired:
            self._controller.kill()
            self._controller.wait()
        self._controller = None
        while processes.end_below(self.folder):
            time.sleep(0.01)

    def call(self, *command: str, timeout_s: float = 60) -> str:
        """Run one of its commands; what it printed is returned. `calls` does not have it.

        Raises
        ------
        FakeSlurmError
            It failed, with its own words, or did not end within `timeout_s`.
        """
        inherited = {
            name: value for name, value in os.environ.items() if not re.match("SLURM|SBATCH|SACCT|SQUEUE|FAKE_SLURM", name)
        }
        environment = inherited | self.environment() | {UNLOGGED: "1"}
        program = str(self.folder / "bin" / command[0])
        try:
            answer = subprocess.run(
                [program, *command[1:]],
                env=environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise FakeSlurmError(f"{' '.join(command)} did not end within {timeout_s:.0f} s.") from None
        if answer.returncode != 0:
            raise FakeSlurmError(f"{' '.join(command)} failed: {answer.stderr.strip()}")
        return answer.stdout

    def calls(self) -> list[list[str]]:
        """Every command line that it got, oldest first; srun's too."""
        return self.store.calls()

    def forget_calls(self) -> None:
        self.store.forget_calls()

    def job_ids(self) -> list[int]:
        """Of all jobs that were submitted, oldest first."""
        return [job["id"] for job in self.store.read()["jobs"]]

    def script(self, job_id: int | str) -> str:
        """What sbatch got."""
        job = next(job for job in self.store.read()["jobs"] if job["id"] == int(job_id))
        return (self.store.job(job["key"]) / "script").read_text()

    def states(self) -> dict[str, str]:
        """`12_0` and the like to the state that squeue has."""
        return {task_id(job, task): shown_state(task) for job, task in known_tasks(self.store.read())}

    def wait_for(self, job_id: str, *states: str, timeout_s: float = 30) -> None:
        """Wait until a task is in one of these states."""
        self._wait_until(f"{job_id} is {' or '.join(states)}", lambda: self.states().get(job_id) in states, timeout_s)

    def wait_for_step(self, job_id: str, timeout_s: float = 30) -> int:
        """Wait until a task runs something by srun, past its exec; that process's id is returned."""
        self._wait_until(f"{job_id} has a step", lambda: bool(self._step_pids(job_id)), timeout_s)
        return self._step_pids(job_id)[-1]

    def change_settings(self, **settings: float) -> None:
        """From now on."""
        with self.store.change() as state:
            state["settings"] = _with(state["settings"], settings)

    def set_max_array_size(self, size: int) -> None:
        self.change_settings(max_array_size=size)

    # What can happen to it

    def crash_node(self, name: str) -> None:
        """All processes of the node are gone at once; after node_timeout_s its jobs are NODE_FAIL."""
        with self.store.change() as state:
            state["nodes"][name]["silent_since"] = time.time()
            state["nodes"][name]["crashed"] = True
            for run in self._runs_at(state, name):
                processes.kill_run(self.store.run(run["key"]))

    def cut_off_node(self, name: str) -> None:
        """The controller hears no more of the node, and declares it dead after node_timeout_s; its processes live on."""
        with self.store.change() as state:
            state["nodes"][name]["silent_since"] = time.time()

    def start_node(self, name: str) -> None:
        """It is back, or heard of again; what still runs there of jobs that were given up ends."""
        with self.store.change() as state:
            node = state["nodes"][name]
            node["silent_since"], node["crashed"], node["down"] = None, False, False
            current = {run_of(task)["key"] for _, task in all_tasks(state) if not is_ended(task)}
            for run in self._runs_at(state, name):
                if run["key"] not in current:
                    processes.kill_run(self.store.run(run["key"]))

    def _runs_at(self, state: State, node: str) -> list[Run]:
        """Those of which processes are left."""
        alive = processes.processes_by_run(self.folder)
        jobs = [*state["forgotten"], *state["jobs"]]
        runs = (run for job in jobs for task in job["tasks"] for run in task["runs"])
        return [run for run in runs if run["node"] == node and run["key"] in alive]

    def kill_controller(self) -> None:
        """Nobody answers, and nothing starts or is ended; what runs, runs on."""
        with self.store.change() as state:
            state["controller_down"] = True

    def start_controller(self) -> None:
        with self.store.change() as state:
            state["controller_down"] = False

    def stop_database(self) -> None:
        """Sacct fails; nothing of what it would say is lost."""
        with self.store.change() as state:
            state["database_down"] = True

    def start_database(self) -> None:
        with self.store.change() as state:
            state["database_down"] = False

    def hang(self, command: str, seconds: float) -> None:
        """A command waits so long before it does anything; 0 for no more."""
        with self.store.change() as state:
            state["hangs"][command] = seconds

    def requeue(self, job_id: str) -> None:
        """As `scontrol requeue`."""
        with self.store.change() as state:
            for _, task in _found(state, job_id):
                transitions.requeue(state, task)

    def preempt(self, job_id: str, grace_s: float = 3) -> None:
        """Its signal at once, where it asked for one, or else SIGTERM; after the grace it ends and is requeued."""
        with self.store.change() as state:
            for job, task in _found(state, job_id, "RUNNING"):
                task["preempt_at"] = time.time() + grace_s
                warn(self.store, job if job["signal"] else {**job, "signal": "TERM"}, task)

    def kill_task(self, job_id: str, sign: int = signal.SIGKILL) -> None:
        """A signal to the process that srun started, and to no other."""
        pids = self._step_pids(job_id)
        if not pids:
            raise FakeSlurmError(f"{job_id} runs nothing by srun.")
        os.kill(pids[-1], sign)

    def exceed_memory(self, job_id: str) -> None:
        """As OverMemoryKill does: the step is killed, and its error file says why."""
        with self.store.change() as state:
            ((_, task),) = _found(state, job_id, "RUNNING")
            run = run_of(task)
            folder = self.store.run(run["key"])
            step = next(step for step in reversed(steps_of(folder)) if "ended" not in step)
            name = f"StepId={task['raw_id']}.{step['number']}"
            words = f"slurmstepd-{run['node']}: error: {name} exceeded memory limit (193794048 > 104857600), being killed\n"
            append(str(step["error"]), words)
            write_text(folder / f"{step['number']}.memory.json", '{"rss_kib": 189252}')
            processes.send(processes.processes_of(folder, steps_only=True), signal.SIGKILL)

    def fail_launch(self, job_id: str) -> None:
        """As after a crash of the controller: requeued, and held until `scontrol release`."""
        with self.store.change() as state:
            for _, task in _found(state, job_id, "RUNNING"):
                processes.kill_run(self.store.run(run_of(task)["key"]))
                transitions.end(task, "REQUEUED")
                transitions.wait_again(state, task, held="launch failed requeued held")

    def lose_job(self, job_id: str, *, processes_too: bool = True) -> None:
        """The controller forgets it without a trace; sacct says for ever what it last said."""
        with self.store.change() as state:
            for _, task in _found(state, job_id):
                task["lost"] = True
                if processes_too:
                    processes.kill_run(self.store.run(run_of(task)["key"]))

    def restart_job_ids(self, first: int, *, accounting_too: bool = False) -> None:
        """All jobs are ended and forgotten by the controller, by the database only if told; ids begin again at `first`."""
        with self.store.change() as state:
            for _, task in all_tasks(state):
                processes.kill_run(self.store.run(run_of(task)["key"]))
            state["forgotten"] = [] if accounting_too else [*state["forgotten"], *state["jobs"]]
            state["jobs"] = []
            state["next_id"] = first

    def cancel_all(self) -> None:
        with self.store.change() as state:
            for _, task in all_tasks(state):
                transitions.cancel(state, task, os.getuid())

    def wait_idle(self, timeout_s: float = 60) -> None:
        """Wait until no job waits, runs or ends."""
        self._wait_until("no job is left", lambda: all(is_ended(task) for _, task in all_tasks(self.store.read())), timeout_s)

    # Its parts

    def _step_pids(self, job_id: str) -> list[int]:
        """The first processes of the steps that a task runs now."""
        pairs = find_tasks(self.store.read(), job_id)
        if not pairs:
            return []
        folder = self.store.run(run_of(pairs[0][1])["key"])
        steps = [step for step in steps_of(folder) if "ended" not in step]
        marked = set(processes.processes_of(folder, steps_only=True)) if steps else set()
        return [pid for step in steps if (pid := int(str(step["pid"]))) in marked]

    def _wait_until(self, what: str, condition: Callable[[], bool], timeout_s: float = 30) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                log = (self.folder / "controller.log").read_text()
                raise FakeSlurmError(f"After {timeout_s:.0f} s it is still not so that {what}: {self.states()} {log}")
            time.sleep(0.03)


def _with(settings: Settings, changes: dict[str, float]) -> Settings:
    if unknown := changes.keys() - settings.keys():
        raise FakeSlurmError(f"There is no setting {', '.join(sorted(unknown))}.")
    return cast(Settings, {**settings, **changes})


def _found(state: State, job_id: str, name: str = "") -> list[tuple[Job, Task]]:
    pairs = [(job, task) for job, task in find_tasks(state, job_id) if not name or run_of(task)["state"] == name]
    if not pairs:
        raise FakeSlurmError(f"There is no {name.lower()} task {job_id}.")
    return pairs
