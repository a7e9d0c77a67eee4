"""The job matrix: a product of axes, from which ids, folders and manifest keys come. Pure: no files, no torch."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fly64_hpc.errors import RequestError
from fly64_hpc.study import IterativeStudy, ResolvedStudy, StudyDesign
from ptycho_torch.config import JobConfig, SolverJobConfig

MOST_NAMES = 20
"""Of jobs, in a message."""

Label = tuple[str, str]
"""What a value is called in a job id, and in a folder."""


@dataclass(frozen=True)
class Axis:
    """One direction of the matrix: a field of the job, its values, and how each is written."""

    field: str
    values: tuple[Any, ...]
    labels: tuple[Label, ...]


@dataclass(frozen=True)
class TrainingJob:
    """One cell of the matrix."""

    job_id: str
    folder: str
    """Below `phase_e_training/`, or below Phase F's own directory."""
    dose_photons: float
    view: str
    gridsize: int
    seed: int
    solver: str | None = None
    """Which solver reconstructs, in Phase F."""

    @property
    def tag(self) -> str:
        """The job as it is named in front of a line of output."""
        return f"[{self.view}/dose={self.dose_photons:.0e}{f'/{self.solver}' if self.solver else ''}]"


@dataclass(frozen=True)
class JobFilter:
    """A selection of the matrix; an empty axis selects all of it."""

    doses: tuple[float, ...] = ()
    views: tuple[str, ...] = ()
    gridsizes: tuple[int, ...] = ()

    def accepts(self, job: TrainingJob) -> bool:
        """Whether the selection holds the job."""
        return (
            (not self.doses or job.dose_photons in self.doses)
            and (not self.views or job.view in self.views)
            and (not self.gridsizes or job.gridsize in self.gridsizes)
        )

    def as_dict(self) -> dict[str, list[Any]]:
        """The selection as the manifest has it."""
        return {"dose": list(self.doses), "view": list(self.views), "gridsize": list(self.gridsizes)}


def dose_label(dose_photons: float) -> str:
    """The dose as ids and folders write it: `dose_1000`."""
    return f"dose_{round(dose_photons)}"


def axes(design: StudyDesign, plain_seed: int | None = None) -> tuple[Axis, ...]:
    """The axes of a study: doses ascending, views as written, and seeds; in Phase F solvers instead.

    A study of one seed writes it nowhere, nor does one of several write its `plain_seed`.
    """
    doses = tuple(sorted(design.design.doses_photons))
    dose_axis = Axis("dose_photons", doses, tuple((dose_label(dose),) * 2 for dose in doses))
    if isinstance(design, IterativeStudy):
        scans, solvers = distinct_scans(design), tuple(design.iterative.solvers)
        return dose_axis, Axis("view", scans, _same(scans)), Axis("solver", solvers, _same(solvers))
    views = tuple(design.design.views.items())
    seeds = design.design.seeds.training
    return (
        dose_axis,
        Axis(
            "view",
            tuple(name for name, _ in views),
            tuple((f"{name}-gs{view.gridsize}", f"{name}/gs{view.gridsize}") for name, view in views),
        ),
        Axis("seed", seeds, tuple(("",) * 2 if seed == plain_seed else (f"seed_{seed}",) * 2 for seed in seeds))
        if isinstance(seeds, tuple)
        else Axis("seed", (seeds,), (("", ""),)),
    )


def _same(names: tuple[str, ...]) -> tuple[Label, ...]:
    return tuple((name, name) for name in names)


def distinct_scans(design: StudyDesign) -> tuple[str, ...]:
    """The views that differ for a solver, which forms no groups: the first of those with the same share of the patterns."""
    return tuple(dict.fromkeys(scan_of(design, view) for view in design.design.views))


def scan_of(design: StudyDesign, view: str) -> str:
    """The view by which the patterns of another go in Phase F."""
    fraction = design.design.views[view].image_fraction
    return next(name for name, other in design.design.views.items() if other.image_fraction == fraction)


def study_jobs(study: ResolvedStudy) -> tuple[TrainingJob, ...]:
    """Every job of a study that was loaded or stored."""
    return job_matrix(study.design, study.plain_seed)


def job_matrix(design: StudyDesign, plain_seed: int | None = None) -> tuple[TrainingJob, ...]:
    """Every job of a study: the product of its axes, the first axis slowest; see `axes`."""
    directions = axes(design, plain_seed)
    cells = itertools.product(*(zip(axis.values, axis.labels, strict=True) for axis in directions))
    fields = [axis.field for axis in directions]
    return tuple(
        _job(design, dict(zip(fields, (value for value, _ in cell), strict=True)), [label for _, label in cell]) for cell in cells
    )


def _job(design: StudyDesign, values: dict[str, Any], labels: Sequence[Label]) -> TrainingJob:
    return TrainingJob(
        job_id="-".join(name for name, _ in labels if name),
        folder="/".join(folder for _, folder in labels if folder),
        gridsize=design.design.views[values["view"]].gridsize,
        **({"seed": design.design.seeds.simulation} | values),
    )


def select(jobs: Sequence[TrainingJob], selection: JobFilter) -> tuple[TrainingJob, ...]:
    """The jobs that a filter selects.

    Raises
    ------
    RequestError
        It selects none, or names a dose, view or gridsize that no job has.
    """
    _require_known("--dose", selection.doses, (job.dose_photons for job in jobs))
    _require_known("--view", selection.views, (job.view for job in jobs))
    _require_known("--gridsize", selection.gridsizes, (job.gridsize for job in jobs))
    chosen = tuple(job for job in jobs if selection.accepts(job))
    if not chosen:
        raise RequestError(f"The filters match no job; {_existing(jobs)}.", hint="Loosen one of --dose, --view and --gridsize.")
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
        hint=f"Name one of them{by}, or select it with --dose, --view and --gridsize.",
    )


def _require_known(flag: str, asked: Iterable[Any], existing: Iterable[Any]) -> None:
    known = list(dict.fromkeys(existing))
    for value in asked:
        if value not in known:
            shown = f"{value:g}" if isinstance(value, float) else value
            names = ", ".join(f"{item:g}" if isinstance(item, float) else str(item) for item in known)
            raise RequestError(f"{flag} {shown} matches no job; the study has {names}.", hint=f"Choose one of these for {flag}.")


def _existing(jobs: Sequence[TrainingJob]) -> str:
    doses = ", ".join(f"{dose:g}" for dose in dict.fromkeys(job.dose_photons for job in jobs))
    views = ", ".join(dict.fromkeys(job.view for job in jobs))
    gridsizes = ", ".join(str(size) for size in dict.fromkeys(job.gridsize for job in jobs))
    return f"there are doses {doses}; views {views}; gridsizes {gridsizes}"


def job_config(design: StudyDesign, job: TrainingJob, data_recipe_sha256: str) -> JobConfig | SolverJobConfig:
    """All that decides the weights of a job's network, or what a job's solver makes of its scan."""
    if job.solver is not None:
        return SolverJobConfig(
            job_id=job.job_id,
            dose_photons=job.dose_photons,
            view=job.view,
            patch_size_px=design.design.patch_size_px,
            data_recipe_sha256=data_recipe_sha256,
            solver=design.iterative.solvers[job.solver],
            seed=job.seed,
            device=design.training.device,
            threads=design.training.threads,
        )
    view = design.design.views[job.view]
    return JobConfig(
        job_id=job.job_id,
        dose_photons=job.dose_photons,
        view=job.view,
        gridsize=job.gridsize,
        groups=view.groups,
        patch_size_px=design.design.patch_size_px,
        neighbor_count=design.design.neighbor_count,
        grouping_seed=design.design.seeds.grouping,
        training_seed=job.seed,
        data_recipe_sha256=data_recipe_sha256,
        training=design.training,
    )
