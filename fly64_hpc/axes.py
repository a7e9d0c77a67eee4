"""The axes of a study's job matrix, their product, and what a sweep excludes of it. Pure."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fly64_hpc.study import StudyDesign
from fly64_hpc.sweep import SweepAxis


@dataclass(frozen=True)
class Axis:
    """One direction of the matrix: its values, and what ids and folders call each.

    Every study has three: doses, views and training seeds; its `sweep` adds others between view and seed. The fly64 study is the
    product of `dose` (1e3, 1e4, 1e5), `view` (baseline, dense, sparse) and one `seed`, which is written nowhere.
    """

    name: str
    values: tuple[Any, ...]
    labels: tuple[str, ...]
    """Empty where a value is written nowhere."""
    views: frozenset[str] | None = None
    """The views in whose jobs alone it counts; None: in all."""


Cell = dict[str, int]
"""For each axis that counts in it the place of a job."""


def dose_label(dose_photons: float) -> str:
    """The dose as ids and folders write it: `dose_1000`."""
    return f"dose_{round(dose_photons)}"


def study_axes(design: StudyDesign, plain_seed: int | None = None) -> tuple[Axis, ...]:
    """The axes of a study's networks: doses ascending, views as written, those of the sweep, and seeds.

    A study of one seed writes it nowhere, nor does one of several write its `plain_seed`.
    """
    doses, views = tuple(sorted(design.design.doses_photons)), tuple(design.design.views)
    seeds = design.design.seeds.training
    several = seeds if isinstance(seeds, tuple) else (seeds,)
    written = [f"seed_{seed}" if isinstance(seeds, tuple) and seed != plain_seed else "" for seed in several]
    return (
        Axis("dose", doses, tuple(map(dose_label, doses))),
        Axis("view", views, views),
        *(
            Axis(one.name, one.labels, tuple(f"{one.name}_{label}" for label in one.labels), one.views)
            for one in sweep_axes(design)
        ),
        Axis("seed", several, tuple(written)),
    )


def cells(directions: Sequence[Axis], view: str = "") -> Iterator[Cell]:
    """The product of axes, the first slowest; an axis that does not count in a view has no place in its cells."""
    if not directions:
        yield {}
        return
    first, *others = directions
    if first.views is not None and view not in first.views:
        yield from cells(others, view)
        return
    for place, value in enumerate(first.values):
        for rest in cells(others, value if first.name == "view" else view):
            yield {first.name: place, **rest}


def sweep_axes(design: StudyDesign) -> tuple[SweepAxis, ...]:
    """The axes of its sweep; none where it has no sweep."""
    return design.sweep.directions if design.sweep is not None else ()


def exclusions(design: StudyDesign) -> tuple[dict[str, Collection[Any]], ...]:
    """The exclusions of a study, each value as the axis has it: a label for an axis of the sweep."""
    swept = {axis.name: axis for axis in sweep_axes(design)}
    entries = design.sweep.exclude if design.sweep is not None else ()
    return tuple({name: _meant(swept.get(name), listed(value)) for name, value in entry.items()} for entry in entries)


def listed(value: Any) -> list[Any]:
    """One value is as good as a list of one."""
    return list(value) if isinstance(value, list | tuple) else [value]


def _meant(axis: SweepAxis | None, values: list[Any]) -> Collection[Any]:
    if axis is None:
        return values
    places = (axis.place_of(value) for value in values)
    return [axis.labels[place] for place in places if place is not None]
