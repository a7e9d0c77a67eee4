"""The sha256 of files, computed once in a process for as long as a file is not touched.

A stamp is what the file system says of a file: when its content and when its entry last changed, its size and its inode. Whoever
writes to a file, or puts another in its place, changes the stamp, and the file is read again.
"""

import os
from pathlib import Path

from ptycho_torch.config import sha256_file

Stamp = tuple[int, int, int, int]
_known: dict[Path, tuple[Stamp, str]] = {}


def file_digest(path: Path) -> str:
    """The file's sha256.

    Raises
    ------
    OSError
        It cannot be read.
    """
    stamp = stamp_of(path)
    known = _known.get(path)
    if known is not None and known[0] == stamp:
        return known[1]
    digest = sha256_file(path)
    _known[path] = stamp, digest
    return digest


def stamp_of(path: Path | str) -> Stamp:
    """What the file system says of a file.

    Raises
    ------
    OSError
        There is none.
    """
    facts = os.stat(path)  # noqa: PTH116  # paths of thousands of jobs are text
    return facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size, facts.st_ino
