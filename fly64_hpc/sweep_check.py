"""What is refused of a `sweep` section, each with its line, what is allowed and what to do; see `sweep`.

Checked at birth: the keys, the values and their names, the exclusions, and every cell as the study that it is.
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any

from fly64_hpc.axes import listed
from fly64_hpc.errors import StudyError
from fly64_hpc.job_matrix import Matrix
from fly64_hpc.study import StudyDesign
from fly64_hpc.study_errors import Locate, study_error, unknown_key
from fly64_hpc.study_yaml import KeyPath
from fly64_hpc.sweep import (
    BASE_FILES,
    EXCLUDING,
    LABELS,
    OWN_AXES,
    SweepAxis,
    SweepConfig,
    canonical,
    folders,
    is_below,
    value_label,
)
from fly64_hpc.variants import SECTIONS, VariantError, Variants, put
from ptycho_torch.config import EXECUTION_FIELDS

MOST_ID = 200
"""Characters of a job id: files are named by it."""
_ALLOWED_KEYS = f"allowed are keys below {', '.join(SECTIONS[:-1])} and {SECTIONS[-1]}"
_ELSEWHERE = {
    "study": ("names the whole study", "Give another study a YAML of its own."),
    "resources": ("is no part of a job's identity", "Set resources for all jobs, outside the sweep."),
    "iterative": ("is no axis of the networks: solvers are an axis of Phase F already", "List them in iterative.solvers."),
    "sweep": ("is the sweep itself", "Add an axis to sweep.axes."),
    "design.doses_photons": ("is an axis already", "List the doses there, outside the sweep."),
    "design.seeds.training": ("is an axis already", "List the seeds there, outside the sweep."),
}
"""Keys that no axis may set, why, and what to do."""


def with_base_of_the_sweep(data: dict[str, Any]) -> dict[str, Any]:
    """A study as written, its base completed by the first values of the sweep, so that a sweep may give it alone.

    Of what stands there nothing is in force: every job has a value of the sweep.
    """
    axes = data["sweep"].get("axes") if isinstance(data.get("sweep"), dict) else None
    firsts: dict[str, Any] = {}
    for section in axes.values() if isinstance(axes, dict) else ():
        for key, values in section.items() if isinstance(section, dict) else ():
            if key.startswith("base.") and isinstance(values, list) and values:
                firsts[key] = values[0]
    written = data.get("base", {})
    if not firsts or not isinstance(written, dict):
        return data
    completed = {"base": copy.deepcopy(written)}
    put(completed, ((key, value) for key, value in firsts.items() if not _stands_in(data, key)))
    return data | completed


def _stands_in(data: Any, key: str) -> bool:
    for step in key.split("."):
        if not isinstance(data, dict) or step not in data:
            return False
        data = data[step]
    return True


def checked_sweep(design: StudyDesign, locate: Locate, resolve: Callable[[Any], Any], flags: Mapping[str, str]) -> SweepConfig:
    """The sweep of a study with every label written down, exclusions by label, and base files as absolute paths.

    Parameters
    ----------
    resolve
        Makes a path absolute, and leaves alone what is none.
    flags
        The keys that flags set, each with its flag.

    Raises
    ------
    StudyError
        Something of it cannot be.
    """
    assert design.sweep is not None
    by_key: dict[str, str] = {}
    for name, section in design.sweep.axes.items():
        check = _AxisCheck(name, section, design, locate)
        check.keys(by_key, flags)
        check.values()
    sweep = SweepConfig(axes={name: _with_labels(design.sweep, name) for name in design.sweep.axes}, exclude=design.sweep.exclude)
    for axis in sweep.directions:
        _refuse_alike(axis, locate(("sweep", "axes", axis.name)))
    exclude = tuple(_checked_exclusion(number, design, sweep, locate) for number in range(len(sweep.exclude)))
    axes = {
        name: {key: tuple(map(resolve, values)) if key in BASE_FILES else values for key, values in section.items()}
        for name, section in sweep.axes.items()
    }
    return SweepConfig(axes=axes, exclude=exclude)


def _with_labels(sweep: SweepConfig, name: str) -> dict[str, tuple[Any, ...]]:
    (axis,) = (one for one in sweep.directions if one.name == name)
    return {key: values for key, values in sweep.axes[name].items() if key != LABELS} | {LABELS: axis.labels}


class _AxisCheck:
    """One axis as it is written."""

    def __init__(self, name: str, section: Mapping[str, tuple[Any, ...]], design: StudyDesign, locate: Locate) -> None:
        self._name, self._section, self._design, self._locate = name, section, design, locate
        self._keys = [key for key in section if key != LABELS]

    def keys(self, by_key: dict[str, str], flags: Mapping[str, str]) -> None:
        """Refuse a name that means something else, and keys that no axis may set, or that two do; `by_key` has those so far."""
        if self._name in (*OWN_AXES, LABELS):
            raise StudyError(
                f"{self._where()}: an axis cannot be called {self._name}: {', '.join((*OWN_AXES, LABELS))} are taken.",
                hint="Call it otherwise.",
            )
        if not self._keys:
            raise StudyError(
                f"{self._where()}: the axis {self._name} has no key of the study; {_ALLOWED_KEYS}.",
                hint="Add one with a list of values, as `training.learning_rate: [1e-3, 3e-3]`.",
            )
        for key in self._keys:
            self._refuse_key(key, by_key)
            by_key[key] = self._name
            flag = next((one for path, one in flags.items() if is_below(path, key)), None)
            if flag is not None:
                raise StudyError(
                    f"{flag}: the axis {self._name} of the sweep sets {key} in every job.",
                    hint=f"Select its values with --where {self._name}=VALUE, or leave the axis out.",
                )

    def _refuse_key(self, key: str, by_key: Mapping[str, str]) -> None:
        path, where = tuple(key.split(".")), self._where(key)
        for section, (why, hint) in _ELSEWHERE.items():
            if is_below(key, section):
                raise StudyError(f"{where}: {key} {why}; {_ALLOWED_KEYS}.", hint=hint)
        if key == "design.views":
            raise StudyError(
                f"{where}: design.views is an axis already; allowed are keys of one view, as design.views.dense.groups.",
                hint="List the views there, outside the sweep.",
            )
        if path[0] == "training" and path[-1] in EXECUTION_FIELDS and len(path) == 2:
            raise StudyError(
                f"{where}: {key} says how a job runs, and is no part of its identity: jobs that differ in it alone are one job.",
                hint=f"Set {key} for all jobs, outside the sweep.",
            )
        if (problem := unknown_key(StudyDesign, self._design, path, where)) is not None:
            raise problem
        if len(path) < 2 or key == "design.seeds":
            raise StudyError(f"{where}: {key} is a whole section; {_ALLOWED_KEYS}.", hint=f"Name a key of it, as {key}.KEY.")
        for other, axis in by_key.items():
            if is_below(key, other) or is_below(other, key):
                raise StudyError(
                    f"{where}: {key} of the axis {self._name} and {other} of the axis {axis} set the same thing.",
                    hint="Let one axis set it; keys that go together stand in one axis.",
                )

    def values(self) -> None:
        """Refuse lists that differ in length, and values without a name."""
        lengths = {key: len(values) for key, values in self._section.items()}
        if len(set(lengths.values())) > 1:
            said = ", ".join(f"{key} has {length}" for key, length in lengths.items())
            raise StudyError(
                f"{self._where()}: the values of an axis go together, one after another, but in {self._name} {said}.",
                hint="Write as many values for each key, or make two axes of them: axes multiply.",
            )
        (axis,) = (one for one in SweepConfig(axes={self._name: dict(self._section)}).directions)
        for place, label in enumerate(axis.labels):
            if not label:
                self._refuse_label(axis, place)

    def _refuse_label(self, axis: SweepAxis, place: int) -> None:
        allowed = "allowed are up to 40 letters, digits and any of '_.+-'"
        if LABELS in self._section:
            got = self._section[LABELS][place]
            raise StudyError(
                f"{self._where(LABELS)}: {got!r} of the axis {self._name} cannot name a folder; {allowed}.",
                hint="Write another label.",
            )
        shown = ", ".join(f"{key}: {value!r}" for key, value in axis.settings(place).items())
        raise StudyError(
            f"{self._where()}: a value of the axis {self._name} has no short name for ids ({shown[:100]}); {allowed}.",
            hint=f"Name the values: `labels: [..]` with {len(axis.labels)} names, beside the keys of {self._name}.",
        )

    def _where(self, *key: str) -> str:
        return self._locate(("sweep", "axes", self._name, *key))


def _refuse_alike(axis: SweepAxis, where: str) -> None:
    """The same value twice, or two that are called alike."""
    seen: dict[str, int] = {}
    names: dict[str, int] = {}
    for place, label in enumerate(axis.labels):
        content = canonical(axis.values[place])
        if content in seen:
            shown = ", ".join(f"{key} {value}" for key, value in axis.settings(place).items())
            raise StudyError(f"{where}: the axis {axis.name} has the same value twice: {shown}.", hint="Leave one of them out.")
        if label.casefold() in names:
            first, second = (axis.values[one] for one in (names[label.casefold()], place))
            raise StudyError(
                f"{where}: two values of the axis {axis.name} would be called {label}: {_words(first)} and {_words(second)}.",
                hint=f"Name them: `labels: [..]` with {len(axis.labels)} names that differ, beside the keys of {axis.name}.",
            )
        seen[content] = names[label.casefold()] = place


def refuse_same_content(sweep: SweepConfig, digests: Mapping[str, str], locate: Locate) -> None:
    """Two base files of one content would be one scan under two names.

    Raises
    ------
    StudyError
        With the axis.
    """
    for axis in sweep.directions:
        rows = [
            tuple(digests.get(value) if key in BASE_FILES else value for key, value in axis.settings(place).items())
            for place in range(len(axis.labels))
        ]
        content = [canonical(row) for row in rows]
        twice = next((place for place, one in enumerate(content) if content.index(one) < place), None)
        if twice is not None:
            first, second = (_words(axis.values[place]) for place in (content.index(content[twice]), twice))
            raise StudyError(
                f"{locate(('sweep', 'axes', axis.name))}: {first} and {second} of the axis {axis.name} have the same content.",
                hint="Leave one of them out.",
            )


def _words(row: tuple[Any, ...]) -> str:
    return " with ".join(str(value) for value in row)


def _checked_exclusion(number: int, design: StudyDesign, sweep: SweepConfig, locate: Locate) -> dict[str, Any]:
    """An exclusion with known axes and values, those of the sweep by their labels."""
    entry, path = sweep.exclude[number], ("sweep", "exclude", number)
    axes = {axis.name: axis for axis in sweep.directions}
    known = _own_values(design)
    checked: dict[str, Any] = {}
    for name, value in entry.items():
        if name not in axes and name not in EXCLUDING:
            raise StudyError(
                f"{locate(path)}: an exclusion names {name}, but the study has the axes {', '.join((*EXCLUDING, *axes))}.",
                hint="Name one of these.",
            )
        values = listed(value)
        if not values:
            raise StudyError(f"{locate(path)}: an exclusion has no value for {name}.", hint="Write one, or leave the axis out.")
        for one in values:
            if name in axes and axes[name].place_of(one) is None:
                raise _unknown_value(locate(path), name, one, axes[name].labels)
            if name in known and one not in known[name]:
                raise _unknown_value(locate(path), name, one, known[name])
        checked[name] = [axes[name].labels[axes[name].place_of(one) or 0] for one in values] if name in axes else values
    return checked


def _own_values(design: StudyDesign) -> dict[str, list[Any]]:
    """Of dose, view and seed; gridsizes may vary, and one that no job has leaves no cell out."""
    return {
        "dose": list(design.design.doses_photons),
        "view": list(design.design.views),
        "seed": listed(design.design.seeds.training),
    }


def _unknown_value(where: str, axis: str, value: Any, known: Any) -> StudyError:
    shown = ", ".join(str(value_label("", one)) for one in known)
    return StudyError(
        f"{where}: an exclusion names {axis} {value}, but the study has {shown}.", hint=f"Name one of these for {axis}."
    )


def refuse_impossible_cells(design: StudyDesign, locate: Locate) -> None:
    """Make every job: refuse a cell that is no study, exclusions of nothing or all, and ids that do not tell jobs apart.

    Raises
    ------
    StudyError
        With the axis, the value and the place.
    """
    assert design.sweep is not None
    variants = Variants(design)
    matrix = Matrix(design, None, variants)
    try:
        jobs = matrix.jobs
        for place in {job.data_sweep for job in jobs}:
            variants.of(place)  # what Phase F has there
    except VariantError as error:
        raise _impossible(error, design.sweep, locate) from None
    if not jobs:
        raise StudyError(f"{locate(('sweep', 'exclude'))}: the exclusions leave no job.", hint="Leave some of them out.")
    for number in sorted(matrix.unused_exclusions):
        shown = ", ".join(f"{name}: {value}" for name, value in design.sweep.exclude[number].items())
        raise StudyError(
            f"{locate(('sweep', 'exclude', number))}: the exclusion {{{shown}}} leaves no cell out: no job has all of this.",
            hint="Correct it, or leave it out.",
        )
    ids = [job.job_id for job in jobs]
    if max(map(len, ids)) > MOST_ID:
        longest = max(ids, key=len)
        raise StudyError(
            f"{locate(('sweep',))}: a job id would have {len(longest)} characters; allowed are {MOST_ID}: {longest}.",
            hint="Give axes and values shorter names.",
        )
    if len({one.casefold() for one in ids}) < len(ids):
        (twice, *_) = (one for one in ids if ids.count(one) > 1)
        raise StudyError(f"{locate(('sweep',))}: two jobs would be called {twice}.", hint="Choose labels without '-'.")


def _impossible(error: VariantError, sweep: SweepConfig, locate: Locate) -> StudyError:
    """The complaint about a cell, at the axis whose key it is about, or at the sweep where values do not go together."""
    about = ".".join(str(part) for part in error.error.errors(include_url=False)[0]["loc"])
    at: KeyPath = ("sweep", "axes")
    place, hint = error.sweep, "Change a value, or leave the cell out with sweep.exclude."
    for axis in sweep.directions:
        key = next((key for key in axis.keys if is_below(about, key)), None)
        if key is not None and axis.name in dict(error.sweep):
            place, at = ((axis.name, dict(error.sweep)[axis.name]),), ("sweep", "axes", axis.name, key)
            hint = f"Change it, or leave it out of the axis {axis.name}."
    said = study_error(error.error, StudyDesign, lambda _: "")
    return StudyError(f"{locate(at)}: in the sweep's {', '.join(folders(place))}{said.message}", hint=hint)
