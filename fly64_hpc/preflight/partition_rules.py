"""The partition: whether it is there and open, for this account and QOS, and for so long."""

import os
from collections.abc import Iterator, Mapping

from fly64_hpc.preflight.finding import Finding, Severity
from fly64_hpc.resources import Resources
from fly64_hpc.slurm.cluster_facts import ClusterFacts, Partition

SUBJECT = "partition"
CLOSED = ("INACTIVE", "DRAIN")
"""States in which a partition takes no new jobs; one that is DOWN takes them and starts none."""


def partitions_meant(resources: Resources, cluster: ClusterFacts, environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The partitions to which a job may go: those that it names, or the user's own default, or Slurm's."""
    named = resources.partition or environment.get("SBATCH_PARTITION") or cluster.default_partition()
    return tuple(named.split(",")) if named else ()


def examine(resources: Resources, cluster: ClusterFacts) -> Iterator[Finding]:
    """Every partition that is meant."""
    for name in partitions_meant(resources, cluster):
        if name not in cluster.partition_names():
            known = ", ".join(cluster.partition_names())
            yield Finding(
                SUBJECT, Severity.ERROR, f"There is no partition {name}; this Slurm has {known}.", "Name one with --partition."
            )
            continue
        found = [*_open(name, cluster), *_rules(name, resources, (cluster.partitions or {}).get(name))]
        yield from found or [Finding(SUBJECT, Severity.OK, f"Partition {name} is up and takes jobs of {resources.time}.")]


def _open(name: str, cluster: ClusterFacts) -> Iterator[Finding]:
    partition = (cluster.partitions or {}).get(name)
    if partition is not None and partition.state in CLOSED:
        sentence = f"Partition {name} is {partition.state}: it takes no new jobs."
        yield Finding(SUBJECT, Severity.ERROR, sentence, "Name another with --partition, or wait until it is up.")
    elif partition is not None and partition.state != "UP":
        sentence = f"Partition {name} is {partition.state}: jobs would wait until it is up."
        yield Finding(SUBJECT, Severity.WARNING, sentence, "`sinfo` shows the others; name one with --partition.")
    elif (nodes := cluster.nodes_of(name)) and not any(node.is_at_work for node in nodes):
        states = ", ".join(dict.fromkeys(node.state for node in nodes))
        sentence = f"No node of partition {name} is at work now ({states}): jobs would wait."
        yield Finding(SUBJECT, Severity.WARNING, sentence, "`sinfo` shows the others; name one with --partition.")


def _rules(name: str, resources: Resources, partition: Partition | None) -> Iterator[Finding]:
    if partition is None:
        return
    for who, flag, value in (("Accounts", "account", resources.account), ("Qos", "qos", resources.qos)):
        if value is None:
            continue
        allowed, denied = partition.rules.get(f"Allow{who}"), partition.rules.get(f"Deny{who}", frozenset())
        if (allowed is not None and value not in allowed) or value in denied:
            rule = f"allowed are {', '.join(sorted(allowed))}" if allowed else f"denied are {', '.join(sorted(denied))}"
            sentence = f"Partition {name} takes no jobs of {flag} {value}; {rule}."
            yield Finding(SUBJECT, Severity.ERROR, sentence, f"Name another --{flag}, or another --partition.")
    if partition.max_time_min is not None and resources.time_limit_min > partition.max_time_min:
        longest = clock(partition.max_time_min)
        severity = Severity.ERROR if resources.qos is None else Severity.WARNING  # a QOS may lift the limit
        sentence = f"The time limit {resources.time} is longer than partition {name} allows: {longest}."
        yield Finding(SUBJECT, severity, sentence, f"Ask for at most --time {longest}.")


def clock(minutes: int) -> str:
    """A time limit as Slurm writes it: `1-12:00:00`."""
    days, rest = divmod(minutes, 1440)
    return (f"{days}-" if days else "") + f"{rest // 60:02}:{rest % 60:02}:00"
