"""Whether the nodes will see what the jobs need: the study directory, the scratch folder, the program, Python, the base file."""

import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import fly64_hpc
from fly64_hpc.preflight.file_systems import FileSystem, Sight, file_system_of, mounted, sight_of
from fly64_hpc.preflight.finding import Finding, Severity
from fly64_hpc.preflight.request import PreflightRequest
from fly64_hpc.slurm.cluster_facts import Node

SUBJECT = "shared storage"
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def examine(request: PreflightRequest, nodes: Sequence[Node]) -> Iterator[Finding]:
    """Look at each place; where every node is this very machine, all is seen."""
    if is_this_machine_alone(nodes, own_names()):
        yield Finding(SUBJECT, Severity.OK, "Every node is this machine, so it sees what lies here.")
        return
    yield from judge(places(request), mounted(), socket.gethostname())


def places(request: PreflightRequest) -> dict[str, Path]:
    """What the jobs read and write, by what it is called; folders of this program as Python finds them."""
    design = request.loaded.design
    found = {
        "The study directory": request.paths.root,
        "The scratch folder": request.paths.scratch(design.study, request.loaded.sha256),
        "The program": Path(fly64_hpc.__file__).resolve().parent,
    }
    python = Path(sys.executable).absolute()
    if not python.is_relative_to("/usr"):  # the system's own, which each node has for itself
        found["Python"] = python
    for name, data in {data.train.path: data for data in request.external.values()}.items():
        found[f"The dataset of {Path(name).parent.name}"] = request.paths.absolute(data.train.path)
    files = list(dict.fromkeys(one.base_file for one in request.variants if one.base_file is not None))
    for file in files if request.makes_data else ():
        found["The base file" if len(files) == 1 else f"The base file {Path(file).name}"] = Path(file)
    return found


def judge(where: dict[str, Path], systems: Sequence[FileSystem], host: str) -> Iterator[Finding]:
    """One finding for each place that nodes may not see, and one for all others together."""
    seen: list[str] = []
    for name, path in where.items():
        system = file_system_of(path, systems)
        sight = sight_of(path, system)
        if sight is Sight.SHARED:
            seen.append(f"{name[0].lower()}{name[1:]} ({system.kind})")
        else:
            yield _doubt(name, path, system, sight, host)
    if seen:
        yield Finding(SUBJECT, Severity.OK, f"On a network file system: {', '.join(seen)}.")


def _doubt(name: str, path: Path, system: FileSystem, sight: Sight, host: str) -> Finding:
    move = "Use an --output-root on a file system that every node mounts (your home or project folder)."
    if name != "The study directory":
        move = "Move it to a file system that every node mounts, and submit from there."
    where = f"{name}, {path}, lies on {system.kind} ({system.mount_point})"
    if sight is Sight.THIS_MACHINE:
        return Finding(SUBJECT, Severity.ERROR, f"{where}, which belongs to {host} alone: the nodes cannot see it.", move)
    if sight is Sight.PERHAPS:
        sentence = f"{where}, a disk of {host}: the nodes see it only if it is exported to them."
        return Finding(SUBJECT, Severity.WARNING, sentence, move)
    return Finding(SUBJECT, Severity.UNKNOWN, f"{where}; whether the nodes see such a file system is not known.", move)


def own_names() -> frozenset[str]:
    """What this machine is called."""
    name = socket.gethostname()
    return frozenset({name, name.partition(".")[0], *_LOOPBACK})


def is_this_machine_alone(nodes: Sequence[Node], names: frozenset[str]) -> bool:
    """Whether every node is the machine that has these names."""
    return bool(nodes) and all(node.addresses & names for node in nodes)
