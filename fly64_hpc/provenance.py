"""What a study and each attempt were made with: code, packages, machine, seeds and digests. Absent git is said, never an error.

The submitter says it in its record of a submission, the node in its record of an attempt. Imports nothing to learn a version.
"""

import functools
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fly64_hpc.frozen_code import PACKAGES, differing_files, own_sha256
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.resolved_study import ResolvedStudy

VERSIONED = ("torch", "numpy", "scipy", "safetensors", "pydantic", "submitit")
CALL_TIMEOUT_S = 10.0
GIT_SHOWN = ("--no-pager", "-c", "core.quotePath=false")


@dataclass(frozen=True)
class SubmittedCode:
    """The program that submitted."""

    version: str | None
    git_sha: str | None
    """The commit of the checkout; None where it runs from none."""
    dirty: bool | None
    """Whether the checkout had changes that were not committed."""
    diff: str | None
    """The file that has the changes of the two packages, relative to the study directory; None where there are none."""


@dataclass(frozen=True)
class SubmissionProvenance:
    """What a submission was made with."""

    command: tuple[str, ...]
    folder: str
    """Where the command was typed."""
    code: SubmittedCode
    environment: dict[str, str | None]
    study_sha256: str
    base_sha256: str | None
    seeds: dict[str, Any]


@dataclass(frozen=True)
class AttemptProvenance:
    """What an attempt was made with."""

    code_sha256: str
    """Of the code that its process ran."""
    code_differs: tuple[str, ...]
    """The files in which that was not the code of its submission, where an executor may go on all the same."""
    environment: dict[str, str | None]
    gpus: tuple[str, ...]
    """The names of those that its process could see."""
    driver: str | None
    seeds: dict[str, int]
    train_data_sha256: str
    test_data_sha256: str


def submission_provenance(paths: StudyPaths, study: ResolvedStudy) -> SubmissionProvenance:
    """What this process submits a study with; changes that were not committed are written down as a file of their own."""
    return SubmissionProvenance(
        command=tuple(sys.orig_argv),
        folder=str(Path.cwd()),
        code=SubmittedCode(**code_facts(), diff=_kept_diff(paths)),
        environment=environment_facts(),
        study_sha256=study.sha256,
        base_sha256=study.base_sha256,
        seeds=study.design.design.seeds.model_dump(mode="json"),
    )


def attempt_provenance(
    paths: StudyPaths, submitted_code: str | None, seeds: Mapping[str, int], data_sha256: tuple[str, str]
) -> AttemptProvenance:
    """What this process makes an attempt with; the digests are of its training and test data."""
    gpus, driver = gpu_facts(os.environ)
    own = own_sha256()
    return AttemptProvenance(
        code_sha256=own,
        code_differs=() if submitted_code in (None, own) else tuple(differing_files(paths, submitted_code)),
        environment=environment_facts(),
        gpus=gpus,
        driver=driver,
        seeds=dict(seeds),
        train_data_sha256=data_sha256[0],
        test_data_sha256=data_sha256[1],
    )


@functools.cache
def code_facts() -> dict[str, Any]:
    """The version of this program, and the commit where it runs from a checkout."""
    folder = Path(__file__).resolve().parent
    is_tracked = _git(folder, "ls-files", "--error-unmatch", Path(__file__).name) is not None
    sha = _git(folder, "rev-parse", "HEAD") if is_tracked else None
    return {
        "version": _version("fly64-hpc"),
        "git_sha": None if sha is None else sha.decode().strip(),
        "dirty": None if sha is None else bool(_git(folder, "status", "--porcelain")),
    }


@functools.cache
def environment_facts() -> dict[str, str | None]:
    """The versions of Python and of the packages that matter, read without importing them."""
    packages = {name: _version(name) for name in VERSIONED}
    return {"python": platform.python_version(), **packages, "platform": platform.platform()}


def gpu_facts(environment: Mapping[str, str]) -> tuple[tuple[str, ...], str | None]:
    """The names of the NVIDIA GPUs that a process with this environment may use, and their driver's version."""
    visible, program = environment.get("CUDA_VISIBLE_DEVICES"), shutil.which("nvidia-smi", path=environment.get("PATH"))
    if visible == "" or program is None:
        return (), None
    chosen = [f"--id={visible}"] if visible else []
    said = _said(program, "--query-gpu=name,driver_version", "--format=csv,noheader", *chosen)
    rows = [line.rpartition(", ") for line in (said or b"").decode().splitlines() if ", " in line]
    return tuple(name for name, _, _ in rows), rows[0][2] if rows else None


def _kept_diff(paths: StudyPaths) -> str | None:
    """Write what the packages differ in from their commit beside their archive; None where nothing does, or nobody knows."""
    if not code_facts()["dirty"]:
        return None
    from ptycho_torch.config import replacing

    root = Path(__file__).resolve().parent.parent
    diff = _git(root, *GIT_SHOWN, "diff", "--no-ext-diff", "--no-color", "--binary", "HEAD", "--", *PACKAGES)
    if not diff:
        return None
    file = paths.code / f"{hashlib.sha256(diff).hexdigest()}.diff"
    if not file.exists():
        with replacing(file) as opened:
            opened.write(diff)
    return paths.inside(file)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(folder: Path, *arguments: str) -> bytes | None:
    return _said("git", "-C", str(folder), *arguments)


def _said(*command: str) -> bytes | None:
    """What a program prints; None where it is absent, fails or does not answer."""
    try:
        return subprocess.run(command, capture_output=True, timeout=CALL_TIMEOUT_S, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
