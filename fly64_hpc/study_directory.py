"""A study's directory: the resolved study that it holds, and the job that an id means."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from fly64_hpc.errors import StudyChangedError, StudyDirectoryError
from fly64_hpc.job_matrix import TrainingJob
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.job_record import read_json
from fly64_hpc.resolved_study import Expanded
from fly64_hpc.study import StudyDesign, changed_keys, stored_design
from ptycho_torch.config import write_json

if TYPE_CHECKING:  # a node reads what is stored, and no YAML
    from fly64_hpc.study_loading import LoadedStudy

SCHEMA_VERSION = 1
_ELSEWHERE = "submit with another --output-root"


@dataclass(frozen=True)
class StoredStudy(Expanded):
    """The study that a directory holds."""

    design: StudyDesign
    base_sha256: str | None
    sha256: str
    plain_seed: int | None = None
    """Of several training seeds the one with which the study began, alone; see `study_growth`."""
    swept_base_sha256: Mapping[str, str] = field(default_factory=dict)
    """The digest of each base file that its sweep names."""


def read_study(paths: StudyPaths) -> StoredStudy:
    """Read study.json.

    Raises
    ------
    StudyDirectoryError
        It is missing, damaged or of another version of this program.
    """
    stored = read_json(paths.study)
    _refuse_other_schema(paths, stored)
    try:
        design = stored_design(stored["resolved"])
        swept = stored.get("swept_base_sha256", {})  # of a sweep alone
        plain_seed = stored.get("plain_seed", only_seed(design))  # the key is younger than the file
        return StoredStudy(design, stored["base_sha256"], stored["study_sha256"], plain_seed, swept)
    except (ValidationError, KeyError, TypeError) as error:
        raise StudyDirectoryError(
            f"{paths.study} holds no study that this version can read: {_trouble(error)}.",
            hint=f"It may be of a newer version of this program: use that one, or {_ELSEWHERE}.",
        ) from None


def only_seed(design: StudyDesign) -> int | None:
    """The training seed of a study that has one; None where it lists them."""
    seeds = design.design.seeds.training
    return None if isinstance(seeds, tuple) else seeds


def _refuse_other_schema(paths: StudyPaths, stored: Any) -> None:
    """Tell an older program's directory, a newer one's and somebody else's apart."""
    found = stored.get("schema_version") if isinstance(stored, dict) else None
    if found == SCHEMA_VERSION:
        return
    if not isinstance(found, int):
        raise StudyDirectoryError(
            f"{paths.study} has no schema_version; this version of the program reads {SCHEMA_VERSION}. "
            "It was made by a program before the first release, or by another one.",
            hint=f"Use the program that made it, or {_ELSEWHERE}.",
        )
    made_by = "a newer" if found > SCHEMA_VERSION else "an older"
    raise StudyDirectoryError(
        f"{paths.study} has schema_version {found}: it was made by {made_by} version of this program; "
        f"this one reads {SCHEMA_VERSION}.",
        hint=f"Use the version that made it, or {_ELSEWHERE}.",
    )


def _trouble(error: ValidationError | KeyError | TypeError) -> str:
    if not isinstance(error, ValidationError):
        return f"{error} is missing" if isinstance(error, KeyError) else "it is no JSON object"
    problem = error.errors(include_url=False)[0]
    return f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"


def write_study(paths: StudyPaths, loaded: "LoadedStudy") -> None:
    """Write study.json: every default filled in, and the digest."""
    resolved = loaded.design.model_dump(mode="json")
    write_json(
        paths.study,
        {
            "schema_version": SCHEMA_VERSION,
            "study_sha256": loaded.sha256,
            "base_sha256": loaded.base_sha256,
            "plain_seed": loaded.plain_seed if only_seed(loaded.design) is None else only_seed(loaded.design),
            **({"swept_base_sha256": dict(loaded.swept_base_sha256)} if loaded.swept_base_sha256 else {}),
            "resolved": resolved,
        },
    )


def refuse_other_version(paths: StudyPaths, loaded: "LoadedStudy") -> None:
    """Refuse a study whose directory holds another version of it; cells that were added go through.

    Networks and solvers share their scans, so each of the two phases minds those of the other.

    Raises
    ------
    StudyChangedError
        Naming the keys that differ.
    """
    changes: list[str] = []
    if paths.study.exists():
        changes = changed_keys(read_study(paths).own_identity(), loaded.own_identity())
    if not changes and paths.other_phase.study.exists():
        changes = changed_keys(read_study(paths.other_phase).scan_identity(), loaded.scan_identity())
    if changes:
        raise StudyChangedError(
            f"{paths.home} holds another version of study {loaded.design.study}; it differs in " + "; ".join(changes) + ".",
            hint="Give the study another name, choose another --output-root, or undo the change. Doses, views, seeds, solvers "
            "and values of the sweep may be added, never removed; --dose, --view and --where select some of them.",
        )


def holds_work(paths: StudyPaths) -> bool:
    """Whether anything was made of the study: a dataset, or an attempt at a job."""
    made = (paths.data.glob("phase_c/**/record.json"), paths.training.glob("**/attempts/*/result.json"))
    return any(True for files in made for _ in files)


def find_job(paths: StudyPaths, job_id: str) -> TrainingJob:
    """The job of the stored study that an id means.

    Raises
    ------
    StudyDirectoryError
        The study has no such job.
    """
    for job in read_study(paths).jobs:
        if job.job_id == job_id:
            return job
    raise StudyDirectoryError(f"{paths.study} has no job {job_id!r}.")
