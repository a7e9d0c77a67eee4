"""sacct: what the database has of every run and its steps, as of a while ago."""

import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fake_slurm import options
from fake_slurm.options import Refusal
from fake_slurm.queue_table import array_text, print_lines, states_of
from fake_slurm.records import Job, Run, State, Task, indices_of
from fake_slurm.stepping import steps_of
from fake_slurm.store import Store, read_json

_VALUES = options.names(
    "name jobs starttime endtime format user state", j="jobs", S="starttime", E="endtime", o="format", u="user", s="state"
)
_FLAGS = options.names(
    "duplicates allocations noheader parsable2 parsable allusers", D="duplicates", X="allocations", n="noheader", P="parsable2",
    p="parsable", a="allusers",
)  # fmt: skip
_FIELDS = (
    "JobID", "JobIDRaw", "JobName", "Partition", "Account", "User", "AllocCPUS", "State", "ExitCode", "NodeList", "ReqMem",
    "MaxRSS", "Submit", "Eligible", "Start", "End", "Elapsed",
)  # fmt: skip
_DEFAULT = "JobID,JobName,Partition,Account,AllocCPUS,State,ExitCode"
_WIDTHS = {"JobID": 12, "ExitCode": 8, "Submit": 19, "Eligible": 19, "Start": 19, "End": 19, "NodeList": 15}
_DATABASE = (
    "sacct: error: slurm_persist_conn_open_without_init: failed to open persistent connection to host:127.0.0.1:6819:"
    " Connection refused\nsacct: error: Sending PersistInit msg: Connection refused\n"
    "sacct: error: Problem talking to the database: Connection refused"
)
_BY_ITSELF = {"PENDING", "RUNNING", "COMPLETED", "FAILED"}


def sacct(store: Store, arguments: list[str]) -> None:
    """Print the table."""
    chosen, _ = options.parse("sacct", arguments, _VALUES, _FLAGS)
    state = store.read()
    if state["switches"]["no_sacct"]:
        raise Refusal("Slurm accounting storage is disabled")
    if state["database_down"]:
        raise Refusal(_DATABASE)
    fields = _fields(chosen.get("format", _DEFAULT))
    rows = [row for rows in _job_rows(store, state, chosen) for row in rows]
    print_lines(_lines(rows, fields, chosen))


def _fields(text: str) -> list[str]:
    known = {field.lower(): field for field in _FIELDS}
    asked = [word.partition("%")[0] for word in text.split(",") if word]
    for word in asked:
        if word.lower() not in known:
            raise Refusal(f'sacct: error: Invalid field requested: "{word}"')
    return [known[word.lower()] for word in asked]


def _lines(rows: list[dict[str, str]], fields: list[str], chosen: Mapping[str, str]) -> list[str]:
    titled = ([] if "noheader" in chosen else [dict(zip(fields, fields, strict=True))]) + rows
    if "parsable2" in chosen or "parsable" in chosen:
        end = "|" if "parsable" in chosen else ""
        return ["|".join(row.get(field, "") for field in fields) + end for row in titled]
    lines = [" ".join(_cell(row.get(field, ""), field) for field in fields) + " " for row in titled]
    if "noheader" not in chosen:
        lines.insert(1, " ".join("-" * _WIDTHS.get(field, 10) for field in fields) + " ")
    return lines


def _cell(text: str, field: str) -> str:
    width = _WIDTHS.get(field, 10)
    short = text if len(text) <= width else text[: width - 1] + "+"
    return short.ljust(width) if field == "JobID" else short.rjust(width)


def _job_rows(store: Store, state: State, chosen: Mapping[str, str]) -> Iterator[list[dict[str, str]]]:
    """The rows of each run, those of its steps behind it."""
    as_of = time.time() - state["switches"]["sacct_lag_s"]
    seen = [
        (job, tasks, run)
        for job in [*state["forgotten"], *state["jobs"]]
        if job["submitted"] <= as_of and _is_asked(job, chosen)
        for tasks, run in _records(job, as_of)
        if _is_named(job, tasks, chosen) and _is_in_window(run, chosen, as_of)
    ]
    if "duplicates" not in chosen:
        newest = {_label(job, tasks): (job, tasks, run) for job, tasks, run in sorted(seen, key=lambda one: one[2]["submitted"])}
        seen = [one for one in seen if newest[_label(one[0], one[1])][2] is one[2]]
    wanted = states_of(chosen["state"]) if "state" in chosen else None
    for job, tasks, run in seen:
        if wanted is not None and _as_of(run["state"], run["started"], run["ended"], as_of)[0] not in wanted:
            continue
        yield [
            _job_row(job, tasks, run, as_of),
            *([] if "allocations" in chosen else _step_rows(store, job, tasks[0], run, as_of)),
        ]


def _records(job: Job, as_of: float) -> Iterator[tuple[list[Task], Run]]:
    """Every run of every task; tasks that stand in the array's one record are together, by their state."""
    together: dict[str, tuple[list[Task], Run]] = {}
    for task in job["tasks"]:
        first, *more = task["runs"]
        if task["split"]:
            yield [task], first
        else:
            together.setdefault(first["state"], ([], first))[0].append(task)
        for run in more:
            if run["eligible"] is not None and run["eligible"] <= as_of:  # the database hears of a requeue when it may start
                yield [task], run
    yield from together.values()


def _is_asked(job: Job, chosen: Mapping[str, str]) -> bool:
    return ("name" not in chosen or job["name"] in chosen["name"].split(",")) and (
        "user" not in chosen or job["user"] in chosen["user"].split(",")
    )


def _is_named(job: Job, tasks: list[Task], chosen: Mapping[str, str]) -> bool:
    if "jobs" not in chosen:
        return True
    for word in chosen["jobs"].split(","):
        number, _, indices = word.partition("_")
        wanted = set(indices_of(indices.strip("[]"))) if indices else None
        if number == str(job["id"]) and (wanted is None or any(task["index"] in wanted for task in tasks)):
            return True
        if wanted is None and any(task["split"] and number == str(task["raw_id"]) for task in tasks):
            return True
    return False


def _is_in_window(run: Run, chosen: Mapping[str, str], as_of: float) -> bool:
    """Those of today that could start at all, unless the ids or a time are given."""
    if "starttime" not in chosen and "jobs" in chosen:
        return True
    since = options.moment_of(chosen["starttime"]) if "starttime" in chosen else options.moment_of(time.strftime("%Y-%m-%d"))
    eligible = run["eligible"] is not None and run["eligible"] <= as_of
    return ("jobs" in chosen or eligible) and (run["ended"] is None or run["ended"] >= int(since))


def _label(job: Job, tasks: list[Task]) -> str:
    return f"{job['id']}_{array_text(job, tasks)}" if job["is_array"] else str(job["id"])


def _job_row(job: Job, tasks: list[Task], run: Run, as_of: float) -> dict[str, str]:
    state, started, ended = _as_of(run["state"], run["started"], run["ended"], as_of)
    is_over = ended is not None
    by = f" by {run['cancelled_by']}" if state == "CANCELLED" and run["cancelled_by"] is not None else ""
    return {
        "JobID": _label(job, tasks),
        "JobIDRaw": str(tasks[0]["raw_id"]),
        "JobName": job["name"],
        "Partition": job["partition"],
        "Account": job["account"],
        "User": job["user"],
        "AllocCPUS": str(job["cpus"]) if started else "0",
        "State": state + by,
        "ExitCode": exit_text(run["exit_code"], run["exit_signal"]) if is_over else "0:0",
        "NodeList": run["node"] if started else "None assigned",
        "ReqMem": job["memory"],
        "MaxRSS": "",
        "Submit": options.stamp(run["submitted"], "Unknown"),
        "Eligible": options.stamp(run["eligible"], "Unknown"),
        **_times(started, ended, as_of),
    }


def _as_of(state: str, started: float | None, ended: float | None, as_of: float) -> tuple[str, float | None, float | None]:
    """What was known then."""
    started = started if started is not None and started <= as_of else None
    if ended is not None and ended <= as_of:
        return state, started, ended
    return ("RUNNING" if started else "PENDING"), started, None


def _times(started: float | None, ended: float | None, as_of: float) -> dict[str, str]:
    elapsed = 0 if started is None else int(ended if ended is not None else as_of) - int(started)
    return {
        "Start": options.stamp(started, "Unknown" if ended is None else "None"),
        "End": options.stamp(ended, "Unknown"),
        "Elapsed": options.duration(elapsed),
    }


def exit_text(code: int, killer: int) -> str:
    """As sacct has it, which takes 128 from what a shell made of a signal: 137 is 9:0, and 200 is 72:0."""
    return f"{code - 128 if code >= 128 else code}:{killer}"


def _step_rows(store: Store, job: Job, task: Task, run: Run, as_of: float) -> Iterator[dict[str, str]]:
    if run["started"] is None or run["started"] > as_of:
        return
    folder = store.run(run["key"])
    exited: dict[str, Any] = read_json(folder / "exit.json") or {}
    batch = exited | {"name": "batch", "started": run["started"]}
    for label, record in [("batch", batch), *((str(step["number"]), step) for step in steps_of(folder))]:
        yield _step_row(folder, f"{_label(job, [task])}.{label}", f"{task['raw_id']}.{label}", record, run, as_of)


def _step_row(folder: Path, name: str, raw: str, step: Mapping[str, Any], run: Run, as_of: float) -> dict[str, str]:
    """While a step has not ended its job's end is its own."""
    state, code, killer = _step_end(step, run)
    ended = run["ended"] if run["state"] == "NODE_FAIL" else step.get("ended", run["ended"])
    state, started, ended = _as_of(state, step["started"], ended, as_of)
    is_over = ended is not None
    memory = read_json(folder / f"{name.rpartition('.')[2]}.memory.json") or {}
    peak = memory.get("rss_kib", step.get("rss_kib"))
    return {
        "JobID": name,
        "JobIDRaw": raw,
        "JobName": step["name"],
        "AllocCPUS": "1",
        "State": f"{state} by 0" if memory and is_over else state,
        "ExitCode": exit_text(code, killer) if is_over else "0:0",
        "NodeList": run["node"],
        "MaxRSS": f"{peak}K" if peak and is_over else "",
        "Submit": options.stamp(step["started"], "Unknown"),
        "Eligible": options.stamp(step["started"], "Unknown"),
        **_times(started, ended, as_of),
    }


def _step_end(step: Mapping[str, Any], run: Run) -> tuple[str, int, int]:
    if run["state"] == "NODE_FAIL":  # nobody is there to say
        return "CANCELLED", 0, 0
    if "ended" in step:
        code, killer = step["code"], step["signal"]
        return ("CANCELLED" if killer else "FAILED" if code else "COMPLETED"), code, killer
    if run["state"] in _BY_ITSELF:  # its srun was killed before it could say
        return "CANCELLED", 0, int(signal.SIGKILL)
    return run["state"], 0, 0
