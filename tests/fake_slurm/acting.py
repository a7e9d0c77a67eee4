"""scancel and scontrol."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fake_slurm import options, processes, transitions
from fake_slurm.node_table import partition_line
from fake_slurm.options import Refusal
from fake_slurm.queue_table import DOWN, shown_state
from fake_slurm.records import PARTITIONS, Job, State, Task, find_tasks, known_tasks, run_of, split, task_id
from fake_slurm.store import Store

_CANCEL_VALUES = options.names("name user partition state signal", n="name", u="user", p="partition", t="state", s="signal")
_CANCEL_FLAGS = options.names("quiet verbose full", Q="quiet", v="verbose", f="full")
_CONTACT = "Unable to contact slurm controller (connect failure)"
_INVALID = "Invalid job id specified"


def scancel(store: Store, arguments: list[str]) -> None:
    """Cancel by id, or by name; an id that is not known is no error."""
    chosen, ids = options.parse("scancel", arguments, _CANCEL_VALUES, _CANCEL_FLAGS)
    if not ids and not chosen.keys() - {"quiet", "verbose"}:
        raise Refusal("scancel: error: No job identification provided")
    if store.read()["controller_down"]:
        raise Refusal(*((f"scancel: error: Kill job error on job id {ids[0]}: {_CONTACT}", 8) if ids else (DOWN, 1)))
    with store.change() as state:
        pairs = [pair for word in ids for pair in find_tasks(state, word)] if ids else list(known_tasks(state))
        pairs = [(job, task) for job, task in pairs if _is_meant(job, task, chosen)]
        if "signal" in chosen:
            _send(store, [task for _, task in pairs], chosen["signal"], full="full" in chosen)
            return
        jobs = {job["key"]: job for job, _ in pairs}
        for key, job in jobs.items():
            transitions.cancel_all_of(state, job, [task for other, task in pairs if other["key"] == key], os.getuid())


def _send(store: Store, tasks: list[Task], name: str, *, full: bool) -> None:
    """To the steps, and to the batch script too where `full`."""
    number = processes.signal_number(name)
    for task in tasks:
        processes.send(processes.processes_of(store.run(run_of(task)["key"]), steps_only=not full), number)


def _is_meant(job: Job, task: Task, chosen: dict[str, str]) -> bool:
    actual = {"name": job["name"], "user": job["user"], "partition": job["partition"], "state": shown_state(task)}
    return all(value in chosen.get(name, value).split(",") for name, value in actual.items())


def scontrol(store: Store, arguments: list[str]) -> None:
    """Of its many verbs: ping, show config|job|partition, write batch_script, requeue, hold, release."""
    _, words = options.parse("scontrol", arguments, {}, options.names("oneliner quiet verbose all", o="oneliner", a="all"))
    verbs = {
        "ping": _ping,
        "show": _show,
        "write": _write,
        "requeue": _requeue,
        "hold": _hold,
        "release": _release,
    }
    verb = verbs.get(words[0] if words else "")
    if verb is None:
        raise Refusal(f"invalid keyword: {words[0] if words else ''}")
    verb(store, words[1:])


def _ping(store: Store, words: list[str]) -> None:
    if store.read()["controller_down"]:
        print("Slurmctld(primary) at fake is DOWN")
        print("*****************************************\n** RESTORE SLURMCTLD DAEMON TO SERVICE **")
        print("*****************************************")
        sys.exit(1)
    print("Slurmctld(primary) at fake is UP")


def _show(store: Store, words: list[str]) -> None:
    state = store.read()
    what, *names = words
    if state["controller_down"]:
        if what == "partition":
            raise Refusal(f"slurm_load_partitions error: {_CONTACT}")
        raise Refusal(DOWN if what == "job" else f"slurm_load_ctl_conf error: {_CONTACT}")
    if what == "config":
        print(_config(store, state))
        return
    if what == "partition":
        print("\n".join(partition_line(name) for name in PARTITIONS))
        return
    if what == "job":
        pairs = [pair for name in names for pair in find_tasks(state, name)] if names else list(known_tasks(state))
        if not pairs and names:
            raise Refusal(f"slurm_load_jobs error: {_INVALID}")
        print("\n\n".join(_job_text(job, task) for job, task in pairs))
        return
    raise Refusal(f"invalid entity: {what} for keyword: show")


def _config(store: Store, state: State) -> str:
    settings = state["settings"]
    lines = {
        "AccountingStorageEnforce": "none",
        "AccountingStorageType": f"accounting_storage/{'none' if state['switches']['no_sacct'] else 'slurmdbd'}",
        "ClusterName": "fake",
        "JobRequeue": "1",
        "KillWait": f"{settings['kill_wait_s']:.0f} sec",
        "MaxArraySize": str(settings["max_array_size"]),
        "MaxJobCount": "10000",
        "MessageTimeout": "10 sec",
        "MinJobAge": f"{settings['min_job_age_s']:.0f} sec",
        "NEXT_JOB_ID": str(state["next_id"]),
        "PreemptMode": "REQUEUE",
        "SLURM_CONF": str(store.folder / "slurm.conf"),
        "SLURM_VERSION": "22.05.8",
        "SlurmctldTimeout": "10 sec",
    }
    body = "\n".join(f"{name:<23} = {value}" for name, value in lines.items())
    return f"Configuration data as of {options.stamp(time.time(), '')}\n{body}\n\nSlurmctld(primary) at fake is UP"


def _job_text(job: Job, task: Task) -> str:
    run = run_of(task)
    array = f" ArrayJobId={job['id']} ArrayTaskId={task['index']}" if job["is_array"] else ""
    waits = ",".join(f"{kind}:{number}" for kind, number in job["dependencies"]) or "(null)"
    killer, code = run["exit_signal"], run["exit_code"]
    lines = [
        f"JobId={task['raw_id']}{array} JobName={job['name']}",
        f"UserId={job['user']}({job['uid']}) GroupId={job['user']}({job['uid']}) MCS_label=N/A",
        f"JobState={shown_state(task)} Reason={task['reason']} Dependency={waits}",
        f"Requeue={int(job['requeue'])} Restarts={task['restarts']} BatchFlag=1 Reboot=0 ExitCode={code}:{killer}",
        f"SubmitTime={options.stamp(run['submitted'], '')} EligibleTime={options.stamp(run['eligible'], 'Unknown')}",
        f"StartTime={options.stamp(run['started'], 'Unknown')} EndTime={options.stamp(run['ended'], 'Unknown')} Deadline=N/A",
        f"Partition={job['partition']} AllocNode:Sid=fake:1",
        f"NodeList={run['node']}",
        f"WorkDir={job['cwd']}",
    ]
    return "\n   ".join(lines) + "\n"


def _write(store: Store, words: list[str]) -> None:
    """`write batch_script ID -`; the real one exits 0 whatever happens."""
    state = store.read()
    pairs = find_tasks(state, words[1])
    if state["controller_down"] or not pairs:
        raise Refusal(f"job script retrieval failed: {_CONTACT if state['controller_down'] else _INVALID}", code=0)
    script = (store.job(pairs[0][0]["key"]) / "script").read_text()
    target = words[2] if len(words) > 2 else f"slurm-{words[1]}.sh"
    if target == "-":
        print(script, end="")
        return
    Path(target).write_text(script)
    print(f"batch script for job {words[1]} written to {target}")


def _requeue(store: Store, words: list[str]) -> None:
    with _changing(store, words[0], f"Unexpected message received for job {words[0]}") as (state, pairs):
        for job, task in pairs:
            if not job["requeue"]:
                raise _failure(job, task, "Requested operation is presently disabled")
            if run_of(task)["state"] == "PENDING":
                raise _failure(job, task, "Job is pending execution")
        for _, task in pairs:
            transitions.requeue(state, task)


def _hold(store: Store, words: list[str]) -> None:
    with _changing(store, words[0], f"slurm_suspend error: {_CONTACT}") as (state, pairs):
        for job, task in pairs:
            split(state, job, task)
            task["held"] = task["reason"] = "JobHeldUser" if os.getuid() else "JobHeldAdmin"


def _release(store: Store, words: list[str]) -> None:
    with _changing(store, words[0], f"slurm_suspend error: {_CONTACT}") as (_, pairs):
        for job, task in pairs:
            if run_of(task)["ended"] is not None:
                raise _failure(job, task, "Job has already finished")
        for _, task in pairs:
            task["held"], task["reason"] = "", "None"


def _failure(job: Job, task: Task, words: str) -> Refusal:
    return Refusal(f"{task_id(job, task)}: {words}" if job["is_array"] else f"{words} for job {job['id']}")


@contextmanager
def _changing(store: Store, name: str, down: str) -> Iterator[tuple[State, list[tuple[Job, Task]]]]:
    """The state, to be changed, and the tasks that an id means."""
    if store.read()["controller_down"]:
        raise Refusal(down)
    with store.change() as state:
        pairs = find_tasks(state, name)
        if not pairs:
            raise Refusal(f"{name}: {_INVALID}" if "_" in name else f"{_INVALID} for job {name}")
        yield state, pairs
