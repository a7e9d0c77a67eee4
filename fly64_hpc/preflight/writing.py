"""Whether the study directory can be written, read, renamed in and locked; what was tried leaves no trace."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from fly64_hpc.preflight.finding import Finding, Severity
from fly64_hpc.preflight.request import PreflightRequest

SUBJECT = "study directory"
_CONTENT = b"fly64" * 800


def examine(request: PreflightRequest) -> Iterator[Finding]:
    """Try it in the study directory, or in the nearest folder above that exists."""
    folder = request.existing_folder
    try:
        with tempfile.TemporaryDirectory(prefix=".fly64-check-", dir=folder) as place:
            problem = try_out(Path(place))
    except OSError as error:
        problem = f"cannot be written: {error.strerror}"
    if problem:
        yield Finding(
            SUBJECT, Severity.ERROR, f"{request.paths.root} {problem} (tried in {folder}).", "Choose another --output-root."
        )
        return
    yield Finding(SUBJECT, Severity.OK, f"{request.paths.root} can be written, read, renamed in and locked.")


def try_out(place: Path) -> str:
    """Do in an empty folder what the study will do; what went wrong is returned, nothing where all went well."""
    written, renamed = place / "written", place / "renamed"
    with written.open("wb") as file:
        file.write(_CONTENT)
        file.flush()
        os.fsync(file.fileno())
    written.replace(renamed)
    if renamed.read_bytes() != _CONTENT:
        return "gives back other bytes than were written"
    try:
        with renamed.open("rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return f"cannot be locked: {error.strerror}"
    return ""
