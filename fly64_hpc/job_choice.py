"""Which jobs of a matrix are meant: by the values on its axes, or by a name or a part of one."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fly64_hpc.errors import RequestError
from fly64_hpc.job_matrix import TrainingJob
from fly64_hpc.plain_values import plain_value
from fly64_hpc.sweep import BASE_FILES, value_label

_WHERE_HINT = "Write --where AXIS=VALUE with an axis of the study's sweep; --print-only shows the jobs."
MOST_NAMES = 20
"""Of jobs, in a message."""


@dataclass(frozen=True)
class JobFilter:
    """A selection of the matrix; an empty axis selects all of it."""

    doses: tuple[float, ...] = ()
    views: tuple[str, ...] = ()
    gridsizes: tuple[int, ...] = ()
    where: tuple[tuple[str, str], ...] = ()
    """Axes of the sweep, each with a value as its label or as it is written; of one axis several mean any of them."""

    def accepts(self, job: TrainingJob) -> bool:
        """Whether the selection holds the job."""
        return (
            (not self.doses or job.dose_photons in self.doses)
            and (not self.views or job.view in self.views)
            and (not self.gridsizes or job.gridsize in self.gridsizes)
            and self._is_there(job)
        )

    def _is_there(self, job: TrainingJob) -> bool:
        place = dict(job.sweep)
        return all(any(one == axis and is_called(place.get(axis), value) for one, value in self.where) for axis, _ in self.where)

    def as_dict(self) -> dict[str, list[Any]]:
        """The selection as the manifest has it."""
        where = {"where": [f"{axis}={value}" for axis, value in self.where]} if self.where else {}
        return {"dose": list(self.doses), "view": list(self.views), "gridsize": list(self.gridsizes), **where}


def is_called(label: str | None, value: str) -> bool:
    """Whether a label is what a person wrote, or what it is called after: `0.003` after 3e-3, `siemens` after siemens.npz."""
    parsed = plain_value(value)
    return label is not None and label in (value, value_label("", parsed), value_label(BASE_FILES[0], parsed))


def select(jobs: Sequence[TrainingJob], selection: JobFilter) -> tuple[TrainingJob, ...]:
    """The jobs that a filter selects.

    Raises
    ------
    RequestError
        It selects none, or names a dose, view, gridsize or place of the sweep that no job has.
    """
    _require_known("--dose", selection.doses, (job.dose_photons for job in jobs))
    _require_known("--view", selection.views, (job.view for job in jobs))
    _require_known("--gridsize", selection.gridsizes, (job.gridsize for job in jobs))
    _require_known_places(selection, jobs)
    chosen = tuple(job for job in jobs if selection.accepts(job))
    if not chosen:
        raise RequestError(f"The filters match no job; {_existing(jobs)}.", hint=f"Loosen one of {_flags(jobs)}.")
    return chosen


def chosen_job(jobs: Sequence[TrainingJob], name: str | None, selection: JobFilter, flag: str = "") -> TrainingJob:
    """The one job that a name, or a part of it, and a selection leave.

    Parameters
    ----------
    flag
        By which a job is named on the command line, where a word alone does not.

    Raises
    ------
    RequestError
        They leave none, or several.
    """
    left = select(jobs, selection)
    found = [job for job in left if name is not None and job.job_id == name]
    found = found or [job for job in left if name is None or name in job.job_id]
    if len(found) == 1:
        return found[0]
    by = f" with {flag}" if flag else ""
    asked = "the selection" if name is None else repr(name)
    names = ", ".join(job.job_id for job in (found or left)[:MOST_NAMES])
    more = len(found or left) - MOST_NAMES
    names += f" and {more} more" if more > 0 else ""
    if not found:
        raise RequestError(f"{asked} is in no job id; there are {names}.", hint=f"Name one of these{by}.")
    raise RequestError(
        f"{asked} leaves {len(found)} jobs: {names}.",
        hint=f"Name one of them{by}, or select it with {_flags(jobs)}.",
    )


def _require_known(flag: str, asked: Iterable[Any], existing: Iterable[Any]) -> None:
    known = list(dict.fromkeys(existing))
    for value in asked:
        if value not in known:
            shown = f"{value:g}" if isinstance(value, float) else value
            names = ", ".join(f"{item:g}" if isinstance(item, float) else str(item) for item in known)
            raise RequestError(f"{flag} {shown} matches no job; the study has {names}.", hint=f"Choose one of these for {flag}.")


def _require_known_places(selection: JobFilter, jobs: Sequence[TrainingJob]) -> None:
    known = _places(jobs)
    for axis, value in selection.where:
        if axis not in known:
            there = f"has the axes {', '.join(known)}" if known else "has no sweep"
            raise RequestError(f"--where {axis}={value} matches no job; the study {there}.", hint=_WHERE_HINT)
        if not any(is_called(label, value) for label in known[axis]):
            raise RequestError(
                f"--where {axis}={value} matches no job; the study has {', '.join(known[axis])}.",
                hint=f"Choose one of these for --where {axis}=.",
            )


def _places(jobs: Sequence[TrainingJob]) -> dict[str, list[str]]:
    """By axis of the sweep the labels that jobs have, in their order."""
    known: dict[str, list[str]] = {}
    for axis, label in dict.fromkeys(place for job in jobs for place in job.sweep):
        known.setdefault(axis, []).append(label)
    return known


def _flags(jobs: Sequence[TrainingJob]) -> str:
    """Those that tell these jobs apart."""
    return "--dose, --view, --gridsize and --where" if any(job.sweep for job in jobs) else "--dose, --view and --gridsize"


def _existing(jobs: Sequence[TrainingJob]) -> str:
    doses = ", ".join(f"{dose:g}" for dose in dict.fromkeys(job.dose_photons for job in jobs))
    views = ", ".join(dict.fromkeys(job.view for job in jobs))
    gridsizes = ", ".join(str(size) for size in dict.fromkeys(job.gridsize for job in jobs))
    swept = "".join(f"; {axis} {', '.join(labels)}" for axis, labels in _places(jobs).items())
    return f"there are doses {doses}; views {views}; gridsizes {gridsizes}{swept}"
