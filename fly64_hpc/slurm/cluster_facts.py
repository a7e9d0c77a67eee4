"""What a Slurm has: partitions with their rules, nodes with their hardware, limits of the whole. One call of each command."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fly64_hpc.resources import memory_mib, time_limit_min
from fly64_hpc.slurm.calls import SlurmCalls

CALL_TIMEOUT_S = 15.0
SINFO_FORMAT = "%R|%N|%o|%n|%c|%m|%G|%f|%T"
_NO_LIMIT = ("UNLIMITED", "INFINITE", "NONE", "N/A", "")
_EVERYBODY = ("ALL", "(null)", "N/A", "")
_GPU = re.compile(r"(?:^|,)gpu(?::(?P<kind>[^:,(]*[A-Za-z][^:,(]*))?(?::(?P<count>\d+))?(?=[,(]|$)")
_OUT_OF_WORK = ("down", "drain", "fail", "inval", "not_resp", "no_resp", "maint", "unknown", "future")


@dataclass(frozen=True)
class Node:
    """One node in one partition."""

    partition: str
    name: str
    addresses: frozenset[str]
    """What it is reached by: NodeAddr and NodeHostname."""
    cpus: int
    memory_mib: float
    gpus: Mapping[str, int]
    """Kind to number; the kind is empty where the site names none."""
    features: frozenset[str]
    state: str

    @property
    def is_at_work(self) -> bool:
        """Whether it may get a job now or once another has ended."""
        return not self.state.rstrip("*~#!%$@^-").startswith(_OUT_OF_WORK) and not self.state.endswith("*")

    def gpus_of(self, kind: str) -> int:
        """How many GPUs of a kind it has; every kind, where none is named."""
        return sum(self.gpus.values()) if not kind else self.gpus.get(kind, 0)


@dataclass(frozen=True)
class Partition:
    """What `scontrol show partition` says of one."""

    name: str
    state: str
    is_default: bool
    max_time_min: int | None
    """None: no limit."""
    rules: Mapping[str, frozenset[str]]
    """AllowAccounts, DenyAccounts, AllowQos, DenyQos: those that name anybody."""


@dataclass(frozen=True)
class ClusterFacts:
    """Everything that was heard; what was not is empty, and its command's words are in `problems`."""

    nodes: tuple[Node, ...] = ()
    partitions: Mapping[str, Partition] | None = None
    configuration: Mapping[str, str] | None = None
    problems: tuple[str, ...] = ()

    def partition_names(self) -> tuple[str, ...]:
        """Every partition that either command names."""
        return tuple(dict.fromkeys([*(self.partitions or {}), *(node.partition for node in self.nodes)]))

    def default_partition(self) -> str | None:
        """Where a job goes that names no partition."""
        return next((name for name, partition in (self.partitions or {}).items() if partition.is_default), None)

    def nodes_of(self, partition: str) -> tuple[Node, ...]:
        """The nodes of a partition."""
        return tuple(node for node in self.nodes if node.partition == partition)

    def number(self, key: str) -> int | None:
        """A whole number of the configuration."""
        match = re.match(r"\d+", (self.configuration or {}).get(key, ""))
        return int(match[0]) if match else None


def ask_cluster(calls: SlurmCalls) -> ClusterFacts:
    """Ask sinfo and scontrol, three calls in all; only the first where that one gets no answer."""
    sinfo = calls("sinfo", "--all", "--Node", "--noheader", f"--format={SINFO_FORMAT}", timeout_s=CALL_TIMEOUT_S)
    if not sinfo.is_good:
        return ClusterFacts(problems=(f"sinfo: {sinfo.words}",))
    partitions = calls("scontrol", "--all", "--oneliner", "show", "partition", timeout_s=CALL_TIMEOUT_S)
    configuration = calls("scontrol", "show", "config", timeout_s=CALL_TIMEOUT_S)
    problems = [f"scontrol: {answer.words}" for answer in (partitions, configuration) if not answer.is_good]
    return ClusterFacts(
        nodes=tuple(parse_nodes(sinfo.out)),
        partitions={partition.name: partition for partition in parse_partitions(partitions.out)} if partitions.is_good else None,
        configuration=parse_configuration(configuration.out) if configuration.is_good else None,
        problems=tuple(problems),
    )


def parse_nodes(text: str) -> Iterator[Node]:
    """Read sinfo's lines of `SINFO_FORMAT`; what is no such line, as a banner, is passed over."""
    for line in text.splitlines():
        fields = [field.strip() for field in line.split("|")]
        if len(fields) != 9 or not (fields[4].rstrip("+").isdigit() and fields[5].rstrip("+").isdigit()):
            continue
        partition, name, address, host, cpus, memory, gres, features, state = fields
        yield Node(
            partition=partition,
            name=name,
            addresses=frozenset({address, host}),
            cpus=int(cpus.rstrip("+")),
            memory_mib=memory_mib(memory.rstrip("+")),
            gpus=parse_gpus(gres),
            features=frozenset(name for name in features.split(",") if name != "(null)"),
            state=state.lower(),
        )


def parse_gpus(gres: str) -> dict[str, int]:
    """Read `gpu:a100:4(S:0-1),nvme:1` as kind to number."""
    found: dict[str, int] = {}
    for match in _GPU.finditer(re.sub(r"\([^)]*\)", "", gres)):
        kind = match["kind"] or ""
        found[kind] = found.get(kind, 0) + int(match["count"] or 1)
    return found


def parse_partitions(text: str) -> Iterator[Partition]:
    """Read the lines of `scontrol --oneliner show partition`."""
    for line in text.splitlines():
        fields = dict(word.partition("=")[::2] for word in line.split() if "=" in word)
        if "PartitionName" not in fields:
            continue
        limit = fields.get("MaxTime", "")
        names = {key: fields.get(key, "") for key in ("AllowAccounts", "DenyAccounts", "AllowQos", "DenyQos")}
        yield Partition(
            name=fields["PartitionName"],
            state=fields.get("State", "UP"),
            is_default=fields.get("Default") == "YES",
            max_time_min=None if limit.upper() in _NO_LIMIT else time_limit_min(limit),
            rules={key: frozenset(value.split(",")) for key, value in names.items() if value not in _EVERYBODY},
        )


def parse_configuration(text: str) -> dict[str, str]:
    """Read the `Key = value` lines of `scontrol show config`."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key.strip(): value.strip() for key, _, value in pairs}
