"""A lock that keeps others out of a piece of work which would be whole without it too, only done twice or in another order."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file, which is made where it is missing; its folder must be there.

    On a file system without locks nobody is kept out: files are replaced as a whole all the same.
    """
    with path.open("w") as lock:
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
