"""Phase G: what networks, refined networks and solvers make of the same scans, cell by cell, each figure with its origin.

A cell is a condition (a dose, a view, a place of the sweep), a method and a half. Several training seeds give a network's cell
several measurements; a solver has one. A cell that lacks a measurement says why.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fly64_hpc.collector import JobView, StudyView
from fly64_hpc.evaluation_record import EvaluationRecord, read_evaluation
from fly64_hpc.history import training_seconds
from fly64_hpc.job_matrix import Condition, TrainingJob
from fly64_hpc.job_record import AttemptRecord, JobSpec
from fly64_hpc.job_state import JobState

HALVES = ("test", "train")
NETWORK_METHODS = ("network", "refined")
FLAT = "flat"
"""No method: what an object of ones scores, below which nothing is worth anything."""


_Solved = Mapping[tuple[Condition, str | None], JobView]
"""The solvers' jobs by the data that they read."""


@dataclass(frozen=True)
class Measurement:
    """What one run of a method got on one half."""

    seed: int
    figures: dict[str, Any]
    """`scores`, `held_out_deviance`, `steps`, `seconds`, as evaluations have them."""
    scored_against: str
    image: Path | None
    """The reconstruction."""
    training_s: float | None
    device: str
    config_sha256: str
    train_data_sha256: str
    test_data_sha256: str
    bundle_sha256: str


@dataclass(frozen=True)
class Cell:
    """One cell of the comparison."""

    condition: Condition
    gridsize: int
    method: str
    half: str
    measurements: tuple[Measurement, ...]
    missing: tuple[str, ...]
    """Why each measurement that should be there is not."""

    @property
    def state(self) -> str:
        """`complete`, `partial` or `missing`."""
        return "complete" if not self.missing else "partial" if self.measurements else "missing"


def comparison(networks: StudyView, solvers: StudyView | None) -> list[Cell]:
    """Every cell of a study: by dose, view, method and half, the unseen half first.

    Parameters
    ----------
    networks
        The study.
    solvers
        Its Phase F, where there is one.
    """
    conditions: dict[Condition, list[JobView]] = {}
    for job in networks.jobs:
        conditions.setdefault(job.job.condition, []).append(job)
    solved = {(job.job.data, job.job.solver): job for job in solvers.jobs} if solvers is not None else {}
    names = methods(networks, solvers)
    return [cell for jobs in conditions.values() for cell in _condition(networks, jobs, names, solved)]


def methods(networks: StudyView, solvers: StudyView | None) -> tuple[str, ...]:
    """The methods of a study's comparison, in order: the solvers are those of its Phase F, or that its Phase F would have."""
    return (*NETWORK_METHODS, *(solvers or networks).study.design.iterative.solvers, FLAT)


def _condition(networks: StudyView, jobs: Sequence[JobView], names: Sequence[str], solved: _Solved) -> Iterator[Cell]:
    """Every cell of one condition, whose jobs differ in their seeds."""
    trained = [_network(networks, job) for job in jobs]
    by_evaluated_first = sorted(trained, key=lambda one: isinstance(one, str))
    for method in names:
        for half in HALVES:
            if method in NETWORK_METHODS:
                runs = [_of_network(one, method, half) for one in trained]
            elif method == FLAT:  # the same for all seeds
                runs = [_of_network(by_evaluated_first[0], method, half)]
            else:
                runs = [_of_solver(jobs[0], solved, method, half)]
            yield _cell(jobs[0].job, method, half, runs)


def _cell(job: TrainingJob, method: str, half: str, runs: Sequence[Measurement | str]) -> Cell:
    return Cell(
        condition=job.condition,
        gridsize=job.gridsize,
        method=method,
        half=half,
        measurements=tuple(run for run in runs if isinstance(run, Measurement)),
        missing=tuple(run for run in runs if isinstance(run, str)),
    )


@dataclass(frozen=True)
class _Trained:
    """A network that was evaluated."""

    job: JobView
    spec: JobSpec
    evaluation: EvaluationRecord
    folder: Path


def _network(networks: StudyView, job: JobView) -> _Trained | str:
    """A job's network with its evaluation, or why there is none."""
    job_id = job.job.job_id
    if job.outcome.state is not JobState.SUCCEEDED or job.spec is None or job.record is None:
        return f"{job_id} is {job.outcome.state.value}: {job.outcome.reason}"
    folder = networks.paths.evaluation(job.job)
    evaluation = read_evaluation(folder)
    if evaluation is None or not evaluation.is_of(job.spec, job.record):
        return f"{job_id} is not evaluated; run evaluate"
    return _Trained(job, job.spec, evaluation, folder)


def _of_network(trained: _Trained | str, method: str, half: str) -> Measurement | str:
    if isinstance(trained, str):
        return trained
    facts = trained.evaluation.halves[half]
    figures = facts[FLAT] if method == FLAT else facts["methods"][method]
    return Measurement(
        seed=trained.job.job.seed,
        figures=figures,
        scored_against=facts["scored_against"],
        image=None if method == FLAT else trained.folder / figures["file"],
        training_s=None if method == FLAT else training_seconds(trained.job.paths),
        device=trained.evaluation.device,
        config_sha256=trained.spec.config_sha256,
        train_data_sha256=trained.spec.train_data.sha256,
        test_data_sha256=trained.spec.test_data.sha256,
        bundle_sha256="" if method == FLAT else trained.evaluation.bundle_sha256,
    )


def _of_solver(like: JobView, solved: _Solved, solver: str, half: str) -> Measurement | str:
    """What a solver made of the patterns of a network's job, or why it did not."""
    scan = like.job.scan
    job = solved.get((scan, solver))
    if job is None:
        return f"{solver} was not run on {scan.words} at {scan.dose_photons:g} photons; run submit --phase-f"
    if job.outcome.state is not JobState.SUCCEEDED or job.spec is None or job.record is None or job.record.result is None:
        return f"{job.job.job_id} is {job.outcome.state.value}: {job.outcome.reason}"
    if not _same_patterns(job.spec, like.spec):
        return f"{job.job.job_id} read other data than {like.job.job_id}"
    return _solved(job, job.spec, job.record, half)


def _same_patterns(solver: JobSpec, network: JobSpec | None) -> bool:
    """Data made here are the same by design; files from outside must be the very same."""
    if network is None or not (network.train_data.external or solver.train_data.external):
        return True
    return (solver.train_data.sha256, solver.test_data.sha256) == (network.train_data.sha256, network.test_data.sha256)


def _solved(job: JobView, spec: JobSpec, success: AttemptRecord, half: str) -> Measurement:
    result = success.result or {}
    facts = result["metrics"]["halves"][half]
    figures = facts["methods"]["solver"]
    return Measurement(
        seed=job.job.seed,
        figures=figures,
        scored_against=facts["scored_against"],
        image=job.paths.root / figures["file"],
        training_s=None,
        device=result["device"],
        config_sha256=spec.config_sha256,
        train_data_sha256=spec.train_data.sha256,
        test_data_sha256=spec.test_data.sha256,
        bundle_sha256=figures["sha256"],
    )
