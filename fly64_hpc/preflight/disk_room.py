"""Whether there is room for what the study will write: free bytes and inodes, and the quota where it can be asked."""

import os
from collections.abc import Iterator
from pathlib import Path

from fly64_hpc.preflight.file_systems import file_system_of, mounted
from fly64_hpc.preflight.finding import Finding, Severity
from fly64_hpc.preflight.quota import Quota, ask_quota
from fly64_hpc.preflight.request import PreflightRequest
from fly64_hpc.preflight.study_volume import Volume, volume

SUBJECT = "disk"
MARGIN = 1.2
"""Room below so many times what is needed is a warning."""
MAKE_ROOM = "Make room there, or choose an --output-root elsewhere."


def examine(request: PreflightRequest) -> Iterator[Finding]:
    """Compare what the study will write with what there is."""
    needed, folder = volume(request), request.existing_folder
    yield from _free(needed, folder)
    quota = ask_quota(request.calls, folder, file_system_of(folder, mounted()))
    if quota is not None:
        yield from _within(needed, quota)


def _free(needed: Volume, folder: Path) -> Iterator[Finding]:
    try:
        facts = os.statvfs(folder)
    except OSError as error:
        yield Finding(SUBJECT, Severity.UNKNOWN, f"The free space at {folder} cannot be asked: {error.strerror}.")
        return
    free_bytes, free_files = facts.f_bavail * facts.f_frsize, facts.f_favail
    severity = _severity(needed.size_bytes, free_bytes)
    sentence = (
        f"The study will write about {words(needed.size_bytes)} ({needed.basis}); {words(free_bytes)} are free at {folder}."
    )
    yield Finding(SUBJECT, severity, sentence, "" if severity is Severity.OK else MAKE_ROOM)
    if facts.f_files and _severity(needed.files, free_files) is not Severity.OK:
        sentence = f"The study will write about {needed.files} files; {folder} has room for {free_files}."
        yield Finding(SUBJECT, _severity(needed.files, free_files), sentence, MAKE_ROOM)


def _within(needed: Volume, quota: Quota) -> Iterator[Finding]:
    left_bytes, left_files = quota.bytes_left, quota.files_left
    if left_bytes is not None:
        severity = _severity(needed.size_bytes, left_bytes)
        sentence = f"Your quota leaves {words(left_bytes)} there ({quota.source})."
        yield Finding(SUBJECT, severity, sentence, "" if severity is Severity.OK else MAKE_ROOM)
    if left_files is not None and _severity(needed.files, left_files) is not Severity.OK:
        sentence = f"The study will write about {needed.files} files; your quota leaves {left_files} there ({quota.source})."
        yield Finding(SUBJECT, _severity(needed.files, left_files), sentence, MAKE_ROOM)


def _severity(needed: float, left: float) -> Severity:
    if needed > left:
        return Severity.ERROR
    return Severity.WARNING if MARGIN * needed > left else Severity.OK


def words(size_bytes: float) -> str:
    """A size as people say it."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size_bytes < 1024:
            return f"{size_bytes:.0f} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:.1f} TiB"
