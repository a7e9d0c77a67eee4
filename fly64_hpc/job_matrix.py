"""The job matrix: a product of axes, from which ids, folders and manifest keys come. Pure: no files, no torch."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

from fly64_hpc.axes import Cell, cells, dose_label, exclusions, study_axes, sweep_axes
from fly64_hpc.study import IterativeStudy, StudyDesign
from fly64_hpc.sweep import Decision, Labels, decides_data, decides_dataset, folders
from fly64_hpc.variants import Variants
from ptycho_torch.config import JobConfig, SolverJobConfig


class Condition(NamedTuple):
    """A dose, a view and a place on the axes of the sweep: what jobs share that differ in their seeds."""

    dose_photons: float
    view: str
    sweep: Labels = ()

    @property
    def words(self) -> str:
        """The view and the values of the sweep, as headings have them."""
        return ", ".join((self.view, *(f"{axis} {label}" for axis, label in self.sweep)))


class TrainingJob(NamedTuple):
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
        self._kinds: dict[tuple[int, ...], _Kind] = {}
        self._scans: dict[Any, Condition] = {}
        self.unused_exclusions = set(range(len(self._excluded)))
        """Those that leave no cell out, once `jobs` were made."""

    @cached_property
    def jobs(self) -> tuple[TrainingJob, ...]:
        """Every job, the first axis slowest."""
        doses, *between, _ = self._axes
        places = list(cells(between))
        return tuple(job for dose in range(len(doses.values)) for place in places for job in self._jobs(dose, place))

    def _jobs(self, dose: int, place: Cell) -> Iterator[TrainingJob]:
        """Those of one dose and one place between doses and seeds: they differ in the seed alone."""
        doses, seeds = self._axes[0], self._axes[-1]
        left = self._not_excluded(dose, place, range(len(seeds.values)))
        if not left:
            return
        kind = self._kind(place)
        data = Condition(doses.values[dose], kind.view, kind.data_sweep)
        scan = self._scans.setdefault((dose, kind.patterns), data)
        same_scan = None if scan == data else scan
        for seed in self._not_excluded(dose, place, left, gridsize=kind.gridsize):
            labels = [label for label in (doses.labels[dose], *kind.labels, seeds.labels[seed]) if label]
            yield TrainingJob(
                job_id="-".join(labels),
                folder="/".join(labels),
                dose_photons=data.dose_photons,
                view=kind.view,
                gridsize=kind.gridsize,
                seed=seeds.values[seed],
                sweep=kind.sweep,
                dataset=kind.dataset,
                data_sweep=kind.data_sweep,
                same_scan=same_scan,
            )

    def _not_excluded(self, dose: int, place: Cell, places_of_seeds: Sequence[int], **known: int) -> Sequence[int]:
        """The seeds that no entry leaves out, as far as what is known of their cells tells."""
        if not self._excluded:
            return places_of_seeds
        doses, seeds = self._axes[0], self._axes[-1]
        cells_of = ((seed, {doses.name: dose, **place, seeds.name: seed}) for seed in places_of_seeds)
        return [seed for seed, cell in cells_of if not self._is_excluded(self._values(cell) | known)]

    def _values(self, cell: Cell) -> dict[str, Any]:
        return {axis.name: axis.values[cell[axis.name]] for axis in self._axes if axis.name in cell}

    def _is_excluded(self, values: dict[str, Any]) -> bool:
        """Whether an entry leaves the cell out; each that does is noted."""
        hits = [
            number
            for number, entry in enumerate(self._excluded)
            if ("gridsize" in entry) == ("gridsize" in values)
            and all(name in values and values[name] in allowed for name, allowed in entry.items())
        ]
        self.unused_exclusions.difference_update(hits)
        return bool(hits)

    def _kind(self, place: Cell) -> "_Kind":
        key = tuple(place.values())  # of the view, and of those axes of the sweep that count in it
        if key not in self._kinds:
            self._kinds[key] = self._new_kind(place)
        return self._kinds[key]

    def _new_kind(self, cell: Cell) -> "_Kind":
        views = self._axes[1]
        view, inside = views.values[cell[views.name]], [axis for axis in self._axes[2:-1] if axis.name in cell]
        sweep = tuple((axis.name, axis.labels[cell[axis.name]]) for axis in self._sweep if axis.name in cell)
        design = self._variants.of(sweep).design.design
        share, dataset = design.views[view].image_fraction, self._dataset.labels(cell)
        gridsize = design.views[view].gridsize
        return _Kind(
            view=view,
            gridsize=gridsize,
            labels=(view, f"gs{gridsize}", *(axis.labels[cell[axis.name]] for axis in inside)),
            sweep=sweep,
            dataset=dataset,
            data_sweep=self._data[view].labels(cell),
            patterns=(dataset, share, None if share == 1 else design.seeds.subsampling),
        )


@dataclass(frozen=True)
class _Kind:
    """What the jobs of a view at one place of the sweep have in common, whatever their dose and seed."""

    view: str
    gridsize: int
    labels: tuple[str, ...]
    """What ids and folders call it, between the dose and the seed."""
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
            yield first._replace(
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
