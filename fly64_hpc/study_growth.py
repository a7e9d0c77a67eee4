"""A study that grows: doses, views, seeds, solvers and values of the sweep that are added join what its directory holds.

What is there stays as it is.

Where a study began with one training seed, ids and folders name none; the seed is recorded as `plain_seed` in study.json, and
when others join it, they alone are named: `dose_1000-baseline-gs1` stays, `dose_1000-baseline-gs1-seed_1` comes.
"""

from dataclasses import replace
from typing import Any

from fly64_hpc.errors import StudyChangedError
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.study import StudyDesign
from fly64_hpc.study_directory import StoredStudy, read_study, refuse_other_version
from fly64_hpc.study_loading import LoadedStudy
from fly64_hpc.sweep import SweepConfig


def joined(paths: StudyPaths, loaded: LoadedStudy) -> LoadedStudy:
    """A study as its directory will hold it: what is there first, in its order and with its names, then what was added.

    Raises
    ------
    StudyChangedError
        The directory holds another version of the study; see `refuse_other_version`.
    """
    refuse_other_version(paths, loaded)
    if not paths.study.exists():
        return loaded
    stored = read_study(paths)
    grown = replace(loaded, design=_grown(stored, loaded.design), plain_seed=stored.plain_seed)
    _refuse_lost_jobs(paths, stored, grown)
    return grown


def _refuse_lost_jobs(paths: StudyPaths, stored: StoredStudy, grown: LoadedStudy) -> None:
    """Exclusions may leave out what is not there yet; what is there stays."""
    left = {job.job_id for job in grown.jobs}
    lost = [job.job_id for job in stored.jobs if job.job_id not in left]
    if lost:
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        raise StudyChangedError(
            f"{paths.home} holds jobs that sweep.exclude leaves out now: {lost[0]}{more}.",
            hint="Exclude what is not there yet only; --where, --dose and --view select some of the jobs.",
        )


def _grown(stored: StoredStudy, design: StudyDesign) -> StudyDesign:
    before, after = stored.design.design, design.design
    views = {name: after.views[name] for name in (*before.views, *after.views)}  # a name keeps its first place
    seeds = after.seeds.model_copy(update={"training": _seeds(before.seeds.training, after.seeds.training)})
    grown = {
        "design": after.model_copy(update={"views": views, "seeds": seeds}),
        "sweep": _sweep(stored.design.sweep, design.sweep),
    }
    return design.model_copy(update=grown)


def _sweep(before: SweepConfig | None, after: SweepConfig | None) -> SweepConfig | None:
    """The axes in the order that they have, and on each the values that are there before those that were added."""
    if before is None or after is None:
        return after
    axes = {axis.name: axis for axis in after.directions}
    grown: dict[str, dict[str, tuple[Any, ...]]] = {}
    for name, labels in ((axis.name, axis.labels) for axis in before.directions):
        order = [axes[name].labels.index(label) for label in dict.fromkeys((*labels, *axes[name].labels))]
        grown[name] = {key: tuple(values[place] for place in order) for key, values in after.axes[name].items()}
    return SweepConfig(axes=grown, exclude=after.exclude)


def _seeds(before: int | tuple[int, ...], after: int | tuple[int, ...]) -> int | tuple[int, ...]:
    """One seed stays one; of several, those that the study began with come first."""
    if before == after:
        return before
    return tuple(dict.fromkeys((*_listed(before), *_listed(after))))


def _listed(seeds: int | tuple[int, ...]) -> tuple[int, ...]:
    return seeds if isinstance(seeds, tuple) else (seeds,)
