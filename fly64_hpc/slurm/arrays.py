"""Which arrays a submission becomes: one a resource shape, none larger than Slurm allows, all within one throttle. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from fly64_hpc.resources import Resources

DEFAULT_MAX_ARRAY_SIZE = 1001
"""Slurm's own, where its configuration cannot be asked."""


@dataclass(frozen=True)
class Array:
    """Some jobs of one resource shape that Slurm gets as one array; the index of a job is its array index."""

    jobs: tuple[str, ...]
    resources: Resources
    throttle: int
    """Tasks that may run at the same time."""
    waits_for: int | None = None
    """The number, in the plan, of an array that must have ended before."""


def plan_arrays(jobs: Sequence[tuple[str, Resources]], *, max_array_size: int, parallelism: int) -> list[Array]:
    """Cut jobs into arrays which together never run more than `parallelism` tasks.

    The throttle of an array holds for that array alone, so the arrays share it: each gets a part, and where there are more
    arrays than parts, later ones wait for earlier ones.
    """
    chunks = list(_chunks(jobs, max_array_size))
    if len(jobs) <= parallelism:
        return [Array(names, resources, len(names)) for names, resources in chunks]
    lanes = min(len(chunks), parallelism)
    shares = [parallelism // lanes + (lane < parallelism % lanes) for lane in range(lanes)]
    return [
        Array(names, resources, min(len(names), shares[number % lanes]), number - lanes if number >= lanes else None)
        for number, (names, resources) in enumerate(chunks)
    ]


def halves(array: Array) -> tuple[Array, Array]:
    """An array that Slurm has no room for, as two; the second must wait for the first, so that their throttle holds."""
    middle = len(array.jobs) // 2
    return replace(array, jobs=array.jobs[:middle]), replace(array, jobs=array.jobs[middle:])


def _chunks(jobs: Sequence[tuple[str, Resources]], size: int) -> Iterator[tuple[tuple[str, ...], Resources]]:
    shapes: dict[str, list[str]] = {}
    resources_of = {}
    for job_id, resources in jobs:
        shape = resources.model_dump_json()
        shapes.setdefault(shape, []).append(job_id)
        resources_of[shape] = resources
    for shape, names in shapes.items():
        for start in range(0, len(names), size):
            yield tuple(names[start : start + size]), resources_of[shape]
