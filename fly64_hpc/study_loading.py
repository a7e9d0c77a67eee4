"""From files and flags to a StudyDesign, knowing where each value came from.

Precedence: flag, then study file, then site profile, then default.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fly64_hpc.errors import StudyError
from fly64_hpc.resolved_study import Expanded
from fly64_hpc.study import StudyDesign
from fly64_hpc.study_errors import Locate, study_error
from fly64_hpc.study_yaml import KeyPath, YamlDocument, parse_yaml, read_yaml
from fly64_hpc.sweep import BASE_FILES
from fly64_hpc.sweep_check import checked_sweep, refuse_impossible_cells, refuse_same_content, with_base_of_the_sweep
from ptycho_torch.config import sha256_file

PROFILE_FOLDER = Path(__file__).resolve().parent.parent / "batch" / "profiles"


@dataclass(frozen=True)
class Override:
    """A value that a flag sets."""

    path: KeyPath
    value: Any
    flag: str


@dataclass(frozen=True)
class LoadedStudy(Expanded):
    """A study, the digests of its base files, and the origin of every value."""

    design: StudyDesign
    base_sha256: str | None
    origins: dict[KeyPath, str]
    plain_seed: int | None = None
    """Of several training seeds the one with which the study began, alone; see `study_growth`."""
    swept_base_sha256: Mapping[str, str] = field(default_factory=dict)
    """The digest of each base file that its sweep names."""

    @property
    def sha256(self) -> str:
        """The study's digest."""
        return self.design.sha256(self.base_sha256, self.swept_base_sha256)

    def origin(self, path: KeyPath) -> str:
        """Where the value at `path` came from."""
        if path in self.origins:
            return self.origins[path]
        flags = (self.origins.get(path[:length], "") for length in range(len(path), 0, -1))
        return next((origin for origin in flags if origin.startswith("--")), "default")


def load_study(
    path: Path, overrides: Iterable[Override] = (), profile: str | None = None, *, with_base: bool = True
) -> LoadedStudy:
    """Load, merge and check a study; `with_base` false leaves its base file alone, for those who need its name only.

    Raises
    ------
    StudyError
        Anything in the file, the profile or the flags that cannot be, with its place.
    """
    document = read_yaml(path)
    _require_mapping(document)
    data: dict[str, Any] = {}
    origins: dict[KeyPath, str] = {}
    if profile is not None:
        profile_document = read_profile(profile)
        _lay(data, origins, (), {"resources": profile_document.data}, lambda key: profile_document.where(key[1:]))
    _lay(data, origins, (), document.data, document.where)
    for override in overrides:
        _set(data, override)
        origins = {path: origin for path, origin in origins.items() if path[: len(override.path)] != override.path}
        origins[override.path] = override.flag

    def locate(key: KeyPath) -> str:
        return _locate(key, origins, document)

    try:
        design = StudyDesign.model_validate(with_base_of_the_sweep(data))
    except ValidationError as error:
        raise study_error(error, StudyDesign, locate) from None
    return _resolved(design, origins, path, locate, with_base=with_base)


def _resolved(design: StudyDesign, origins: dict[KeyPath, str], path: Path, locate: Locate, *, with_base: bool) -> LoadedStudy:
    """The study with absolute paths, its sweep checked, and the digests of its base files."""
    design = _with_absolute_base(design, origins, path)
    if design.sweep is not None:
        flags = {".".join(map(str, key)): flag for key, flag in origins.items() if flag.startswith("--")}
        folder = Path.cwd() if any(key.startswith("sweep") for key in flags) else path.parent
        sweep = checked_sweep(design, locate, partial(_absolute, folder), flags)
        design = design.model_copy(update={"sweep": sweep})
        refuse_impossible_cells(design, locate)
    if not with_base:
        return LoadedStudy(design, None, origins)
    swept = _swept_base_sha256(design, locate)
    if design.sweep is not None:
        refuse_same_content(design.sweep, swept, locate)
    return LoadedStudy(design, _base_sha256(design, locate), origins, swept_base_sha256=swept)


def parse_set(text: str) -> Override:
    """Read the argument of `--set key.path=value`.

    Raises
    ------
    StudyError
        It has no `=`, or the value is no YAML.
    """
    key, equals, value = text.partition("=")
    if not equals or "" in key.split("."):
        raise StudyError(f"--set {text}: needs the form key.path=value.", hint="For example --set training.epochs=20.")
    return Override(tuple(key.split(".")), parse_yaml(value, f"--set {key}").data, f"--set {key}")


def read_profile(name: str) -> YamlDocument:
    """Read a site profile: the `resources` section of a study, for one centre."""
    known = sorted(file.stem for file in PROFILE_FOLDER.glob("*.yaml"))
    if name not in known:
        raise StudyError(
            f"--profile {name}: there is no such site profile; there are {', '.join(known)}.",
            hint=f"Add one as {PROFILE_FOLDER}/NAME.yaml.",
        )
    document = read_yaml(PROFILE_FOLDER / f"{name}.yaml")
    _require_mapping(document)
    return document


def _require_mapping(document: YamlDocument) -> None:
    if not isinstance(document.data, dict):
        raise StudyError(f"{document.source}:1: holds no `key: value` lines.", hint="configs/ has studies to start from.")


def _lay(data: dict[str, Any], origins: dict[KeyPath, str], path: KeyPath, layer: dict[str, Any], where: Locate) -> None:
    """Lay a layer over `data`, section by section, and note the origin of each value."""
    for key, value in layer.items():
        inner = (*path, key)
        if isinstance(value, dict) and (value or isinstance(data.get(key), dict)):
            section = data.get(key)
            data[key] = section if isinstance(section, dict) else {}
            _lay(data[key], origins, inner, value, where)
        else:
            data[key] = value
        origins[inner] = where(inner)


def _set(data: dict[str, Any], override: Override) -> None:
    section = data
    for key in override.path[:-1]:
        inner = section.get(str(key))
        if not isinstance(inner, dict):
            inner = section[str(key)] = {}
        section = inner
    section[str(override.path[-1])] = override.value


def _locate(path: KeyPath, origins: dict[KeyPath, str], document: YamlDocument) -> str:
    for length in range(len(path), 0, -1):
        if path[:length] in origins:
            return origins[path[:length]]
    return document.where(path)


def _absolute(folder: Path, file: Any) -> Any:
    return str((folder / file).resolve()) if isinstance(file, str) else file


def _with_absolute_base(design: StudyDesign, origins: dict[KeyPath, str], study_path: Path) -> StudyDesign:
    """Paths in a file are relative to the file, those of a flag to where it was typed."""
    for key in ("npz", "measured"):
        value = getattr(design.base, key)
        if value is not None:
            from_flag = any(origins.get(path, "").startswith("--") for path in (("base", key), ("base",)))
            folder = Path.cwd() if from_flag else study_path.parent
            base = design.base.model_copy(update={key: str((folder / value).resolve())})
            return design.model_copy(update={"base": base})
    return design


def _base_sha256(design: StudyDesign, locate: Locate) -> str | None:
    """The digest of the base file; None where there is none, or the sweep sets it in every job."""
    key = "npz" if design.base.npz else "measured"
    is_swept = design.sweep is not None and any(name in BASE_FILES for name in design.sweep.swept_keys)
    if design.base_file is None or is_swept:
        return None
    return _digest(design.base_file, f"base.{key}", ("base", key), locate, f"Name the file with --set base.{key}=FILE.")


def _swept_base_sha256(design: StudyDesign, locate: Locate) -> dict[str, str]:
    """The digest of each base file that a sweep names, each read once."""
    found: dict[str, str] = {}
    for axis in design.sweep.directions if design.sweep is not None else ():
        for key in (key for key in axis.keys if key in BASE_FILES):
            for place in range(len(axis.labels)):
                file = axis.settings(place)[key]
                if file is not None and file not in found:
                    found[file] = _digest(file, key, ("sweep", "axes", axis.name, key), locate, f"Correct the axis {axis.name}.")
    return found


def _digest(file: str, key: str, path: KeyPath, locate: Locate, hint: str) -> str:
    try:
        return sha256_file(Path(file))
    except OSError as error:
        raise StudyError(f"{locate(path)}: {key}: {file} cannot be read: {error.strerror}.", hint=hint) from None
