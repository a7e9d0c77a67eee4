"""Variants: the study as a cell of its sweep has it. Each is a whole study that was checked, as if it had a YAML of its own."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from fly64_hpc.errors import StudyError
from fly64_hpc.study import StudyDesign
from fly64_hpc.sweep import Labels, SweepAxis, folders
from ptycho_torch.config import DatasetRecipe, ViewRecipe

SECTIONS = ("base", "scan", "design", "training")
"""What a sweep may set keys of."""


class VariantError(StudyError):
    """A cell of the sweep that is no study."""

    def __init__(self, sweep: Labels, error: ValidationError) -> None:
        problem = error.errors(include_url=False)[0]
        about = ".".join(str(part) for part in problem["loc"])
        super().__init__(
            f"The sweep's {', '.join(folders(sweep))} is no study: {about}: {problem['msg']}.",
            hint="Its study.json may be of a newer version of this program: use that one.",
        )
        self.sweep, self.error = sweep, error


@dataclass(frozen=True)
class Variant:
    """The study that is in force in some of the jobs: the values of their place on the sweep's axes are set."""

    design: StudyDesign
    base_sha256: str | None
    """The digest of the file that its base names."""

    def dataset_recipe(self, dose_photons: float) -> DatasetRecipe:
        """What Phase C makes at one dose."""
        return self.design.dataset_recipe(dose_photons, self.base_sha256)

    def view_recipe(self, dose_photons: float, view: str) -> ViewRecipe:
        """What Phase D makes of one dose's dataset for one view."""
        return self.design.view_recipe(dose_photons, view, self.base_sha256)


class Variants:
    """The variants of one study, each made when it is first asked for.

    A section is checked once for each content, and a study whose sections are checked by what it says of them together: that is
    what lets thousands of cells be checked within a second.
    """

    def __init__(self, design: StudyDesign, base_sha256: str | None = None, swept: Mapping[str, str] | None = None) -> None:
        self._design, self._base_sha256, self._swept = design, base_sha256, swept or {}
        self._axes: dict[str, SweepAxis] = {axis.name: axis for axis in design.sweep.directions} if design.sweep else {}
        self._plain = {name: getattr(design, name) for name in type(design).model_fields if name != "sweep"}
        self._written = {name: self._plain[name].model_dump(mode="json") for name in SECTIONS} if self._axes else {}
        self._of_section = {
            name: {axis.name for axis in self._axes.values() if any(key.startswith(f"{name}.") for key in axis.keys)}
            for name in SECTIONS
        }
        self._checked: dict[tuple[str, Labels], StudyDesign] = {}
        self._known: dict[Labels, Variant] = {}

    def of(self, sweep: Labels) -> Variant:
        """The study as it is at a place of its sweep.

        Raises
        ------
        VariantError
            It is none there: a value is not allowed, or values do not go together.
        """
        if sweep not in self._known:
            self._known[sweep] = self._made(sweep)
        return self._known[sweep]

    def _made(self, sweep: Labels) -> Variant:
        if not sweep:
            return Variant(self._design, self._base_sha256)
        try:
            design = self._design_at(sweep)
        except ValidationError as error:
            raise VariantError(sweep, error) from None
        file = design.base_file
        return Variant(design, None if file is None else self._swept.get(file, self._base_sha256))

    def _design_at(self, sweep: Labels) -> StudyDesign:
        own = {name: tuple(place for place in sweep if place[0] in self._of_section[name]) for name in SECTIONS}
        changed = {name: self._with_section(name, places) for name, places in own.items() if places}
        if len(changed) == 1:
            return next(iter(changed.values()))
        return type(self._design).model_validate(self._plain | {name: getattr(one, name) for name, one in changed.items()})

    def _with_section(self, name: str, places: Labels) -> StudyDesign:
        """The study with the values of those axes that set keys of a section: of the whole, so that an error says where it is."""
        if (name, places) not in self._checked:
            written = {name: self._written[name]}
            for axis_name, label in places:
                axis = self._axes[axis_name]
                put(written, axis.settings(axis.labels.index(label)).items(), below=name)
            self._checked[name, places] = type(self._design).model_validate(self._plain | written)
        return self._checked[name, places]


def put(written: dict[str, Any], settings: Iterable[tuple[str, Any]], below: str = "") -> None:
    """Set keys of a study that is written as plain data: of its sections copies, and those that are not there are made."""
    for key, value in settings:
        if below and not key.startswith(f"{below}."):
            continue
        *path, last = key.split(".")
        section = written
        for step in path:
            inner = section.get(step)
            section[step] = dict(inner) if isinstance(inner, dict) else {}
            section = section[step]
        section[last] = value
