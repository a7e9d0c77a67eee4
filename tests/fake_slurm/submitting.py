"""sbatch: a script, its options, and what Slurm says of those that it will not take."""

import json
import os
import pwd
import re
import sys
import time
from pathlib import Path

from fake_slurm import options
from fake_slurm.options import Refusal
from fake_slurm.records import DEFAULT_PARTITION, NODES, PARTITIONS, Job, State, all_tasks, indices_of, is_ended, new_task, split
from fake_slurm.store import RUN_VARIABLE, STEP_VARIABLE, UNLOGGED, Store, write_text

_VALUES = options.names(
    "job-name array output error open-mode partition account qos constraint time signal exclude mem mem-per-cpu gpus-per-node"
    " gres cpus-per-task nodes ntasks ntasks-per-node begin dependency kill-on-invalid-dep chdir wrap comment export wckey"
    " mail-type mail-user nice gpus",
    J="job-name", a="array", o="output", e="error", p="partition", A="account", q="qos", C="constraint", t="time", x="exclude",
    c="cpus-per-task", N="nodes", n="ntasks", b="begin", d="dependency", D="chdir", G="gpus",
)  # fmt: skip
_FLAGS = options.names("parsable test-only requeue no-requeue exclusive hold quiet", H="hold", Q="quiet")
_FAILED = "sbatch: error: Batch job submission failed: "
_LIMIT_WORDS = (
    "sbatch: error: QOSMaxSubmitJobPerUserLimit\n"
    f"{_FAILED}Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
)


def sbatch(store: Store, arguments: list[str]) -> None:
    """Submit; the id is printed."""
    chosen, rest = options.parse("sbatch", arguments, _VALUES, _FLAGS, usage_code=255, mixed=False)
    script = _script_text(chosen, rest)
    asked = _merge(_script_options(script), chosen)
    asked.setdefault("job-name", "wrap" if "wrap" in chosen else Path(rest[0]).name if rest else "sbatch")
    state = store.read()
    switches = state["switches"]
    if switches["refuse"]:
        raise Refusal(switches["refuse"])
    if "test-only" in asked:
        _print_test(store, asked)
        return
    if state["controller_down"]:
        raise Refusal(f"{_FAILED}Unable to contact slurm controller (connect failure)")
    _run_shell(switches["before_sbatch"])
    job_id = _submit(store, asked, script)
    _run_shell(switches["after_sbatch"])
    if switches["lost_replies"]:
        raise Refusal(f"{_FAILED}Socket timed out on send/recv operation")
    _answer(str(job_id) if "parsable" in asked else f"Submitted batch job {job_id}", switches["banner"], switches["mumble"])


def _answer(answer: str, banner: str, mumble: str) -> None:
    lines = [banner, mumble or answer, banner]
    print("\n".join(line for line in lines if line))


def _run_shell(text: str) -> None:
    """$PPID stands for the process that called sbatch, whatever the shell says of it."""
    if text:
        import subprocess  # costs as much time as all the rest

        sys.stdout.flush()
        subprocess.run(["/bin/sh", "-c", text.replace("$PPID", str(os.getppid()))], check=False)


def _script_text(chosen: dict[str, str], rest: list[str]) -> str:
    if "wrap" in chosen:
        return f"#!/bin/sh\n# This script was created by sbatch --wrap.\n\n{chosen['wrap']}\n"
    try:
        text = Path(rest[0]).read_text() if rest else sys.stdin.read()
    except OSError:
        raise Refusal(f"sbatch: error: Unable to open file {rest[0]}") from None
    if not text.startswith("#!"):
        raise Refusal(
            "sbatch: error: This does not look like a batch script.  The first\n"
            "sbatch: error: line must start with #! followed by the path to an interpreter.\n"
            "sbatch: error: For instance: #!/bin/sh"
        )
    return text


def _script_options(script: str) -> dict[str, str]:
    """The #SBATCH lines before the first command."""
    found: dict[str, str] = {}
    for line in script.splitlines():
        if match := re.match(r"#SBATCH\s+(.*?)(?:\s+#.*)?$", line):
            words = _words(match[1])
            found |= options.parse("sbatch", words, _VALUES, _FLAGS, usage_code=255)[0]
        elif line.strip() and not line.startswith("#"):
            break
    return found


def _merge(script: dict[str, str], chosen: dict[str, str]) -> dict[str, str]:
    """The command line wins."""
    other = {"requeue": "no-requeue", "no-requeue": "requeue"}
    return {name: value for name, value in script.items() if other.get(name) not in chosen} | chosen


def _words(text: str) -> list[str]:
    """As sbatch reads a line: quotes group, blanks part."""
    return [re.sub(r"[\"']", "", word) for word in re.findall(r"(?:[^\s\"']|\"[^\"]*\"|'[^']*')+", text)]


def _check(state: State, asked: dict[str, str], prefix: str) -> None:
    """Refuse what no node can ever do.

    Raises
    ------
    Refusal
        With Slurm's words.
    """
    if asked.get("nodes", "1") not in ("1", "1-1") or asked.get("export", "ALL") != "ALL":
        raise Refusal("sbatch: error: The fake Slurm has no jobs of several nodes, and no --export but ALL.")
    partition = asked.get("partition", DEFAULT_PARTITION)
    if partition not in PARTITIONS:
        raise Refusal(f"sbatch: error: invalid partition specified: {partition}\n{prefix}Invalid partition name specified")
    excluded = options.node_names(asked.get("exclude", ""))
    if not set(excluded) <= set(NODES):
        raise Refusal(f"{prefix}Invalid node name specified")
    if set(PARTITIONS[partition]) <= set(excluded):
        raise Refusal(f"{prefix}Requested node configuration is not available")
    try:
        indices, _ = _array(asked)
    except ValueError:
        raise Refusal(f"{prefix}Invalid job array specification") from None
    if max(indices, default=0) >= state["settings"]["max_array_size"]:
        raise Refusal(f"{prefix}Invalid job array specification")
    _dependencies(asked, prefix)


def _array(asked: dict[str, str]) -> tuple[list[int], int]:
    """The indices, none for a plain job, and how many may run at once; 0 for all."""
    spans, _, throttle = asked.get("array", "").partition("%")
    return (indices_of(spans) if "array" in asked else []), int(throttle or 0)


def _dependencies(asked: dict[str, str], prefix: str = _FAILED) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    for part in asked.get("dependency", "").split(","):
        kind, *ids = part.split(":")
        if part and (kind not in ("afterok", "afterany") or not ids or not all(word.isdigit() for word in ids)):
            raise Refusal(f"{prefix}Job dependency problem")
        found += [(kind, int(word)) for word in ids]
    return found


def _print_test(store: Store, asked: dict[str, str]) -> None:
    """An id is used up, and no job is made."""
    state = store.read()
    if state["controller_down"]:
        raise Refusal("allocation failure: Unable to contact slurm controller (connect failure)")
    _check(state, asked, "allocation failure: ")
    _job(state, asked, "0")
    with store.change() as changing:
        number = changing["next_id"]
        changing["next_id"] += 1
    partition = asked.get("partition", DEFAULT_PARTITION)
    node = next(node for node in PARTITIONS[partition] if node not in options.node_names(asked.get("exclude", "")))
    where = f"using {_cpus(asked)} processors on nodes {node} in partition {partition}"
    print(f"sbatch: Job {number} to start at {options.stamp(time.time(), '')} {where}", file=sys.stderr)


def _submit(store: Store, asked: dict[str, str], script: str) -> int:
    environment = {name: value for name, value in os.environ.items() if name not in (RUN_VARIABLE, STEP_VARIABLE, UNLOGGED)}
    with store.change() as state:
        _check(state, asked, _FAILED)
        state["serial"] += 1
        job = _job(state, asked, str(state["serial"]))
        _check_limit(state, job)
        folder = store.job(job["key"])
        folder.mkdir()
        write_text(folder / "script", script)
        write_text(folder / "environment.json", json.dumps(environment))
        state["next_id"] += 1
        state["jobs"].append(job)
        if not job["is_array"]:
            split(state, job, job["tasks"][0])
    return job["id"]


def _check_limit(state: State, job: Job) -> None:
    limit = state["switches"]["submit_limit"]
    queued = sum(not is_ended(task) for other, task in all_tasks(state) if other["uid"] == job["uid"])
    if limit is not None and queued + len(job["tasks"]) > limit:
        raise Refusal(_LIMIT_WORDS)


def _cpus(asked: dict[str, str]) -> int:
    return int(asked.get("cpus-per-task", 1)) * int(asked.get("ntasks-per-node", asked.get("ntasks", 1)))


def _job(state: State, asked: dict[str, str], key: str) -> Job:
    indices, throttle = _array(asked)
    is_array = "array" in asked
    number = state["next_id"]
    user = pwd.getpwuid(os.getuid()).pw_name
    begin = options.moment_of(asked["begin"]) if "begin" in asked else 0.0
    signal, _, seconds = asked.get("signal", "").partition("@")
    output = asked.get("output", "slurm-%A_%a.out" if is_array else "slurm-%j.out")
    limit = asked.get("time")
    tasks = [new_task(state, number, index, begin) for index in (indices if is_array else [None])]
    for task in tasks:
        task["held"] = "JobHeldUser" if "hold" in asked else ""
    return {
        "key": key,
        "id": number,
        "name": asked["job-name"],
        "user": user,
        "uid": os.getuid(),
        "account": asked.get("account", user),
        "partition": asked.get("partition", DEFAULT_PARTITION),
        "is_array": is_array,
        "throttle": throttle,
        "tasks": tasks,
        "cwd": str(Path(asked.get("chdir", ".")).resolve()),
        "output": output,
        "error": asked.get("error", ""),
        "append": asked.get("open-mode", "").startswith("a"),
        "limit_min": None if limit is None else options.minutes_of(limit),
        "signal": signal.removeprefix("B:").removeprefix("SIG"),
        "signal_s": int(seconds or 60),
        "exclude": options.node_names(asked.get("exclude", "")),
        "cpus": _cpus(asked),
        "memory": asked.get("mem", f"{100 * _cpus(asked)}M"),
        "requeue": "no-requeue" not in asked,
        "dependencies": _dependencies(asked),
        "kill_on_invalid": asked.get("kill-on-invalid-dep", "") == "yes",
        "submitted": time.time(),
    }
