"""Starting a run: a process that watches over the batch script, which has a session of its own."""

import json
import os
import sys
import time

from fake_slurm import options, processes
from fake_slurm.records import Job, Task, run_of
from fake_slurm.stepping import file_letters
from fake_slurm.store import RUN_VARIABLE, STEP_VARIABLE, Store, read_json, write_text

LAUNCH_SIGNAL = 53
"""What Slurm gives as the signal of a job whose output file cannot be opened."""


def launch(store: Store, job: Job, task: Task) -> None:
    """Fork a watcher, the caller's child; it forks the batch script and leaves its exit in the run's folder."""
    folder = store.run(run_of(task)["key"])
    folder.mkdir()
    pid = os.fork()
    if pid == 0:
        try:
            _watch(store, job, task)
        finally:
            os._exit(0)
    write_text(folder / "watcher.json", json.dumps({"pid": pid, "ticks": processes.start_ticks(pid)}))


def _watch(store: Store, job: Job, task: Task) -> None:
    os.setsid()
    os.closerange(3, 64)  # the lock of the state is among them
    folder = store.run(run_of(task)["key"])
    environment = _environment(store, job, task)
    pid = os.fork()
    if pid == 0:
        _become_batch(store, job, task, environment)
    _, status, usage = os.wait4(pid, 0)
    code, killer = processes.exit_parts(status)
    if (folder / "no_output").exists():
        code, killer = 0, LAUNCH_SIGNAL
    facts = {"code": code, "signal": killer, "ended": time.time(), "rss_kib": usage.ru_maxrss}
    write_text(folder / "exit.json", json.dumps(facts))


def _become_batch(store: Store, job: Job, task: Task, environment: dict[str, str]) -> None:
    """In the child: never returns."""
    folder = store.run(run_of(task)["key"])
    try:
        os.setsid()
        processes.restore_signals()
        os.chdir(job["cwd"])
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        mode = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if job["append"] else os.O_TRUNC)
        output, error = output_files(job, environment)
        try:
            os.dup2(os.open(output, mode, 0o644), 1)
            os.dup2(1 if error == output else os.open(error, mode, 0o644), 2)
        except OSError:
            (folder / "no_output").touch()
            os._exit(1)
        script = str(store.job(job["key"]) / "script")
        os.execve("/bin/bash", ["/bin/bash", script], environment)
    finally:
        print(f"{job['name']} cannot be started: {sys.exc_info()[1]}", file=sys.stderr, flush=True)
        os._exit(1)


def output_files(job: Job, environment: dict[str, str]) -> tuple[str, str]:
    """Where the batch script's output and errors go."""
    letters = file_letters(environment, task="0")
    output = os.path.join(job["cwd"], options.expand(job["output"], letters))  # noqa: PTH118
    error = os.path.join(job["cwd"], options.expand(job["error"], letters)) if job["error"] else output  # noqa: PTH118
    return output, error


def _environment(store: Store, job: Job, task: Task) -> dict[str, str]:
    submitted = read_json(store.job(job["key"]) / "environment.json") or {}
    array = ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_RESTART_COUNT", "SLURM_STEP_ID", "SLURM_STEPID", STEP_VARIABLE)
    inherited = {name: value for name, value in submitted.items() if name not in array}
    return inherited | slurm_variables(store, job, task)


def slurm_variables(store: Store, job: Job, task: Task) -> dict[str, str]:
    """What Slurm puts into the environment of a run."""
    run = run_of(task)
    number, node = str(task["raw_id"]), run["node"]
    variables = {
        RUN_VARIABLE: str(store.run(run["key"])),
        "FAKE_SLURM": str(store.folder),
        "SLURM_CONF": str(store.folder / "slurm.conf"),
        "SLURM_CLUSTER_NAME": "fake",
        "SLURMD_NODENAME": node,
        "SLURM_JOB_ID": number,
        "SLURM_JOBID": number,
        "SLURM_JOB_NAME": job["name"],
        "SLURM_JOB_USER": job["user"],
        "SLURM_JOB_UID": str(job["uid"]),
        "SLURM_JOB_ACCOUNT": job["account"],
        "SLURM_JOB_PARTITION": job["partition"],
        "SLURM_JOB_NUM_NODES": "1",
        "SLURM_NNODES": "1",
        "SLURM_JOB_NODELIST": node,
        "SLURM_NODELIST": node,
        "SLURM_CPUS_ON_NODE": str(job["cpus"]),
        "SLURM_NODEID": "0",
        "SLURM_PROCID": "0",
        "SLURM_LOCALID": "0",
        "SLURM_NTASKS": "1",
        "SLURM_SUBMIT_DIR": job["cwd"],
    }
    if task["index"] is not None:
        indices = [other["index"] for other in job["tasks"] if other["index"] is not None]
        variables |= {
            "SLURM_ARRAY_JOB_ID": str(job["id"]),
            "SLURM_ARRAY_TASK_ID": str(task["index"]),
            "SLURM_ARRAY_TASK_COUNT": str(len(indices)),
            "SLURM_ARRAY_TASK_MIN": str(indices[0]),
            "SLURM_ARRAY_TASK_MAX": str(indices[-1]),
        }
    if task["restarts"]:
        variables["SLURM_RESTART_COUNT"] = str(task["restarts"])
    return variables
