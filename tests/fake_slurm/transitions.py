"""What can become of a task, whoever makes it so: a command, the controller or a test."""

import time

from fake_slurm.records import Job, State, Task, Verdict, find_tasks, is_ended, new_run, run_of, split

NEVER = "DependencyNeverSatisfied"


def end(task: Task, name: str, code: int = 0, killer: int = 0, reason: str = "None") -> None:
    """Its run is over at once."""
    run = run_of(task)
    run["state"], run["exit_code"], run["exit_signal"], run["ended"] = name, code, killer, time.time()
    task["reason"] = reason
    task["preempt_at"] = None


def tell_to_end(
    state: State, task: Task, name: str, cause: str, *, requeue: bool = False, reason: str = "None", told: bool = False
) -> None:
    """Its state is decided; the controller ends its processes, gently and then not."""
    end(task, name, reason=reason)
    task["ending"] = {
        "kill_at": time.time() + state["settings"]["kill_wait_s"],
        "cause": cause,
        "told": told,
        "requeue": requeue,
    }


def cancel(state: State, task: Task, by: int | None, reason: str | None = None) -> None:
    """Cancel one that waits, runs, or would have been requeued."""
    run = run_of(task)
    if run["state"] == "PENDING":
        end(task, "CANCELLED", reason=task["reason"] if reason is None else reason)
    elif run["ended"] is None:
        tell_to_end(state, task, "CANCELLED", "")
    elif task["ending"] and task["ending"]["requeue"]:
        task["ending"]["requeue"] = False
        run["state"] = "CANCELLED"
    else:
        return
    run["cancelled_by"] = by


def cancel_all_of(state: State, job: Job, tasks: list[Task], by: int) -> None:
    """Cancel tasks of a job; those named one by one get records of their own."""
    waiting = [task for task in job["tasks"] if not task["split"]]
    if not all(task in tasks for task in waiting):
        for task in tasks:
            split(state, job, task)
    for task in tasks:
        cancel(state, task, by)


def requeue(state: State, task: Task) -> None:
    """Run it again from the start: as it is now, it is ended."""
    if task["ending"]:
        task["ending"]["requeue"] = True
    elif is_ended(task):
        run_of(task)["state"] = "REQUEUED"
        run_of(task)["ended"] = time.time()
        wait_again(state, task)
    else:
        tell_to_end(state, task, "REQUEUED", " DUE TO JOB REQUEUE", requeue=True)


def wait_again(state: State, task: Task, held: str = "") -> None:
    """A new run, which waits."""
    submitted = run_of(task)["ended"] or time.time()
    task["runs"].append(new_run(state, submitted))
    task["restarts"] += 1
    task["reason"] = held or "BeginTime"
    task["held"] = held
    task["ready_at"] = time.time() + state["settings"]["requeue_delay_s"]
    task["warned"], task["preempt_at"], task["ending"] = False, None, None


def lose_node(state: State, job: Job, task: Task) -> None:
    """The node of a running or ending task is gone."""
    if task["ending"]:
        finish_ending(state, task)
        return
    end(task, "NODE_FAIL", reason="NodeDown")
    if job["requeue"]:
        wait_again(state, task)


def finish_ending(state: State, task: Task) -> None:
    """None of its processes is left."""
    ending = task["ending"]
    task["ending"] = None
    if ending and ending["requeue"]:
        wait_again(state, task)


def verdict(state: State, job: Job) -> Verdict:
    """What the jobs that a job waits for say; one that is forgotten, or never was, keeps nobody waiting."""
    verdicts: set[Verdict] = {_verdict_of(state, kind, number) for kind, number in job["dependencies"]}
    return "never" if "never" in verdicts else "waiting" if "waiting" in verdicts else "met"


def _verdict_of(state: State, kind: str, number: int) -> Verdict:
    tasks = [task for _, task in find_tasks(state, str(number))]
    if kind == "afterok" and any(is_ended(task) and run_of(task)["state"] != "COMPLETED" for task in tasks):
        return "never"
    return "met" if all(is_ended(task) for task in tasks) else "waiting"
