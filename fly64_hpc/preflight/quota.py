"""What a user's quota leaves at a folder, from `quota` or `lfs quota`, where the site has them."""

import getpass
import shutil
from dataclasses import dataclass
from pathlib import Path

from fly64_hpc.preflight.file_systems import FileSystem
from fly64_hpc.slurm.calls import SlurmCalls

QUOTA_TIMEOUT_S = 5.0
KIB = 1024


@dataclass(frozen=True)
class Quota:
    """What is left; None where there is no limit."""

    bytes_left: int | None
    files_left: int | None
    source: str


def ask_quota(calls: SlurmCalls, folder: Path, system: FileSystem) -> Quota | None:
    """The user's quota on the file system of a folder; None where there is none, or nobody who tells."""
    if system.kind == "lustre":
        command: tuple[str, ...] = ("lfs", "quota", "-q", "-u", getpass.getuser(), str(folder))
    else:
        command = ("quota", "--no-wrap", "--raw-grace", f"--filesystem={system.mount_point}")
    if shutil.which(command[0]) is None:
        return None
    answer = calls(*command, timeout_s=QUOTA_TIMEOUT_S)  # quota exits 1 where it is exceeded, and says how far
    return parse_lfs_quota(answer.out) if system.kind == "lustre" else parse_quota(answer.out, system.device)


def parse_quota(text: str, device: str) -> Quota | None:
    """Read the line of one device in `quota --no-wrap --raw-grace`: blocks quota limit grace files quota limit grace."""
    for line in text.splitlines():
        fields = line.split()
        if len(fields) == 9 and fields[0] == device:
            return _quota(fields[1:4], fields[5:8], "quota")
    return None


def parse_lfs_quota(text: str) -> Quota | None:
    """Read `lfs quota -q`: the path, perhaps on a line of its own, then the same eight columns."""
    fields = text.split()
    return _quota(fields[-8:-5], fields[-4:-1], "lfs quota") if len(fields) >= 9 else None


def _quota(blocks: list[str], files: list[str], source: str) -> Quota | None:
    left_kib, left_files = _left(blocks), _left(files)
    if left_kib is None and left_files is None:
        return None
    return Quota(None if left_kib is None else left_kib * KIB, left_files, source)


def _left(columns: list[str]) -> int | None:
    """Up to the hard limit, or the soft one where there is no other; 0 is no limit, an asterisk marks what is exceeded."""
    used, soft, hard = (int(column.rstrip("*")) if column.rstrip("*").isdigit() else 0 for column in columns)
    limit = hard or soft
    return max(0, limit - used) if limit else None
