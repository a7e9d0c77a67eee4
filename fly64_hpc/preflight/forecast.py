"""How long the jobs will take, from earlier runs of the same shape; or plainly no forecast."""

import math
from collections.abc import Iterator, Sequence

from fly64_hpc.preflight.earlier_runs import EarlierRun, Shape, earlier_runs, shape_of
from fly64_hpc.preflight.finding import Finding, Severity
from fly64_hpc.preflight.node_hardware import gpu_request
from fly64_hpc.preflight.partition_rules import clock
from fly64_hpc.preflight.request import PreflightRequest
from fly64_hpc.resources import Resources

SUBJECT = "forecast"
MARGIN = 1.5
"""The time to ask for is so many times the forecast."""
QUARTER_MIN = 15


def examine(request: PreflightRequest) -> Iterator[Finding]:
    """One finding for all jobs of which there is a forecast, one for the others."""
    design = request.loaded.design
    if request.paths.is_phase_f:
        yield Finding(SUBJECT, Severity.OK, "No forecast: iterative solvers are not forecast.")
        return
    variants = {(job.view, job.sweep): request.loaded.of(job).design for job in request.kinds}
    shapes = {kind: shape_of(variant, kind[0]) for kind, variant in variants.items()}
    runs = earlier_runs(request.paths, {shape for shape in shapes.values() if shape is not None})
    like = same_place(runs, design.resources.partition, gpu_request(design.resources)[1], request.executor == "slurm")
    longest = {kind: longest_s(like, shape, variants[kind].training.total_epochs) for kind, shape in shapes.items()}
    times = [longest[job.view, job.sweep] for job in request.jobs]
    known = [time for time in times if time is not None]
    if known:
        yield summary(known, like, design.resources, on_slurm=request.executor == "slurm")
    if len(known) < len(times):
        count = f"{len(times) - len(known)} of {len(times)} jobs" if known else f"{len(times)} jobs"
        yield Finding(SUBJECT, Severity.OK, f"No forecast of {count}: no earlier run of the same shape is in this output root.")


def same_place(runs: Sequence[EarlierRun], partition: str | None, gpus: int, on_slurm: bool) -> list[EarlierRun]:
    """Those that ran where these jobs will, where there are any; else all."""
    where = partition if on_slurm else None
    return [run for run in runs if run.partition == where and (run.gpus > 0) == (gpus > 0)] or list(runs)


def longest_s(runs: Sequence[EarlierRun], shape: Shape | None, epochs: int) -> float | None:
    """The slowest run of a shape, with another number of epochs; None where there was none."""
    return max((run.scaled_s(epochs) for run in runs if run.shape == shape), default=None)


def summary(times_s: Sequence[float], runs: Sequence[EarlierRun], resources: Resources, *, on_slurm: bool) -> Finding:
    """The longest job against the time limit, and the sum."""
    longest_min, gpus = max(times_s) / 60, gpu_request(resources)[1]
    hours = sum(times_s) / 3600
    cost = f"{hours * gpus:.2g} GPU-hours" if on_slurm and gpus else f"{hours:.2g} hours"
    where = ", ".join(sorted({f"partition {run.partition}" if run.partition else "a machine without Slurm" for run in runs}))
    sentence = (
        f"The longest job takes about {words(longest_min)}, all {len(times_s)} together {cost} (from {len(runs)} runs on {where})"
    )
    if on_slurm and longest_min > resources.time_limit_min:
        sentence += f": longer than the time limit {resources.time}."
        return Finding(SUBJECT, Severity.WARNING, sentence, f"Ask for --time {clock(time_to_ask_min(longest_min))}.")
    return Finding(SUBJECT, Severity.OK, f"{sentence}.")


def time_to_ask_min(forecast_min: float) -> int:
    """A time limit with room for a slow day, in whole quarters of an hour."""
    return math.ceil(MARGIN * forecast_min / QUARTER_MIN) * QUARTER_MIN


def words(minutes: float) -> str:
    """A duration as people say it."""
    if minutes < 1:
        return f"{60 * minutes:.0f} s"
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
