"""The `sweep` section of a study: further axes of its job matrix, each over keys of the study. Pure values and their names.

A sweep axis has one or several keys of the study, which take their values together, one after another (a zip); axes multiply.
What cannot be is refused in `sweep_check`, where the lines of the YAML are known.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from ptycho_torch.config import Strict

BASE_FILES = ("base.npz", "base.measured")
"""The keys whose values are files."""
LABELS = "labels"
"""The key of an axis that is none of the study."""
OWN_AXES = ("dose", "view", "gridsize", "seed", "solver")
"""What every study has; no axis of a sweep is called so, nor `labels`."""
EXCLUDING = ("dose", "view", "gridsize", "seed")
"""Those of them that an exclusion may name."""
_LABEL = re.compile(r"[A-Za-z0-9_.+-]{1,40}")
_SCAN_KEYS = ("base", "scan", "design.patch_size_px", "design.split", "design.seeds.simulation")
_VIEWS = "design.views."

Labels = tuple[tuple[str, str], ...]
"""Axes of a sweep, each with what a value of it is called: `(("learning_rate", "0.003"), ("scan", "siemens"))`."""

AxisName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
AxisValues = Annotated[tuple[Any, ...], Field(min_length=1)]


class SweepConfig(Strict):
    """Further axes of the job matrix: each a name, with keys of the study and the values that they take; axes multiply."""

    axes: Annotated[dict[AxisName, Annotated[dict[str, AxisValues], Field(min_length=1)]], Field(min_length=1)]
    """For each axis the keys below `base`, `scan`, `design` and `training` that it sets, each with a list of values: several keys
    of one axis go together, value by value. `labels` says how ids and folders call the values."""
    exclude: tuple[Annotated[dict[str, Any], Field(min_length=1)], ...] = ()
    """Cells that are left out: each entry names axes (`dose`, `view`, `gridsize`, `seed`, or those of the sweep) with a value or
    a list of values, and leaves out the jobs that have one of them on each."""

    @cached_property
    def directions(self) -> tuple["SweepAxis", ...]:
        """The axes, in the order in which ids and folders have them."""
        return tuple(_axis(name, section) for name, section in self.axes.items())

    @cached_property
    def swept_keys(self) -> tuple[str, ...]:
        """Every key that an axis sets."""
        return tuple(key for axis in self.directions for key in axis.keys)


@dataclass(frozen=True)
class SweepAxis:
    """One axis of a sweep."""

    name: str
    keys: tuple[str, ...]
    """Of the study, as `training.learning_rate`."""
    values: tuple[tuple[Any, ...], ...]
    """For each place on the axis what its keys take."""
    labels: tuple[str, ...]
    """For each place what ids and folders call it."""

    @cached_property
    def views(self) -> frozenset[str] | None:
        """The views in whose jobs alone it counts, where every key is one of a view; else None."""
        return frozenset(map(str, map(view_of, self.keys))) if all(map(view_of, self.keys)) else None

    def counts_in(self, view: str) -> bool:
        """Whether the jobs of a view differ by it."""
        return self.views is None or view in self.views

    def settings(self, place: int) -> dict[str, Any]:
        """What it sets in the study there."""
        return dict(zip(self.keys, self.values[place], strict=True))

    def place_of(self, value: Any) -> int | None:
        """The place that a person means by a label, or by a value as it is written; None where there is no such place."""
        if value in self.labels and isinstance(value, str):
            return self.labels.index(value)
        if len(self.keys) == 1:
            for place, (own,) in enumerate(self.values):
                if is_same(own, value):
                    return place
        label = value_label(self.keys[0], value)
        return self.labels.index(label) if label in self.labels else None

    @cached_property
    def _first_alike(self) -> dict[tuple[str, ...], tuple[int, ...]]:
        return {}

    def label_by(self, place: int, keys: tuple[str, ...]) -> str:
        """What the first place is called that has the same values of `keys`: places alike in them share what these decide."""
        if keys not in self._first_alike:
            content = [canonical([self.settings(one)[key] for key in keys]) for one in range(len(self.labels))]
            self._first_alike[keys] = tuple(content.index(one) for one in content)
        return self.labels[self._first_alike[keys][place]]


def _axis(name: str, section: Mapping[str, tuple[Any, ...]]) -> SweepAxis:
    keys = tuple(key for key in section if key != LABELS)
    values = tuple(zip(*(section[key] for key in keys), strict=True))
    written = section.get(LABELS)
    labels = [row_label(keys, row) for row in values] if written is None else [value_label("", one) for one in written]
    return SweepAxis(name, keys, values, tuple(label or "" for label in labels))


def row_label(keys: Iterable[str], row: Iterable[Any]) -> str | None:
    """What the values of one place are called where the study does not say it; None where they have no short name."""
    labels = [value_label(key, value) for key, value in zip(keys, row, strict=True)]
    return None if None in labels else fit("_".join(str(label) for label in labels))


def value_label(key: str, value: Any) -> str | None:
    """What a value is called: a number shortly and exactly, a file by its stem, a list joined by `x`; None for all else."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        short = f"{value:g}"
        return fit(short if float(short) == value else repr(value))
    if isinstance(value, int):
        return fit(str(value))
    if isinstance(value, str):
        return fit(Path(value).stem if key in BASE_FILES else value)
    if isinstance(value, list | tuple) and value:
        inner = [None if isinstance(one, list | tuple) else value_label("", one) for one in value]
        return None if None in inner else fit("x".join(str(one) for one in inner))
    return None


def fit(label: str) -> str | None:
    """A label that may stand in an id and name a folder; None where it may not."""
    return label if _LABEL.fullmatch(label) else None


def canonical(value: Any) -> str:
    """A value as text that is the same for the same value: 1 is 1.0, but not true."""
    return json.dumps(_as_floats(value), sort_keys=True)


def _as_floats(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_floats(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_as_floats(one) for one in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def is_same(one: Any, other: Any) -> bool:
    """Whether two values of a key are the same."""
    return canonical(one) == canonical(other)


def is_below(key: str, section: str) -> bool:
    """Whether a key is a section, or lies in it."""
    return key == section or key.startswith(f"{section}.")


def view_of(key: str) -> str | None:
    """The view whose key it is."""
    return key.removeprefix(_VIEWS).split(".")[0] if key.startswith(_VIEWS) else None


def decides_dataset(key: str) -> bool:
    """Whether what Phase C makes depends on a key."""
    return any(is_below(key, section) for section in _SCAN_KEYS)


def decides_data(key: str, view: str | None = None) -> bool:
    """Whether what the jobs of a view, or of any, read depends on a key: not the keys of training, nor those of other views."""
    return not is_below(key, "training") and (view is None or view_of(key) in (None, view))


class Decision:
    """Which axes decide something, by which of their keys."""

    def __init__(self, axes: Iterable[SweepAxis], decides: Callable[[str], bool]) -> None:
        keys = ((axis, tuple(key for key in axis.keys if decides(key))) for axis in axes)
        self._keys = [(axis, own) for axis, own in keys if own]

    def labels(self, places: Mapping[str, int]) -> Labels:
        """Where a cell lies on those axes: cells of the same labels are alike in what is decided."""
        return tuple((axis.name, axis.label_by(places[axis.name], own)) for axis, own in self._keys if axis.name in places)


def folders(sweep: Labels) -> tuple[str, ...]:
    """What ids and folders call the place of a cell: `learning_rate_0.003`, an entry an axis."""
    return tuple(f"{axis}_{label}" for axis, label in sweep)
