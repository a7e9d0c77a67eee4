"""StudyDesign: one YAML file as a frozen, checked value, and what makes two of them the same study."""

import re
from typing import Annotated, Any, Literal, Protocol

from pydantic import AfterValidator

from fly64_hpc.resources import Resources
from ptycho_torch.config import (
    EXECUTION_FIELDS,
    BaseConfig,
    DatasetRecipe,
    DesignConfig,
    IterativeConfig,
    ScanConfig,
    Strict,
    TrainingConfig,
    ViewRecipe,
    sha256_json,
)

DISC_DIAMETER = 0.6
"""Diameter of the disc of the overlap metrics, as a share of the patch, where the study names none."""


def _folder_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}", name):
        raise ValueError("names a folder: allowed are up to 80 letters, digits, '_', '-' and '.', a letter or digit first")
    return name


class StudyDesign(Strict):
    """A study: the object and probe, the scan, the axes of the matrix, how networks learn, what a job asks of the cluster."""

    study: Annotated[str, AfterValidator(_folder_name)]
    """The study's name and the name of its folder."""
    base: BaseConfig
    """The object and probe, or the measured scan."""
    scan: ScanConfig = ScanConfig()
    """Where the beam goes."""
    design: DesignConfig = DesignConfig()
    """The axes of the matrix."""
    training: TrainingConfig = TrainingConfig()
    """The networks and their learning. Part of a job's identity, but for device, threads and tensorboard."""
    iterative: IterativeConfig = IterativeConfig()
    """The solvers that networks are compared with. No part of the networks' identity."""
    resources: Resources = Resources()
    """What a job asks of the cluster. No part of a job's identity."""

    @property
    def base_file(self) -> str | None:
        """The file that the base names, where it names one."""
        return self.base.npz or self.base.measured

    def identity(self, base_sha256: str | None) -> dict[str, Any]:
        """What makes this study this one: not the resources, not how it runs, and the content of its base file, not its place."""
        excluded: dict[str, Any] = {"resources": True, "iterative": True, "training": set(EXECUTION_FIELDS)}
        return self._identity(excluded, base_sha256)

    def scan_identity(self, base_sha256: str | None) -> dict[str, Any]:
        """What decides the scans alone, which networks and solvers share."""
        excluded = {"resources": True, "training": True, "iterative": True, "phase": True, "design": {"seeds": {"training"}}}
        return self._identity(excluded, base_sha256)

    def _identity(self, excluded: dict[str, Any], base_sha256: str | None) -> dict[str, Any]:
        identity = self.model_dump(mode="json", exclude=excluded)
        if base_sha256 is not None:
            identity["base"] |= {
                "npz": None,
                "measured": None,
                "sha256": base_sha256,
                "is_measured": self.base.measured is not None,
            }
        return identity

    def sha256(self, base_sha256: str | None = None) -> str:
        """The digest of the study's identity."""
        return sha256_json(self.identity(base_sha256))

    def dataset_recipe(self, dose_photons: float, base_sha256: str | None) -> DatasetRecipe:
        """What Phase C makes at one dose."""
        return DatasetRecipe(
            base=self.base,
            base_sha256=base_sha256,
            scan=self.scan,
            split=self.design.split,
            dose_photons=dose_photons,
            patch_size_px=self.design.patch_size_px,
            simulation_seed=self.design.seeds.simulation,
        )

    def view_recipe(self, dose_photons: float, view: str, base_sha256: str | None) -> ViewRecipe:
        """What Phase D makes of one dose's dataset for one view."""
        design = self.design
        return ViewRecipe(
            dataset=self.dataset_recipe(dose_photons, base_sha256),
            name=view,
            view=design.views[view],
            neighbor_count=design.neighbor_count,
            probe_diameter_px=design.probe_diameter_px or DISC_DIAMETER * design.patch_size_px,
            subsampling_seed=design.seeds.subsampling,
            grouping_seed=design.seeds.grouping,
        )


class IterativeStudy(StudyDesign):
    """A study's Phase F: the same scans, reconstructed by iterative solvers instead of networks."""

    phase: Literal["F"] = "F"

    def identity(self, base_sha256: str | None) -> dict[str, Any]:
        """What makes it this one: how networks are trained does not."""
        return self._identity({"resources": True, "training": True, "design": {"seeds": {"training"}}}, base_sha256)


def phase_f(design: StudyDesign) -> IterativeStudy:
    """Phase F of a study."""
    return IterativeStudy(**{name: getattr(design, name) for name in StudyDesign.model_fields})


def stored_design(resolved: dict[str, Any]) -> StudyDesign:
    """The study, or its Phase F, that a study.json holds."""
    return (IterativeStudy if "phase" in resolved else StudyDesign).model_validate(resolved)


class ResolvedStudy(Protocol):
    """A study with the digest of its base file, freshly loaded or as its directory holds it."""

    @property
    def design(self) -> StudyDesign:
        """The study."""

    @property
    def base_sha256(self) -> str | None:
        """The digest of the file that its base names."""

    @property
    def sha256(self) -> str:
        """The study's digest."""

    @property
    def plain_seed(self) -> int | None:
        """Of several training seeds the one with which the study began, alone: ids and folders do not name it."""


def changed_keys(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Keys by which `new` is another study than `old`, as `key.path: old -> new`.

    Doses, views, training seeds and solvers that were only added are no change: the new cells join the study.
    """
    flat_old, flat_new = _flatten(old), _flatten(new)
    changes = []
    for path in sorted(flat_old.keys() | flat_new.keys()):
        before, after = flat_old.get(path), flat_new.get(path)
        if before != after and not _only_added(path, before, after, old):
            changes.append(f"{path}: {_shown(path, flat_old)} -> {_shown(path, flat_new)}")
    return changes


def _only_added(path: str, before: Any, after: Any, old: dict[str, Any]) -> bool:
    if path in ("design.doses_photons", "design.seeds.training"):
        return _members(before) <= _members(after)
    named = {"design.views.": old["design"]["views"], "iterative.solvers.": old.get("iterative", {}).get("solvers", {})}
    return any(path.startswith(prefix) and path[len(prefix) :].split(".")[0] not in known for prefix, known in named.items())


def _members(value: Any) -> set[Any]:
    """One seed is as good as a list of one."""
    return set(value) if isinstance(value, list) else {value}


def _shown(path: str, flat: dict[str, Any]) -> str:
    return str(flat[path]) if path in flat else "absent"


def _flatten(section: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in section.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
