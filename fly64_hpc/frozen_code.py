"""The program's own code as it was when a study was submitted: one archive in the study directory, which every node runs.

An archive is named by its sha256 and holds the source of both packages, its bytes a function of that source alone; a node puts it
before everything else on Python's path, so that a checkout that is edited meanwhile changes nothing.
"""

import hashlib
import io
import os
import shlex
import zipfile
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from fly64_hpc.errors import CodeChangedError
from fly64_hpc.job_paths import StudyPaths

PACKAGES = ("fly64_hpc", "ptycho_torch")
SAFE_PATH_VARIABLE = "PYTHONSAFEPATH"
"""Keeps the folder that a program is started in, which may be the checkout, from the front of Python's path."""
ALWAYS = (1980, 1, 1, 0, 0, 0)
"""The date of every member: the first that a zip can have."""
MOST_NAMES = 5


def freeze(paths: StudyPaths) -> str:
    """Put the code that this process runs into the study directory, once for each content; its sha256 is returned."""
    from ptycho_torch.config import replacing

    archive = own_archive()
    digest = hashlib.sha256(archive).hexdigest()
    if _digest(paths.frozen_code(digest)) != digest:
        with replacing(paths.frozen_code(digest)) as file:
            file.write(archive)
    return digest


def own_sha256() -> str:
    """The sha256 of the code that this process runs, which is that of its archive."""
    return hashlib.sha256(own_archive()).hexdigest()


def own_archive() -> bytes:
    """The code that this process runs: the archive that it comes from, or else one of the packages where they are installed."""
    running = _running_archive()
    return running.read_bytes() if running is not None else _zipped(dict(_sources()))


def require_code(paths: StudyPaths, sha256: str | None) -> None:
    """Refuse to be another program than the one that was submitted; None is a submission whose code was not frozen.

    Raises
    ------
    CodeChangedError
        The archive is missing or damaged, or this process does not run it.
    """
    if problem := code_problem(paths, sha256):
        raise CodeChangedError(problem, hint="Submit the study again: that freezes the code as it is then.")


def code_problem(paths: StudyPaths, sha256: str | None) -> str | None:
    """Why what this process runs is not the code that was frozen; None where it is."""
    if sha256 is None or _digest(_running_archive()) == sha256:
        return None
    archive = paths.frozen_code(sha256)
    found = _digest(archive)
    if found is None:
        return f"{archive}, the code as it was submitted, is missing."
    if found != sha256:
        return f"{archive}, the code as it was submitted, is damaged: its sha256 is {found}."
    return f"This process runs the code in {_home()}, not {archive}; {_named(differing_files(paths, sha256))}."


def differing_files(paths: StudyPaths, sha256: str) -> list[str]:
    """The files in which this process's code is not what was frozen; all of its own where the archive cannot be read."""
    own = _members(own_archive())
    try:
        frozen = _members(paths.frozen_code(sha256).read_bytes())
    except (OSError, zipfile.BadZipFile):
        frozen = {}
    return sorted(name for name in own.keys() | frozen.keys() if own.get(name) != frozen.get(name))


def code_environment(archive: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which every Python runs the code of an archive."""
    others = [environment["PYTHONPATH"]] if environment.get("PYTHONPATH") else []
    return {**environment, "PYTHONPATH": os.pathsep.join([str(archive), *others]), SAFE_PATH_VARIABLE: "1"}


def shell_lines(archive: Path) -> list[str]:
    """The same for a shell; where the archive is missing or damaged, what is installed runs instead, and refuses to."""
    quoted = shlex.quote(str(archive))
    is_whole = f'[ "$(sha256sum < {quoted})" = "{archive.stem}  -" ]'
    return [
        f"{is_whole} && export PYTHONPATH={quoted}${{PYTHONPATH:+:$PYTHONPATH}}  # else the program refuses",
        f"export {SAFE_PATH_VARIABLE}=1",
    ]


def _home() -> Path:
    """What the packages are imported from: a folder, or an archive."""
    return Path(__file__).resolve().parent.parent


def _running_archive() -> Path | None:
    return _home() if _home().is_file() else None


def _sources() -> Iterator[tuple[str, bytes]]:
    for package in PACKAGES:
        spec = find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        home = Path(spec.origin).parent
        for folder, inner, names in os.walk(home):  # what is hidden, and what Python compiled, is not gone into
            inner[:] = filter(_is_source, inner)
            for file in (Path(folder, name) for name in filter(_is_source, names)):
                yield f"{package}/{file.relative_to(home).as_posix()}", file.read_bytes()


def _is_source(name: str) -> bool:
    return not name.startswith((".", "__pycache__"))


def _zipped(sources: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:  # compressed, the bytes would be zlib's to choose
        for name in sorted(sources):
            member = zipfile.ZipInfo(name, ALWAYS)
            member.create_system = 3
            member.external_attr = 0o644 << 16
            archive.writestr(member, sources[name])
    return buffer.getvalue()


def _members(archive: bytes) -> dict[str, int]:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {member.filename: member.CRC for member in opened.infolist()}


def _named(files: list[str]) -> str:
    more = f" and {len(files) - MOST_NAMES} more" if len(files) > MOST_NAMES else ""
    return f"they differ in {', '.join(files[:MOST_NAMES])}{more}" if files else "the two are the same"


def _digest(file: Path | None) -> str | None:
    try:
        return None if file is None else hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return None
