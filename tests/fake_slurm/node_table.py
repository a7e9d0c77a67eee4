"""sinfo, and partitions as scontrol shows them."""

import re

from fake_slurm import options
from fake_slurm.options import Refusal
from fake_slurm.queue_table import print_lines
from fake_slurm.records import DEFAULT_PARTITION, PARTITIONS, State
from fake_slurm.store import Store

_VALUES = options.names("format partition nodes states", o="format", p="partition", n="nodes", t="states")
_FLAGS = options.names("all Node noheader exact", a="all", N="Node", h="noheader", e="exact")
_DOWN = "slurm_load_partitions: Unable to contact slurm controller (connect failure)"
MEMORY_MB = 8000
GPUS = "gpu:2"


def sinfo(store: Store, arguments: list[str]) -> None:
    """Print a line a node and partition; without --Node the real one puts equal nodes together."""
    chosen, _ = options.parse("sinfo", arguments, _VALUES, _FLAGS)
    if "Node" not in chosen or "format" not in chosen or "noheader" not in chosen:
        raise Refusal("sinfo: error: The fake Slurm knows --Node --noheader --format alone.")
    state = store.read()
    if state["controller_down"]:
        raise Refusal(_DOWN)
    wanted = chosen["partition"].split(",") if "partition" in chosen else list(PARTITIONS)
    pairs = sorted((node, partition) for partition in wanted for node in PARTITIONS.get(partition, []))
    print_lines([_line(state, chosen["format"], node, partition) for node, partition in pairs])


def _line(state: State, layout: str, node: str, partition: str) -> str:
    cells = {
        "R": partition,
        "P": partition + ("*" if partition == DEFAULT_PARTITION else ""),
        "N": node,
        "n": node,
        "o": state["switches"]["address"],
        "c": str(state["settings"]["cpus_per_node"]),
        "m": str(MEMORY_MB),
        "G": GPUS if node.startswith("g") else "(null)",
        "f": "(null)",
        "T": "down*" if state["nodes"][node]["down"] else "idle",
    }
    return re.sub(r"%([A-Za-z])", lambda match: cells[match[1]], layout)


def partition_line(name: str) -> str:
    """As `scontrol --oneliner show partition` of Slurm 22.05."""
    fields = {
        "PartitionName": name,
        "AllowGroups": "ALL",
        "AllowAccounts": "ALL",
        "AllowQos": "ALL",
        "AllocNodes": "ALL",
        "Default": "YES" if name == DEFAULT_PARTITION else "NO",
        "QoS": "N/A",
        "DefaultTime": "NONE",
        "MaxNodes": "UNLIMITED",
        "MaxTime": "UNLIMITED",
        "Nodes": ",".join(PARTITIONS[name]),
        "State": "UP",
    }
    return " ".join(f"{key}={value}" for key, value in fields.items()) + " "
