"""The controller: a process that starts tasks, watches them, and ends them; it ends when its folder is gone."""

import ctypes
import json
import os
import signal
import sys
import time

from fake_slurm import options, processes, transitions
from fake_slurm.launching import launch, output_files, slurm_variables
from fake_slurm.records import PARTITIONS, Job, State, Task, all_tasks, is_ended, run_of, split
from fake_slurm.stepping import steps_of
from fake_slurm.store import Store, read_json, write_text

POLL_S = 0.05
_SET_CHILD_SUBREAPER = 36
_NO_NODE = "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions"
_SRUN_TIME_S = 0.2
"""What an srun has to record the end of its step before it is killed as well."""


def controller(store: Store, _: list[str]) -> None:
    """Act until the folder vanishes; then end whatever runs from it."""
    # Orphans of killed tasks come here to be reaped.
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    write_text(store.folder / "controller.json", json.dumps({"pid": os.getpid(), "ticks": processes.start_ticks(os.getpid())}))
    actor = Controller(store)
    signal.signal(signal.SIGTERM, lambda *_: actor.stop())
    while store.exists() and not actor.stopped:
        try:
            actor.look()
        except FileNotFoundError:
            break
        time.sleep(POLL_S)
    _end_everything(store)


def _end_everything(store: Store) -> None:
    """Kill every process of every run, and stay until all that were children are gone; at most for a while."""
    deadline = time.monotonic() + 5
    while (processes.end_below(store.folder) or _reap()) and time.monotonic() < deadline:
        time.sleep(0.01)


def _reap() -> bool:
    """Whether a child is left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


class Controller:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._idle_stamp = 0
        self.stopped = False

    def stop(self) -> None:
        self.stopped = True

    def look(self) -> None:
        """One round; nothing is read while nothing waits, runs, or has changed."""
        _reap()
        stamp = self._store.stamp()
        if stamp == self._idle_stamp:
            return
        with self._store.change() as state:
            if not state["controller_down"]:
                self._advance(state)
            idle = all(is_ended(task) for _, task in all_tasks(state))
        self._idle_stamp = stamp if idle and self._store.stamp() == stamp else 0

    def _advance(self, state: State) -> None:
        now = time.time()
        self._believe(state, now)
        for job, task in all_tasks(state):
            node = state["nodes"].get(run_of(task)["node"])
            if node and node["silent_since"] is not None:
                if node["down"] and not is_ended(task):
                    transitions.lose_node(state, job, task)
            elif task["ending"]:
                self._end(state, job, task, now)
            elif run_of(task)["state"] == "RUNNING":
                self._watch(state, job, task, now)
        self._schedule(state, now)

    def _believe(self, state: State, now: float) -> None:
        for node in state["nodes"].values():
            if node["silent_since"] is not None and now - node["silent_since"] > state["settings"]["node_timeout_s"]:
                node["down"] = True

    # Tasks that run

    def _watch(self, state: State, job: Job, task: Task, now: float) -> None:
        folder = self._store.run(run_of(task)["key"])
        watcher = read_json(folder / "watcher.json")
        alive = watcher is not None and processes.is_alive(watcher["pid"], watcher["ticks"])
        exited = read_json(folder / "exit.json")  # read after the watcher was seen alive or not
        if exited:
            self._see_exit(state, task, exited["code"], exited["signal"])
        elif not alive:
            transitions.lose_node(state, job, task)  # as where slurmd comes back and knows nothing of it
        else:
            self._watch_clock(state, job, task, now)

    def _see_exit(self, state: State, task: Task, code: int, killer: int) -> None:
        failed = bool(code or killer)
        reason = "None" if not failed else "JobLaunchFailure" if killer else "NonZeroExitCode"
        run = run_of(task)
        if left_behind := processes.processes_of(self._store.run(run["key"])):
            transitions.tell_to_end(state, task, "RUNNING", "", told=True)
            processes.send(left_behind, signal.SIGCONT, signal.SIGTERM)
        transitions.end(task, "FAILED" if failed else "COMPLETED", code, killer, reason)

    def _watch_clock(self, state: State, job: Job, task: Task, now: float) -> None:
        """The time limit, its warning, and the end of the grace of a preemption."""
        run, minute_s = run_of(task), state["settings"]["minute_s"]
        if task["preempt_at"] is not None and now >= task["preempt_at"]:
            transitions.tell_to_end(state, task, "PREEMPTED", " DUE TO PREEMPTION", requeue=job["requeue"])
            return
        if job["limit_min"] is None or run["started"] is None:
            return
        ends = run["started"] + job["limit_min"] * minute_s
        if job["signal"] and not task["warned"] and now >= ends - job["signal_s"] * minute_s / 60:
            task["warned"] = True
            warn(self._store, job, task)
        if now >= ends:
            transitions.tell_to_end(state, task, "TIMEOUT", " DUE TO TIME LIMIT", reason="TimeLimit")

    # Tasks that are to end

    def _end(self, state: State, job: Job, task: Task, now: float) -> None:
        ending, run = task["ending"], run_of(task)
        if ending is None:
            return
        folder = self._store.run(run["key"])
        pids = processes.processes_of(folder)
        if not pids:
            transitions.finish_ending(state, task)
        elif not ending["told"]:
            ending["told"] = True
            self._write_last_words(job, task, ending["cause"])
            processes.send(pids, signal.SIGCONT, signal.SIGTERM)
        elif now >= ending["kill_at"] + _SRUN_TIME_S:
            processes.send(pids, signal.SIGKILL)
        elif now >= ending["kill_at"]:
            processes.send(processes.processes_of(folder, steps_only=True), signal.SIGKILL)

    def _write_last_words(self, job: Job, task: Task, cause: str) -> None:
        run = run_of(task)
        words = f"ON {run['node']} CANCELLED AT {options.stamp(time.time(), '')}{cause} ***"
        start = f"slurmstepd-{run['node']}: error: ***"
        variables = slurm_variables(self._store, job, task)
        append(output_files(job, variables)[1], f"{start} JOB {task['raw_id']} {words}\n")
        for step in steps_of(self._store.run(run["key"])):
            if "ended" not in step:
                append(str(step["error"]), f"{start} STEP {task['raw_id']}.{step['number']} {words}\n")

    # Tasks that wait

    def _schedule(self, state: State, now: float) -> None:
        for job in state["jobs"]:
            waiting = [task for task in job["tasks"] if run_of(task)["state"] == "PENDING" and not task["lost"]]
            if waiting and self._may_start(state, job, waiting):
                for task in waiting:
                    self._try_to_start(state, job, task, now)

    def _may_start(self, state: State, job: Job, waiting: list[Task]) -> bool:
        answer = transitions.verdict(state, job) if job["dependencies"] else "met"
        for task in waiting if answer != "met" else []:
            task["reason"] = "Dependency" if answer == "waiting" else transitions.NEVER
            if answer == "never" and job["kill_on_invalid"]:
                transitions.cancel(state, task, by=None)
        return answer == "met"

    def _try_to_start(self, state: State, job: Job, task: Task, now: float) -> None:
        reason, node = self._place(state, job, task, now)
        if not node:
            task["reason"] = reason
            return
        split(state, job, task)
        run = run_of(task)
        run["state"], run["node"], run["started"], run["eligible"] = "RUNNING", node, now, run["eligible"] or now
        task["reason"] = "None"
        launch(self._store, job, task)

    def _place(self, state: State, job: Job, task: Task, now: float) -> tuple[str, str]:
        """Why a task has to wait, or the node for it."""
        if task["held"]:
            return task["held"], ""
        if now < task["ready_at"]:
            return "BeginTime", ""
        at_work = sum(not is_ended(other) and run_of(other)["state"] != "PENDING" for other in job["tasks"])
        if job["throttle"] and at_work >= job["throttle"]:
            return "JobArrayTaskLimit", ""
        run_of(task)["eligible"] = run_of(task)["eligible"] or now
        size = state["settings"]["cpus_per_node"]
        if job["cpus"] > size:
            return "PartitionConfig", ""
        fit = [node for node in PARTITIONS[job["partition"]] if node not in job["exclude"]]
        up = [node for node in fit if state["nodes"][node]["silent_since"] is None]
        free = [node for node in up if _used(state, node) + job["cpus"] <= size]
        return ("" if free else "Resources" if up else _NO_NODE), (free[0] if free else "")


def _used(state: State, node: str) -> int:
    return sum(job["cpus"] for job, task in all_tasks(state) if run_of(task)["node"] == node and not is_ended(task))


def warn(store: Store, job: Job, task: Task) -> None:
    """The signal that a job has asked for, to its steps and not to the batch script."""
    pids = processes.processes_of(store.run(run_of(task)["key"]), steps_only=True)
    processes.send(pids, signal.SIGCONT, processes.signal_number(job["signal"]))


def append(path: str, text: str) -> None:
    """To the end of a file that may be nowhere."""
    try:
        with open(path, "a") as file:  # noqa: PTH123
            file.write(text)
    except OSError as error:
        print(error, file=sys.stderr)
