"""Whether any node of the partition has what a job asks for: GPUs, cores, memory, features."""

import re
from collections.abc import Iterator, Sequence

from fly64_hpc.preflight.finding import Finding, Severity
from fly64_hpc.resources import Resources, memory_mib
from fly64_hpc.slurm.cluster_facts import Node, parse_gpus

SUBJECT = "nodes"


def examine(resources: Resources, partition: str, nodes: Sequence[Node]) -> Iterator[Finding]:
    """Each wish alone, then all of them on one node."""
    found = [
        *_gpus(resources, partition, nodes),
        *_largest("cores", resources.cpus_per_task, max(node.cpus for node in nodes), partition, "--cpus-per-task"),
        *_memory(resources, partition, nodes),
        *_features(resources, partition, nodes),
    ]
    fitting = sum(fits(resources, node) for node in nodes)
    if not found and not fitting:
        sentence = f"No single node of partition {partition} has all that a job asks for: {wishes(resources)}."
        found = [Finding(SUBJECT, Severity.ERROR, sentence, "Ask for less of one of them; `sinfo -N -l` lists the nodes.")]
    words = f"{fitting} of {len(nodes)} nodes of partition {partition} have what a job asks for: {wishes(resources)}."
    yield from found or [Finding(SUBJECT, Severity.OK, words)]


def gpu_request(resources: Resources) -> tuple[str, int]:
    """Kind, which may be empty, and number of the GPUs of a job."""
    if resources.gres is not None:
        return next(iter(parse_gpus(resources.gres).items()), ("", 0))
    return (resources.gpu_type or "", resources.gpus_per_node) if resources.gpus_per_node else ("", 0)


def wishes(resources: Resources) -> str:
    """What a job asks of a node, in words."""
    kind, count = gpu_request(resources)
    gpus = f"{count} {kind} GPU{'s' if count > 1 else ''}".replace("  ", " ") if count else ""
    memory = f"{resources.mem} of memory" if resources.mem else ""
    features = f"feature {resources.constraint}" if resources.constraint else ""
    return ", ".join(part for part in (gpus, f"{resources.cpus_per_task} cores", memory, features) if part)


def fits(resources: Resources, node: Node) -> bool:
    """Whether a node could ever run a job."""
    kind, count = gpu_request(resources)
    return (
        node.gpus_of(kind) >= count
        and node.cpus >= resources.cpus_per_task
        and (resources.mem is None or node.memory_mib >= memory_mib(resources.mem))
        and node.name not in resources.exclude
        and (resources.constraint is None or "|" in resources.constraint or feature_names(resources.constraint) <= node.features)
    )


def feature_names(constraint: str) -> frozenset[str]:
    """The features that a constraint names, as `a100&nvlink`, `[rack1|rack2]` or `intel*2`."""
    return frozenset(name for name in re.findall(r"[^&|\[\]()*]+", constraint) if not name.isdigit())


def _gpus(resources: Resources, partition: str, nodes: Sequence[Node]) -> Iterator[Finding]:
    kind, count = gpu_request(resources)
    most = max(node.gpus_of(kind) for node in nodes)
    if most >= count:
        return
    kinds = sorted({f"{number} {name}".strip() for node in nodes for name, number in node.gpus.items()})
    if not kinds:
        sentence = f"No node of partition {partition} has a GPU, and a job asks for {count}."
        advice = "Name a partition with GPUs by --partition, or set --gpus-per-node 0 to train on the CPU."
    elif not most:
        sentence = f"No node of partition {partition} has a GPU of kind {kind}; a node has {' or '.join(kinds)}."
        advice = "Change resources.gpu_type (or resources.gres), or name another --partition."
    else:
        sentence = f"A job asks for {count} GPUs, and a node of partition {partition} has at most {most}."
        advice = "Lower --gpus-per-node: a job trains on one."
    yield Finding(SUBJECT, Severity.ERROR, sentence, advice)


def _largest(what: str, asked: float, most: float, partition: str, flag: str) -> Iterator[Finding]:
    if asked > most:
        sentence = f"A job asks for {asked:g} {what}, and the largest node of partition {partition} has {most:g}."
        yield Finding(SUBJECT, Severity.ERROR, sentence, f"Lower {flag}.")


def _memory(resources: Resources, partition: str, nodes: Sequence[Node]) -> Iterator[Finding]:
    most_mib = max(node.memory_mib for node in nodes)
    if resources.mem is not None:
        yield from _largest("MiB of memory", memory_mib(resources.mem), most_mib, partition, "--mem")


def _features(resources: Resources, partition: str, nodes: Sequence[Node]) -> Iterator[Finding]:
    if resources.constraint is None:
        return
    asked, known = feature_names(resources.constraint), frozenset().union(*(node.features for node in nodes))
    unknown = asked - known
    if unknown == asked or (unknown and "|" not in resources.constraint):
        there = f"there are {', '.join(sorted(known))}" if known else "they have no features"
        sentence = f"No node of partition {partition} has the feature {', '.join(sorted(unknown))} of the constraint; {there}."
        yield Finding(SUBJECT, Severity.ERROR, sentence, "Change --constraint.")
