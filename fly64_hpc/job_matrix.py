"""The job matrix: a product of axes, from which ids, folders and manifest keys come. Pure: no files, no torch."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from fly64_hpc.axes import Cell, cells, dose_label, exclusions, study_axes, sweep_axes
from fly64_hpc.study import IterativeStudy, StudyDesign
from fly64_hpc.sweep import Decision, Labels, decides_data, decides_dataset, folders
from fly64_hpc.variants import Variants
from ptycho_torch.config import JobConfig, SolverJobConfig


@dataclass(frozen=True)
class Condition:
    """A dose, a view and a place on the axes of the sweep: what jobs share that differ in their seeds."""

    dose_photons: float
    view: str
    sweep: Labels = ()

    @property
    def words(self) -> str:
        """The view and the values of the sweep, as headings have them."""
        return ", ".join((self.view, *(f"{axis} {label}" for axis, label in self.sweep)))


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
    sweep: Labels = ()
    """What its place on each axis of the sweep is called."""
    dataset: Labels = ()
    """Of these, what Phase C depends on: jobs of the same dose that agree in it share its files."""
    data_sweep: Labels = ()
    """Of these, what the job's data depend on, by Phase C or D."""
    same_scan: Condition | None = None
    """Other data that have the same patterns, of which a solver in Phase F reads one; None: its own are those."""

    @property
    def scan(self) -> Condition:
        """The data that a solver in Phase F reads where the job reads its own: the same patterns, whatever their groups."""
        return self.same_scan or self.data

    @property
    def tag(self) -> str:
        """The job as it is named in front of a line of output."""
        place = "".join(f"/{name}" for name in (*folders(self.sweep), self.solver) if name)
        return f"[{self.view}/dose={self.dose_photons:.0e}{place}]"

    @property
    def condition(self) -> Condition:
        """What it shares with the jobs that differ in the seed alone."""
        return Condition(self.dose_photons, self.view, self.sweep)

    @property
    def data(self) -> Condition:
        """What decides the files that it reads."""
        return Condition(self.dose_photons, self.view, self.data_sweep)


def first_of_each(jobs: Iterable[TrainingJob], kind: Callable[[TrainingJob], Hashable]) -> list[TrainingJob]:
    """The first job of each kind, in their order."""
    found: dict[Hashable, TrainingJob] = {}
    for job in jobs:
        found.setdefault(kind(job), job)
    return list(found.values())


def job_matrix(design: StudyDesign, plain_seed: int | None = None, variants: Variants | None = None) -> tuple[TrainingJob, ...]:
    """Every job of a study, or of its Phase F; see `study_axes`.

    Raises
    ------
    VariantError
        A cell of the sweep is no study.
    """
    variants = variants or Variants(design)
    networks = Matrix(design, plain_seed, variants).jobs
    return tuple(_solver_jobs(design, networks, variants)) if isinstance(design, IterativeStudy) else networks


class Matrix:
    """The cells of a study as the jobs of its networks."""

    def __init__(self, design: StudyDesign, plain_seed: int | None, variants: Variants) -> None:
        self._design, self._variants = design, variants
        self._axes = study_axes(design, plain_seed)
        self._sweep = sweep_axes(design)
        self._dataset = Decision(self._sweep, decides_dataset)
        self._data = {view: Decision(self._sweep, partial(decides_data, view=view)) for view in design.design.views}
        self._excluded = exclusions(design)
        self._kinds: dict[tuple[str, Labels], _Kind] = {}
        self._scans: dict[Any, Condition] = {}
        self.unused_exclusions = set(range(len(self._excluded)))
        """Those that leave no cell out, once `jobs` were made."""

    @cached_property
    def jobs(self) -> tuple[TrainingJob, ...]:
        """Every job, the first axis slowest."""
        return tuple(job for cell in cells(self._axes) if (job := self._job(cell)) is not None)

    def _job(self, cell: Cell) -> TrainingJob | None:
        values = {axis.name: axis.values[cell[axis.name]] for axis in self._axes if axis.name in cell}
        if self._is_excluded(values):
            return None
        kind = self._kind(values["view"], cell)
        if self._is_excluded(values | {"gridsize": kind.gridsize}):
            return None
        labels = [axis.labels[cell[axis.name]] for axis in self._axes if axis.name in cell]
        labels = [label for label in (*labels[:2], f"gs{kind.gridsize}", *labels[2:]) if label]
        data = Condition(values["dose"], values["view"], kind.data_sweep)
        scan = self._scans.setdefault((values["dose"], kind.patterns), data)
        return TrainingJob(
            job_id="-".join(labels),
            folder="/".join(labels),
            dose_photons=values["dose"],
            view=values["view"],
            gridsize=kind.gridsize,
            seed=values["seed"],
            sweep=kind.sweep,
            dataset=kind.dataset,
            data_sweep=kind.data_sweep,
            same_scan=None if scan is data or scan == data else scan,
        )

    def _is_excluded(self, values: dict[str, Any]) -> bool:
        """Whether an entry leaves the cell out; each that does is noted."""
        if not self._excluded:
            return False
        hits = [
            number
            for number, entry in enumerate(self._excluded)
            if ("gridsize" in entry) == ("gridsize" in values)
            and all(name in values and values[name] in allowed for name, allowed in entry.items())
        ]
        self.unused_exclusions.difference_update(hits)
        return bool(hits)

    def _kind(self, view: str, cell: Cell) -> "_Kind":
        sweep = tuple((axis.name, axis.labels[cell[axis.name]]) for axis in self._sweep if axis.name in cell)
        if (view, sweep) not in self._kinds:
            self._kinds[view, sweep] = self._new_kind(view, sweep, cell)
        return self._kinds[view, sweep]

    def _new_kind(self, view: str, sweep: Labels, cell: Cell) -> "_Kind":
        design = self._variants.of(sweep).design.design
        share, dataset = design.views[view].image_fraction, self._dataset.labels(cell)
        return _Kind(
            gridsize=design.views[view].gridsize,
            sweep=sweep,
            dataset=dataset,
            data_sweep=self._data[view].labels(cell),
            patterns=(dataset, share, None if share == 1 else design.seeds.subsampling),
        )


@dataclass(frozen=True)
class _Kind:
    """What the jobs of a view at one place of the sweep have in common, whatever their dose and seed."""

    gridsize: int
    sweep: Labels
    dataset: Labels
    data_sweep: Labels
    patterns: tuple[Any, ...]
    """What a solver, which forms no groups, sees of them: views with the same share of the patterns are one scan."""


def _solver_jobs(design: IterativeStudy, networks: Sequence[TrainingJob], variants: Variants) -> Iterator[TrainingJob]:
    """A job for each solver and each distinct scan of the networks, on the data of the first network that has the scan."""
    for first in first_of_each(networks, lambda job: job.scan):
        for solver in design.iterative.solvers:
            labels = (dose_label(first.dose_photons), first.view, *folders(first.data_sweep), solver)
            yield replace(
                first,
                job_id="-".join(labels),
                folder="/".join(labels),
                seed=variants.of(first.data_sweep).design.design.seeds.simulation,
                solver=solver,
                sweep=first.data_sweep,
            )


def job_config(design: StudyDesign, job: TrainingJob, data_recipe_sha256: str) -> JobConfig | SolverJobConfig:
    """All that decides the weights of a job's network, or what a job's solver makes of its scan.

    Parameters
    ----------
    design
        The variant of the study that is in force in the job.
    """
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
