#!/usr/bin/env python3
"""A small Slurm at the process boundary: sbatch, srun, squeue, sacct and scancel by the name it is called.

Its state is a folder, FAKE_SLURM. sbatch starts one process for each array task, as many at a time as `--array=...%n` allows;
each leaves its state in a file. FAKE_SLURM/refuse makes sbatch refuse with the words in it, FAKE_SLURM/banner is printed around
its answer, FAKE_SLURM/mumble stands for it,
FAKE_SLURM/no_sacct makes sacct fail, FAKE_SLURM/down makes squeue and sacct fail.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

STATE = Path(os.environ["FAKE_SLURM"])


def sbatch(arguments: list[str]) -> None:
    script = Path(arguments[-1])
    if (STATE / "refuse").exists():
        sys.exit((STATE / "refuse").read_text())
    number = len(list(STATE.glob("job_*"))) + 1000
    job = STATE / f"job_{number}"
    job.mkdir()
    (job / "script.sh").write_text(script.read_text())
    options = dict(re.findall(r"#SBATCH --([\w-]+)=(\S+)", script.read_text()))
    first, last, at_once = re.findall(r"\d+", options["array"])
    tasks = list(range(int(first), int(last) + 1))
    for task in tasks:
        (job / str(task)).write_text("PENDING")
    runner = [sys.executable, __file__, "run_array", str(number), at_once, options["output"], options.get("partition", "")]
    log = (job / "runner.log").open("w")
    subprocess.Popen(runner, start_new_session=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    if (STATE / "banner").exists():
        print((STATE / "banner").read_text())
    if (STATE / "mumble").exists():
        print((STATE / "mumble").read_text())
        return
    print(number if "--parsable" in arguments else f"Submitted batch job {number}")


def run_array(arguments: list[str]) -> None:
    number, at_once, output, partition = arguments[0], int(arguments[1]), arguments[2], arguments[3]
    job = STATE / f"job_{number}"
    waiting = sorted(int(file.name) for file in job.iterdir() if file.name.isdigit())
    running: dict[int, subprocess.Popen[bytes]] = {}
    while waiting or running:
        while waiting and len(running) < at_once:
            task = waiting.pop(0)
            running[task] = start_task(job, number, task, output, partition)
        for task, process in list(running.items()):
            try:
                code = process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
            del running[task]
            if (job / str(task)).read_text() == "RUNNING":
                (job / str(task)).write_text("COMPLETED" if code == 0 else "FAILED")


def start_task(job: Path, number: str, task: int, output: str, partition: str) -> subprocess.Popen[bytes]:
    environment = os.environ | {
        "SLURM_JOB_ID": f"{int(number) + task + 1}",
        "SLURM_ARRAY_JOB_ID": number,
        "SLURM_ARRAY_TASK_ID": str(task),
        "SLURM_JOB_PARTITION": partition,
        "SLURMD_NODENAME": "fake1",
        "SLURM_PROCID": "0",
        "SLURM_LOCALID": "0",
        "SLURM_NTASKS": "1",
        "SLURM_JOB_NUM_NODES": "1",
        "SLURM_NODEID": "0",
        "SLURM_JOB_NODELIST": "fake1",
    }
    (job / str(task)).write_text("RUNNING")
    path = Path(output.replace("%A", number).replace("%a", str(task)))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as log:
        process = subprocess.Popen(
            ["bash", str(job / "script.sh")], env=environment, stdout=log, stderr=log, start_new_session=True
        )
    (job / f"pid_{task}").write_text(str(process.pid))
    return process


def srun(arguments: list[str]) -> None:
    while arguments and arguments[0].startswith("--"):
        takes_value = arguments[0] in ("--output", "--error")
        arguments = arguments[2 if takes_value else 1 :]
    os.execvp(arguments[0], arguments)


def rows(arguments: list[str]) -> Iterator[tuple[str, str]]:
    (STATE / "calls").open("a").write(" ".join(arguments) + "\n")
    wanted = arguments[arguments.index("--jobs") + 1].split(",")
    for number in wanted:
        for file in sorted((STATE / f"job_{number}").glob("[0-9]*"), key=lambda file: int(file.name)):
            yield f"{number}_{file.name}", file.read_text()


def named(arguments: list[str]) -> bool:
    """Print the id of the array with the name that was asked for, as `--name` wants it."""
    if "--name" not in arguments:
        return False
    name = arguments[arguments.index("--name") + 1]
    for job in STATE.glob("job_*"):
        if f"--job-name={name}\n" in (job / "script.sh").read_text():
            print(job.name.removeprefix("job_"))
    return True


def squeue(arguments: list[str]) -> None:
    if (STATE / "down").exists():
        sys.exit("slurm_load_jobs error: Unable to contact slurm controller (connect failure)")
    if named(arguments):
        return
    for job_id, state in rows(["squeue", *arguments]):
        if state in ("PENDING", "RUNNING"):
            print(f"{job_id}|{state}|{'Resources' if state == 'PENDING' else 'None'}")


def sacct(arguments: list[str]) -> None:
    if (STATE / "no_sacct").exists() or (STATE / "down").exists():
        sys.exit("Slurm accounting storage is disabled")
    if named(arguments):
        return
    for job_id, state in rows(["sacct", *arguments]):
        print(f"{job_id}|{state}|0:0|fake1")


def scancel(arguments: list[str]) -> None:
    for job in (STATE / f"job_{number}" for number in arguments if number.isdigit()):
        for pid in job.glob("pid_*"):
            task = job / pid.name.removeprefix("pid_")
            if task.read_text() == "RUNNING":
                task.write_text("CANCELLED by 0")
                os.killpg(int(pid.read_text()), 9)


if __name__ == "__main__":
    name = Path(sys.argv[0]).name
    verb, rest = (sys.argv[1], sys.argv[2:]) if name == "fake_slurm.py" else (name, sys.argv[1:])
    globals()[verb](rest)
