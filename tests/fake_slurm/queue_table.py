"""squeue: one row for a task, and one for all tasks of an array that wait."""

import time

from fake_slurm import options
from fake_slurm.options import Refusal
from fake_slurm.records import Job, State, Task, as_indices, find_tasks, known_tasks, run_of
from fake_slurm.store import Store

_VALUES = options.names(
    "name jobs states format user partition sort", n="name", j="jobs", t="states", o="format", u="user", p="partition", S="sort"
)
_FLAGS = options.names("array noheader me all", r="array", h="noheader", a="all")
DOWN = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"
_UNKNOWN = "slurm_load_jobs error: Invalid job id specified"
_LAYOUT = "%.18i %.9P %.8j %.8u %.2t %.10M %.6D %R"
_TITLES = {
    "i": "JOBID", "T": "STATE", "t": "ST", "r": "REASON", "N": "NODELIST", "j": "NAME", "F": "ARRAY_JOB_ID", "K": "ARRAY_TASK_ID",
    "A": "JOBID", "u": "USER", "P": "PARTITION", "M": "TIME", "D": "NODES", "R": "NODELIST(REASON)", "V": "SUBMIT_TIME",
    "S": "START_TIME", "a": "ACCOUNT", "l": "TIME_LIMIT", "L": "TIME_LEFT",
}  # fmt: skip
SHORT = {
    "PENDING": "PD", "RUNNING": "R", "COMPLETING": "CG", "COMPLETED": "CD", "FAILED": "F", "CANCELLED": "CA", "TIMEOUT": "TO",
    "NODE_FAIL": "NF", "PREEMPTED": "PR", "OUT_OF_MEMORY": "OOM", "REQUEUED": "RQ",
}  # fmt: skip
_SHOWN = {"PENDING", "RUNNING", "COMPLETING"}


def squeue(store: Store, arguments: list[str]) -> None:
    """Print the table."""
    chosen, _ = options.parse("squeue", arguments, _VALUES, _FLAGS)
    state = store.read()
    if state["controller_down"]:
        raise Refusal(DOWN)
    wanted = states_of(chosen["states"]) if "states" in chosen else _SHOWN
    pairs = [(job, task) for job, task in _asked(state, chosen) if wanted is None or shown_state(task) in wanted]
    pairs.sort(key=lambda pair: (pair[0]["partition"], shown_state(pair[1])))
    one_each = "array" in chosen or "_" in chosen.get("jobs", "")
    rows = [_row(group) for group in ([[pair] for pair in pairs] if one_each else _groups(pairs))]
    if one_each:
        for row, (job, task) in zip(rows, pairs, strict=True):
            row["i"], row["K"] = _names(job, [task], bracket=False)
    print_lines(options.table(rows, chosen.get("format", _LAYOUT), _TITLES, header="noheader" not in chosen))


def print_lines(lines: list[str]) -> None:
    if lines:
        print("\n".join(lines))


def shown_state(task: Task) -> str:
    return "COMPLETING" if task["ending"] else run_of(task)["state"]


def states_of(text: str) -> set[str] | None:
    """None for all of them."""
    if text.lower() == "all":
        return None
    long = {short: name for name, short in SHORT.items()}
    return {long.get(word.upper(), word.upper()) for word in text.split(",")}


def _asked(state: State, chosen: dict[str, str]) -> list[tuple[Job, Task]]:
    pairs = list(known_tasks(state))
    if "jobs" in chosen:
        ids = chosen["jobs"].split(",")
        found = [find_tasks(state, word) for word in ids]
        if len(ids) == 1 and not found[0]:
            raise Refusal(_UNKNOWN)
        keys = {run_of(task)["key"] for group in found for _, task in group}
        pairs = [pair for pair in pairs if run_of(pair[1])["key"] in keys]
    if "name" in chosen:
        pairs = [pair for pair in pairs if pair[0]["name"] in chosen["name"].split(",")]
    if "partition" in chosen:
        pairs = [pair for pair in pairs if pair[0]["partition"] in chosen["partition"].split(",")]
    if "user" in chosen:
        pairs = [pair for pair in pairs if pair[0]["user"] in chosen["user"].split(",")]
    return pairs


def _groups(pairs: list[tuple[Job, Task]]) -> list[list[tuple[Job, Task]]]:
    """Waiting tasks of an array stand together; so do those that were ended before they had a record of their own."""
    groups: list[list[tuple[Job, Task]]] = []
    where: dict[tuple[str, str], int] = {}
    for job, task in pairs:
        state = shown_state(task)
        together = job["is_array"] and (state == "PENDING" or not task["split"])
        if together and (job["key"], state) in where:
            groups[where[job["key"], state]].append((job, task))
            continue
        if together:
            where[job["key"], state] = len(groups)
        groups.append([(job, task)])
    return groups


def _row(group: list[tuple[Job, Task]]) -> dict[str, str]:
    job, task = group[0]
    tasks = [member for _, member in group]
    run = run_of(task)
    name, index = _names(job, tasks, bracket=True)
    state = shown_state(task)
    reason = ",".join(dict.fromkeys(member["reason"] for member in reversed(tasks)))
    limit_min = job["limit_min"]
    elapsed = (run["ended"] or time.time()) - run["started"] if run["started"] else 0
    return {
        "i": name,
        "K": index,
        "F": str(job["id"]),
        "A": str(task["raw_id"]),
        "T": state,
        "t": SHORT.get(state, state),
        "r": reason,
        "N": run["node"],
        "R": run["node"] if state in ("RUNNING", "COMPLETING") else f"({reason})",
        "j": job["name"],
        "u": job["user"],
        "a": job["account"],
        "P": job["partition"],
        "M": options.duration(elapsed, short=True),
        "D": "1",
        "V": options.stamp(run["submitted"], "N/A"),
        "S": options.stamp(run["started"], "N/A"),
        "l": "UNLIMITED" if limit_min is None else options.duration(60 * limit_min),
        "L": "UNLIMITED" if limit_min is None else options.duration(60 * limit_min - elapsed),
    }


def _names(job: Job, tasks: list[Task], *, bracket: bool) -> tuple[str, str]:
    if not job["is_array"]:
        return str(job["id"]), "N/A"
    text = array_text(job, tasks) if bracket else str(tasks[0]["index"])
    inner = text.strip("[]")
    return f"{job['id']}_{text}", inner


def array_text(job: Job, tasks: list[Task]) -> str:
    """`3`, or `[0-2,5%2]` for tasks that stand in their array's one record."""
    indices = sorted(task["index"] for task in tasks if task["index"] is not None)
    untouched = not any(task["split"] for task in tasks)
    if len(tasks) == 1 and (not untouched or len(job["tasks"]) > 1):
        return str(indices[0])
    limit = f"%{job['throttle']}" if job["throttle"] and untouched else ""
    return f"[{as_indices(indices)}{limit}]"
