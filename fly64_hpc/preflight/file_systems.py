"""On which file system a path lies, and whether other machines can see it. Pure, but for /proc/self/mounts."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path, PurePath

MOUNTS = Path("/proc/self/mounts")
SHARED_KINDS = (
    "nfs", "nfs3", "nfs4", "lustre", "gpfs", "beegfs", "fhgfs", "ceph", "fuse.ceph", "panfs", "wekafs", "wekafsio", "orangefs",
    "pvfs2", "glusterfs", "fuse.glusterfs", "cifs", "smb3", "smbfs", "afs", "gfs2", "ocfs2", "dvs", "vast", "cvfs", "quobyte",
    "fuse.quobyte", "moosefs", "fuse.mfs", "daos", "fuse.daos",
)  # fmt: skip
MEMORY_KINDS = ("tmpfs", "ramfs", "devtmpfs", "hugetlbfs")
DISK_KINDS = (
    "ext2",
    "ext3",
    "ext4",
    "xfs",
    "btrfs",
    "zfs",
    "f2fs",
    "jfs",
    "reiserfs",
    "overlay",
    "aufs",
    "squashfs",
    "vfat",
    "apfs",
)
NODE_LOCAL_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm", "/run", "/local", "/localscratch", "/scratch/local", "/scratch-local")
"""Where sites put what belongs to one machine: on a disk of its own, never a network's."""


class Sight(Enum):
    """Whether other machines see what lies there."""

    SHARED = auto()
    THIS_MACHINE = auto()
    PERHAPS = auto()
    """A disk of this machine, which it may give to others by the network."""
    UNKNOWN = auto()


@dataclass(frozen=True)
class FileSystem:
    """A file system that is mounted."""

    device: str
    mount_point: str
    kind: str


def mounted() -> tuple[FileSystem, ...]:
    """What is mounted here; nothing where the kernel does not tell."""
    try:
        return parse_mounts(MOUNTS.read_text(errors="replace"))
    except OSError:
        return ()


def parse_mounts(text: str) -> tuple[FileSystem, ...]:
    """Read /proc/mounts, in which blanks are written as octal numbers."""
    lines = (line.split() for line in text.splitlines())
    return tuple(FileSystem(_plain(fields[0]), _plain(fields[1]), fields[2]) for fields in lines if len(fields) >= 3)


def _plain(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def file_system_of(path: PurePath, systems: Sequence[FileSystem]) -> FileSystem:
    """The file system of an absolute path: the longest mount point above it, the last of those mounted there."""
    best = FileSystem("", "/", "unknown")
    for system in systems:
        if path.is_relative_to(system.mount_point) and len(system.mount_point) >= len(best.mount_point):
            best = system
    return best


def sight_of(path: PurePath, system: FileSystem) -> Sight:
    """Whether other machines see a path that lies on a file system."""
    if system.kind in SHARED_KINDS:
        return Sight.SHARED
    if system.kind in MEMORY_KINDS:
        return Sight.THIS_MACHINE
    if system.kind in DISK_KINDS:
        is_local = any(path.is_relative_to(folder) for folder in NODE_LOCAL_FOLDERS)
        return Sight.THIS_MACHINE if is_local else Sight.PERHAPS
    return Sight.UNKNOWN
