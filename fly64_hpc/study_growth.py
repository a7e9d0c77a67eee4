"""A study that grows: doses, views, seeds and solvers that are added join what its directory holds, which stays as it is.

Where a study began with one training seed, ids and folders name none; the seed is recorded as `plain_seed` in study.json, and
when others join it, they alone are named: `dose_1000-baseline-gs1` stays, `dose_1000-baseline-gs1-seed_1` comes.
"""

from dataclasses import replace

from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.study import StudyDesign
from fly64_hpc.study_directory import StoredStudy, read_study, refuse_other_version
from fly64_hpc.study_loading import LoadedStudy


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
    return replace(loaded, design=_grown(stored, loaded.design), plain_seed=stored.plain_seed)


def _grown(stored: StoredStudy, design: StudyDesign) -> StudyDesign:
    before, after = stored.design.design, design.design
    views = {name: after.views[name] for name in (*before.views, *after.views)}  # a name keeps its first place
    seeds = after.seeds.model_copy(update={"training": _seeds(before.seeds.training, after.seeds.training)})
    return design.model_copy(update={"design": after.model_copy(update={"views": views, "seeds": seeds})})


def _seeds(before: int | tuple[int, ...], after: int | tuple[int, ...]) -> int | tuple[int, ...]:
    """One seed stays one; of several, those that the study began with come first."""
    if before == after:
        return before
    return tuple(dict.fromkeys((*_listed(before), *_listed(after))))


def _listed(seeds: int | tuple[int, ...]) -> tuple[int, ...]:
    return seeds if isinstance(seeds, tuple) else (seeds,)
