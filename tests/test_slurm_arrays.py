"""Which arrays a submission becomes: every job once, one shape an array, and never more at once than was allowed."""

from dataclasses import dataclass, field, replace
from itertools import groupby
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from fly64_hpc.resources import Resources
from fly64_hpc.slurm.arrays import Array, halves, plan_arrays

SHAPES = [Resources(mem=f"{size}G", exclude=("n1",) * (size % 2)) for size in range(1, 5)]
REQUESTS = st.lists(st.sampled_from(SHAPES), max_size=60).map(
    lambda shapes: [(f"job-{number}", shape) for number, shape in enumerate(shapes)]
)
SIZES = st.integers(1, 25)
PARALLELISM = st.integers(1, 40)
Requests = list[tuple[str, Resources]]


@dataclass
class Cluster:
    """Runs arrays as Slurm does: each after the one it waits for, each with as many tasks at once as its throttle allows."""

    arrays: list[Array]
    waiting: list[int] = field(init=False)
    running: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.waiting = [len(array.jobs) for array in self.arrays]
        self.running = [0] * len(self.arrays)

    def start(self) -> None:
        """Start every task that may."""
        for number, array in enumerate(self.arrays):
            if array.waits_for is None or not self.waiting[array.waits_for] + self.running[array.waits_for]:
                more = min(self.waiting[number], array.throttle - self.running[number])
                self.waiting[number] -= more
                self.running[number] += more

    def most_at_once(self, chance: Random) -> int:
        """Run everything to its end, tasks ending in any order; the most that ran at the same time."""
        most = 0
        while any(self.waiting):
            self.start()
            assert any(self.running), "nothing runs and something waits: it would wait for ever"
            most = max(most, sum(self.running))
            self.running[chance.choice([number for number, count in enumerate(self.running) if count])] -= 1
        return most


def split(arrays: list[Array], number: int) -> list[Array]:
    """The plan after Slurm had no room for one array: its halves stand where it stood."""
    first, second = halves(arrays[number])
    after = [replace(array, waits_for=len(arrays) if array.waits_for == number else array.waits_for) for array in arrays]
    after[number] = first
    return [*after, replace(second, waits_for=number)]


@given(REQUESTS, SIZES, PARALLELISM)
def test_every_job_is_in_one_array_with_what_it_asks_for(jobs: Requests, size: int, parallelism: int) -> None:
    arrays = plan_arrays(jobs, max_array_size=size, parallelism=parallelism)
    assert sorted((job, array.resources.mem) for array in arrays for job in array.jobs) == sorted(
        (job, resources.mem) for job, resources in jobs
    )


@given(REQUESTS, SIZES, PARALLELISM)
def test_order_is_kept_within_a_shape(jobs: Requests, size: int, parallelism: int) -> None:
    arrays = plan_arrays(jobs, max_array_size=size, parallelism=parallelism)
    for shape in SHAPES:
        planned = [job for array in arrays if array.resources == shape for job in array.jobs]
        assert planned == [job for job, resources in jobs if resources == shape]


@given(REQUESTS, SIZES, PARALLELISM)
def test_no_array_is_empty_or_larger_than_slurm_allows_and_none_is_cut_without_need(
    jobs: Requests, size: int, parallelism: int
) -> None:
    arrays = plan_arrays(jobs, max_array_size=size, parallelism=parallelism)
    assert all(0 < len(array.jobs) <= size for array in arrays)
    for _, own in groupby(arrays, key=lambda array: array.resources):
        assert all(len(array.jobs) == size for array in list(own)[:-1])


@given(REQUESTS, SIZES, PARALLELISM, st.integers())
def test_all_together_never_run_more_than_was_allowed(jobs: Requests, size: int, parallelism: int, seed: int) -> None:
    arrays = plan_arrays(jobs, max_array_size=size, parallelism=parallelism)
    assert Cluster(arrays).most_at_once(Random(seed)) <= parallelism


@given(REQUESTS, SIZES, PARALLELISM, st.lists(st.integers(0, 99), max_size=6), st.integers())
def test_nor_after_arrays_were_split(jobs: Requests, size: int, parallelism: int, splits: list[int], seed: int) -> None:
    arrays = plan_arrays(jobs, max_array_size=size, parallelism=parallelism)
    for number in splits:
        if arrays and len(arrays[number % len(arrays)].jobs) > 1:
            arrays = split(arrays, number % len(arrays))
    assert Cluster(arrays).most_at_once(Random(seed)) <= parallelism


@given(REQUESTS, SIZES, st.integers(60, 300))
def test_where_all_may_run_nothing_waits(jobs: Requests, size: int, parallelism: int) -> None:
    arrays = plan_arrays(jobs, max_array_size=size, parallelism=parallelism)
    assert all(array.waits_for is None and array.throttle == len(array.jobs) for array in arrays)


@given(REQUESTS, SIZES, PARALLELISM)
def test_an_array_waits_for_an_earlier_one_only_and_may_run_something(jobs: Requests, size: int, parallelism: int) -> None:
    for number, array in enumerate(plan_arrays(jobs, max_array_size=size, parallelism=parallelism)):
        assert array.waits_for is None or 0 <= array.waits_for < number
        assert 1 <= array.throttle <= len(array.jobs)


@given(st.integers(1, 30).filter(lambda count: count > 1), st.integers(1, 30))
def test_halves_keep_all_jobs_in_order_and_the_throttle(count: int, throttle: int) -> None:
    whole = Array(tuple(f"job-{number}" for number in range(count)), SHAPES[0], throttle)
    first, second = halves(whole)
    assert first.jobs + second.jobs == whole.jobs
    assert abs(len(first.jobs) - len(second.jobs)) <= 1
    assert first.throttle == second.throttle == throttle
