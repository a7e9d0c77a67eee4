"""Files that are whole or absent: written under a temporary name, synced, then renamed."""

import glob
import hashlib
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

HASH_CHUNK_BYTES = 1 << 20


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path` for writing; on success sync it and rename it over `path`.

    The temporary name carries host and process id, so two writers never share one. On an error `path` is left as it was. What
    writers of `path` that were killed on this host have left behind is removed.
    """
    with _becoming(path) as temporary, temporary.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def link_file(source: Path, path: Path) -> None:
    """Make `path` a second name of the file `source`, in place of what `path` was.

    Raises
    ------
    OSError
        There is no such source, or the file system knows no hard links; `path` is left as it was.
    """
    with _becoming(path) as temporary:
        temporary.hardlink_to(source)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text to `path` as a whole."""
    with replacing(path) as file:
        file.write(text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON; infinite numbers and NaN are refused (ValueError)."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


@contextmanager
def _becoming(path: Path) -> Iterator[Path]:
    """A temporary name, which is renamed to `path` on success and gone in any case."""
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.name}.{socket.gethostname().partition('.')[0]}-"  # the same pid may be at work on another host
    _remove_leftovers(path.parent, prefix)
    temporary = path.with_name(f"{prefix}{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _remove_leftovers(folder: Path, prefix: str) -> None:
    for leftover in folder.glob(f"{glob.escape(prefix)}*.tmp"):
        pid = leftover.name[len(prefix) : -len(".tmp")]
        if pid.isdecimal() and not _is_alive(int(pid)):  # no number: another host's, whose name goes on after a hyphen
            with suppress(OSError):  # another user's: litter must not keep anybody from writing
                leftover.unlink()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def sha256_file(path: Path) -> str:
    """The file's sha256 as 64 lowercase hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(HASH_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_json(value: Any) -> str:
    """The sha256 of `value` as canonical JSON (sorted keys, no spaces): equal values, equal digests."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
