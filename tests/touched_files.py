"""What can happen to a file behind a program's back."""

import os
from pathlib import Path


def overwritten(file: Path) -> None:
    """Same size, and the old time set again."""
    facts = file.stat()
    file.write_bytes(b"WEIGHTS")
    os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def replaced(file: Path) -> None:
    """By another of the same size and time."""
    facts = file.stat()
    other = file.with_name("other")
    other.write_bytes(b"WEIGHTS")
    os.utime(other, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    other.replace(file)
