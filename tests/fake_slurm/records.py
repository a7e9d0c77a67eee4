"""What the fake Slurm knows, as JSON has it: jobs, their tasks, and every run of a task."""

import time
from collections.abc import Iterator
from typing import Literal, TypedDict

PARTITIONS = {"cpu": ["c1"], "gpu": ["g1", "g2", "g3"], "spot": ["g1", "g2", "g3"]}
DEFAULT_PARTITION = "cpu"
NODES = ["c1", "g1", "g2", "g3"]

COMMANDS = ("sbatch", "srun", "squeue", "sacct", "scancel", "scontrol", "sinfo")


class Run(TypedDict):
    """One incarnation of a task; a requeue makes the next one."""

    key: str
    """The name of its folder under runs/."""
    state: str
    node: str
    submitted: float
    eligible: float | None
    started: float | None
    ended: float | None
    exit_code: int
    exit_signal: int
    cancelled_by: int | None


class Ending(TypedDict):
    """A run that was told to end, and may still have processes."""

    kill_at: float
    cause: str
    """As the step's own words have it: ` DUE TO TIME LIMIT`."""
    told: bool
    requeue: bool


class Task(TypedDict):
    index: int | None
    raw_id: int
    split: bool
    """Whether it has a record of its own; until then it stands in its array's `12_[0-3%2]`."""
    reason: str
    runs: list[Run]
    restarts: int
    ready_at: float
    """Not to be started before: BeginTime."""
    held: str
    """The reason for which it waits for a release, or nothing."""
    warned: bool
    preempt_at: float | None
    ending: Ending | None
    lost: bool


class Job(TypedDict):
    key: str
    """Its folder under jobs/; ids may begin again, this does not."""
    id: int
    name: str
    user: str
    uid: int
    account: str
    partition: str
    is_array: bool
    throttle: int
    tasks: list[Task]
    cwd: str
    output: str
    error: str
    append: bool
    limit_min: float | None
    signal: str
    signal_s: int
    exclude: list[str]
    cpus: int
    memory: str
    requeue: bool
    dependencies: list[tuple[str, int]]
    kill_on_invalid: bool
    submitted: float


class Node(TypedDict):
    silent_since: float | None
    """Since then the controller has heard nothing of it."""
    crashed: bool
    down: bool
    """What the controller believes."""


class Settings(TypedDict):
    max_array_size: int
    minute_s: float
    kill_wait_s: float
    requeue_delay_s: float
    min_job_age_s: float
    node_timeout_s: float
    cpus_per_node: int
    first_job_id: int


DEFAULTS: Settings = {
    "max_array_size": 1001,
    "minute_s": 60,
    "kill_wait_s": 2,
    "requeue_delay_s": 1,
    "min_job_age_s": 300,
    "node_timeout_s": 2,
    "cpus_per_node": 4,
    "first_job_id": 1000,
}


class Switches(TypedDict):
    """What a test has switched on; FakeSlurm has an attribute for each."""

    sacct_lag_s: float
    submit_limit: int | None
    lost_replies: bool
    banner: str
    mumble: str
    no_sacct: bool
    refuse: str
    before_sbatch: str
    after_sbatch: str
    address: str


SWITCHES: Switches = {
    "sacct_lag_s": 0,
    "submit_limit": None,
    "lost_replies": False,
    "banner": "",
    "mumble": "",
    "no_sacct": False,
    "refuse": "",
    "before_sbatch": "",
    "after_sbatch": "",
    "address": "127.0.0.1",
}


class State(TypedDict):
    settings: Settings
    switches: Switches
    hangs: dict[str, float]
    controller_down: bool
    database_down: bool
    next_id: int
    serial: int
    jobs: list[Job]
    forgotten: list[Job]
    """Gone from the controller; accounting still has them."""
    nodes: dict[str, Node]


def new_state(settings: Settings) -> State:
    return {
        "settings": settings,
        "switches": SWITCHES.copy(),
        "hangs": {},
        "controller_down": False,
        "database_down": False,
        "next_id": settings["first_job_id"],
        "serial": 0,
        "jobs": [],
        "forgotten": [],
        "nodes": {name: {"silent_since": None, "crashed": False, "down": False} for name in NODES},
    }


def new_run(state: State, submitted: float) -> Run:
    state["serial"] += 1
    return {
        "key": str(state["serial"]),
        "state": "PENDING",
        "node": "",
        "submitted": submitted,
        "eligible": None,
        "started": None,
        "ended": None,
        "exit_code": 0,
        "exit_signal": 0,
        "cancelled_by": None,
    }


def new_task(state: State, job_id: int, index: int | None, begin: float) -> Task:
    return {
        "index": index,
        "raw_id": job_id,
        "split": index is None,
        "reason": "None",
        "runs": [new_run(state, time.time())],
        "restarts": 0,
        "ready_at": begin,
        "held": "",
        "warned": False,
        "preempt_at": None,
        "ending": None,
        "lost": False,
    }


Verdict = Literal["waiting", "met", "never"]


def run_of(task: Task) -> Run:
    """The newest."""
    return task["runs"][-1]


def task_id(job: Job, task: Task) -> str:
    return str(job["id"]) if task["index"] is None else f"{job['id']}_{task['index']}"


def is_ended(task: Task) -> bool:
    """Whether its last run is over, processes and all."""
    return run_of(task)["ended"] is not None and task["ending"] is None


def all_tasks(state: State) -> Iterator[tuple[Job, Task]]:
    for job in state["jobs"]:
        for task in job["tasks"]:
            if not task["lost"]:
                yield job, task


def known_tasks(state: State) -> Iterator[tuple[Job, Task]]:
    """Those that the controller knows of: it forgets ended ones after MinJobAge."""
    oldest = time.time() - state["settings"]["min_job_age_s"]
    for job, task in all_tasks(state):
        ended = run_of(task)["ended"]
        if not is_ended(task) or ended is None or ended >= oldest:
            yield job, task


def split(state: State, job: Job, task: Task) -> None:
    """Give a task a record of its own; the last one of an array keeps the array's id."""
    if task["split"]:
        return
    task["split"] = True
    if any(not other["split"] for other in job["tasks"]):
        task["raw_id"] = state["next_id"]
        state["next_id"] += 1


def find_tasks(state: State, text: str) -> list[tuple[Job, Task]]:
    """What `12`, `12_3`, `12_[0-2,5]` or a task's own number stands for; nothing where it is not known."""
    number, _, indices = text.partition("_")
    if not number.isdigit():
        return []
    known = list(known_tasks(state))
    if indices:
        wanted = set(indices_of(indices.strip("[]")))
        return [(job, task) for job, task in known if job["id"] == int(number) and task["index"] in wanted]
    return [pair for pair in known if pair[0]["id"] == int(number)] or [
        pair for pair in known if pair[1]["split"] and pair[1]["raw_id"] == int(number)
    ]


def indices_of(text: str) -> list[int]:
    """Read `0-3`, `0,3,5`, `0-8:2`.

    Raises
    ------
    ValueError
        It is none of these.
    """
    found: set[int] = set()
    for part in text.split(","):
        bounds, _, step = part.partition(":")
        first, _, last = bounds.partition("-")
        span = range(int(first), int(last or first) + 1, int(step or 1))
        if not span:
            raise ValueError(text)
        found |= set(span)
    return sorted(found)


def as_indices(indices: list[int]) -> str:
    """Write them as Slurm does: `0-2,5-7`."""
    spans: list[list[int]] = []
    for index in indices:
        if spans and spans[-1][1] == index - 1:
            spans[-1][1] = index
        else:
            spans.append([index, index])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)
