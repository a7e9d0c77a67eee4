"""StudyDesign: one YAML file as a frozen, checked value, and what makes two of them the same study."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, SerializerFunctionWrapHandler, model_serializer

from fly64_hpc.resources import Resources
from fly64_hpc.sweep import BASE_FILES, SweepConfig, decides_data, is_below
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
    """The object and probe, or the measured scan; required, but for what the sweep sets of it."""
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
    sweep: SweepConfig | None = None
    """Further axes of the matrix, over any key of base, scan, design and training."""

    @model_serializer(mode="wrap")
    def _without_a_sweep_that_is_none(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A study of no sweep is written, and digested, as it was before there were any."""
        written: dict[str, Any] = handler(self)
        return written if self.sweep is not None else {key: value for key, value in written.items() if key != "sweep"}

    @property
    def base_file(self) -> str | None:
        """The file that the base names, where it names one."""
        return self.base.npz or self.base.measured

    def identity(self, base_sha256: str | None, swept: Mapping[str, str] | None = None) -> dict[str, Any]:
        """What makes this study this one: not the resources, not how it runs, and base files by their content, not their place.

        Parameters
        ----------
        swept
            The digests of the base files that a sweep names.
        """
        excluded: dict[str, Any] = {"resources": True, "iterative": True, "training": set(EXECUTION_FIELDS)}
        identity = self._identity(excluded, base_sha256)
        if self.sweep is not None:
            identity["sweep"]["axes"] = self._axes_identity(swept or {}, of_scans=False)
        return identity

    def scan_identity(self, base_sha256: str | None, swept: Mapping[str, str] | None = None) -> dict[str, Any]:
        """What decides the scans alone, which networks and solvers share."""
        excluded = {"resources": True, "training": True, "iterative": True, "phase": True, "design": {"seeds": {"training"}}}
        return self._scans_identity(excluded, base_sha256, swept)

    def _scans_identity(
        self, excluded: dict[str, Any], base_sha256: str | None, swept: Mapping[str, str] | None
    ) -> dict[str, Any]:
        identity = self._identity(excluded, base_sha256)
        if self.sweep is not None:
            axes = self._axes_identity(swept or {}, of_scans=True)
            identity |= {"sweep": {"axes": axes}}
        return identity

    def _identity(self, excluded: dict[str, Any], base_sha256: str | None) -> dict[str, Any]:
        identity = self.model_dump(mode="json", exclude=excluded)
        if base_sha256 is not None:
            identity["base"] |= {
                "npz": None,
                "measured": None,
                "sha256": base_sha256,
                "is_measured": self.base.measured is not None,
            }
        for key in self.sweep.swept_keys if self.sweep is not None else ():
            _remove(identity, key.split("."))  # what stands there outside the sweep is in force in no job
        return identity

    def _axes_identity(self, swept: Mapping[str, str], *, of_scans: bool) -> dict[str, Any]:
        """By axis and label what is set, base files by their content; of scans what decides the data alone."""
        axes: dict[str, Any] = {}
        for axis in self.sweep.directions if self.sweep is not None else ():
            keys = [key for key in axis.keys if not of_scans or decides_data(key)]
            if keys:
                axes[axis.name] = {
                    label: {key: _by_content(key, axis.settings(place)[key], swept) for key in keys}
                    for place, label in enumerate(axis.labels)
                }
        return axes

    def sha256(self, base_sha256: str | None = None, swept: Mapping[str, str] | None = None) -> str:
        """The digest of the study's identity; see there."""
        return sha256_json(self.identity(base_sha256, swept))

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

    def identity(self, base_sha256: str | None, swept: Mapping[str, str] | None = None) -> dict[str, Any]:
        """What makes it this one: how networks are trained does not."""
        excluded = {"resources": True, "training": True, "design": {"seeds": {"training"}}}
        return self._scans_identity(excluded, base_sha256, swept)


def phase_f(design: StudyDesign) -> IterativeStudy:
    """Phase F of a study."""
    return IterativeStudy(**{name: getattr(design, name) for name in StudyDesign.model_fields})


def stored_design(resolved: dict[str, Any]) -> StudyDesign:
    """The study, or its Phase F, that a study.json holds."""
    return (IterativeStudy if "phase" in resolved else StudyDesign).model_validate(resolved)


def _remove(section: Any, path: list[str]) -> None:
    """Take a key out, where it is there."""
    for step in path[:-1]:
        section = section.get(step) if isinstance(section, dict) else None
    if isinstance(section, dict):
        section.pop(path[-1], None)


def _by_content(key: str, value: Any, swept: Mapping[str, str]) -> Any:
    return {"sha256": swept.get(value)} if key in BASE_FILES and isinstance(value, str) else value


def changed_keys(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Keys by which `new` is another study than `old`, as `key.path: old -> new`.

    Doses, views, training seeds, solvers and values on axes of the sweep that were only added are no change: the new cells join
    the study. Exclusions are no key of it: see `study_growth`.
    """
    swept_old, swept_new = (study.get("sweep", {}).get("axes", {}) for study in (old, new))
    changes = _changed_axes(swept_old, swept_new)
    told = _swept_keys(swept_old) | _swept_keys(swept_new) if changes else set()
    flat_old, flat_new = (_flatten({key: value for key, value in study.items() if key != "sweep"}) for study in (old, new))
    for path in sorted(flat_old.keys() | flat_new.keys()):
        before, after = flat_old.get(path), flat_new.get(path)
        is_told = any(is_below(path, key) for key in told)
        if before != after and not is_told and not _only_added(path, before, after, old):
            changes.append(f"{path}: {_shown(path, flat_old)} -> {_shown(path, flat_new)}")
    return changes


def _changed_axes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Of a sweep: an axis that came or went, and values that went, are called otherwise or are others."""
    changes = []
    for name in sorted(old.keys() | new.keys()):
        if name not in old or name not in new:
            there = "absent -> there" if name in new else "there -> absent"
            changes.append(f"sweep.axes.{name}: {there}")
            continue
        for label, before in old[name].items():
            if new[name].get(label) != before:
                changes.append(f"sweep.axes.{name}.{label}: {before} -> {new[name].get(label, 'absent')}")
    return changes


def _swept_keys(axes: dict[str, Any]) -> set[str]:
    return {key for places in axes.values() for settings in places.values() for key in settings}


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
