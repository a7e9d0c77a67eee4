"""The sha256 of files, computed once for as long as a file is not touched: in this process, and from one to the next by a stamp.

A stamp is what the file system says of a file: when its content and when its entry last changed, its size and its inode. Whoever
writes to a file, or puts another in its place, changes the stamp, and the file is read again.
"""

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ptycho_torch.config import sha256_file, write_json

SCHEMA_VERSION = 1
SETTLED_S = 2.0
"""A stamp younger than this is not kept: a write in the same tick of the file system's clock would not change it."""

Stamp = tuple[int, int, int, int]
_known: dict[Path, tuple[Stamp, str]] = {}


def file_digest(path: Path) -> str:
    """The file's sha256.

    Raises
    ------
    OSError
        It cannot be read.
    """
    stamp = _stamp(path)
    known = _known.get(path)
    if known is not None and known[0] == stamp:
        return known[1]
    digest = sha256_file(path)
    _known[path] = stamp, digest
    return digest


def trust(file: Path, root: Path) -> None:
    """Believe the digests that `remember` wrote, of the files below `root` whose stamps are still the same."""
    try:
        content = json.loads(file.read_text())
        kept = {} if content["schema_version"] != SCHEMA_VERSION else content["verified"]
        for name, fact in kept.items():
            _known.setdefault(root / name, (_as_stamp(fact["stamp"]), str(fact["sha256"])))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return  # it only saves time: without it every file is read


def remember(file: Path, root: Path, paths: Iterable[Path]) -> None:
    """Write down the digests of those files below `root` that this process knows, for `trust`."""
    verified: dict[str, Any] = {}
    for path in paths:
        stamp, digest = _known.get(path, ((0, 0, 0, 0), ""))
        if digest and time.time_ns() - max(stamp[:2]) > SETTLED_S * 1e9:
            verified[path.relative_to(root).as_posix()] = {"stamp": stamp, "sha256": digest}
    write_json(file, {"schema_version": SCHEMA_VERSION, "verified": verified})


def _as_stamp(numbers: list[int]) -> Stamp:
    mtime_ns, ctime_ns, size_bytes, inode = numbers
    return mtime_ns, ctime_ns, size_bytes, inode


def _stamp(path: Path) -> Stamp:
    facts = path.stat()
    return facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size, facts.st_ino
