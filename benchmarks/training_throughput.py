"""Training: the program's own trainer beside the bare loop, in one process and in turn.

The trainer is called as a job calls it. Whenever it reports a step, the clock of its steps is stopped and the bare loop makes the
same steps: same photons, same groups, same weights at first. The trainer's time is all of its own, from one report to the next.
"""

import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch
from alternation import Pairs
from bare_loop import BareBatch, BareLoop, bare_batch, bare_network, filled_from, poisson_loss, rehearsal
from graph_loop import GraphLoop
from machine import gemm_gflops, has_bfloat16, place, wait_for
from measures import Measure, of_runs
from scenes import job, scan_of
from torch.utils.flop_counter import FlopCounterMode

from ptycho_torch.config import JobConfig
from ptycho_torch.dataset import ScanTensors, counter_seed
from ptycho_torch.devices import keep_freed_memory, make_repeatable
from ptycho_torch.held_out import part_photons
from ptycho_torch.learning import learning_rate
from ptycho_torch.lessons import STEP_PURPOSE, lessons
from ptycho_torch.model import seeded_model
from ptycho_torch.symmetries import N_TURNS
from ptycho_torch.trainer import Interrupted, Surroundings, train

RUNS = 5
"""At least; where a step is quick, up to `MANY_RUNS`: short ones in turn see the same of a machine that drifts."""
REFERENCE_RUNS = 9
MANY_RUNS = 25
WARM_UP_STEPS = 1
LEAST_RUN_S = 0.25
QUICK_STEP_S = 0.5
MOST_STEPS_A_RUN = 2
REQUIRED_SHARE = 0.95
GRAPH_LIMIT = "bare loop with torch.compile and CUDA graphs, data on the device"
REQUIRED_GEMM_SHARE = 0.6

REFERENCE_SHARE = 0.90
"""What the reference implementation's trainer does of a bare loop in float32, eager, channels first: on one machine 20.9 to 22.1
samples/s beside 22.6 to 25.4. It is not run here."""
REFERENCE_WORDS = f"{REFERENCE_SHARE:.2f} of a plain float32 loop, channels first: the reference, measured elsewhere"
PLAIN_LOOP = Path(__file__).with_name("plain_loop.py")
REQUIRED_OF_REFERENCE = {"float32": 1.2, "bfloat16": 2.0}


@dataclass(frozen=True)
class Cell:
    """One cell of the matrix."""

    architecture: str
    gridsize: int
    batch_size: int
    precision: str
    device: str = "cpu"

    @property
    def name(self) -> str:
        """As the table has it."""
        return f"{self.architecture}, gridsize {self.gridsize}, batch {self.batch_size}, {self.precision}{place(self.device)}"

    @property
    def limit(self) -> str:
        """What the trainer is beside."""
        return GRAPH_LIMIT if self.device == "cuda" else "bare loop over preloaded tensors"


QUICK = (Cell("backprojection_unet", 2, 16, "float32"), Cell("ptychopinn", 1, 16, "float32"))
"""Two cells: the default network as it is used most, and the one that is heavy."""
FULL = tuple(
    Cell(architecture, gridsize, batch_size, precision)
    for architecture in ("backprojection_unet", "ptychopinn")
    for precision in ("float32", "bfloat16")
    for gridsize in (1, 2)
    for batch_size in (16, 64)
)


def bare_batches(scan: ScanTensors, of: JobConfig, count: int) -> list[BareBatch]:
    """The first batches of a job's first epoch, with the photons that the trainer parts for them."""
    lesson = lessons(seeded_model(of), scan, of)[0]
    batches = lesson.batches(0)
    return [_bare_batch(scan, of, rows, step, of.training.epochs * len(batches)) for step, rows in enumerate(batches[:count])]


def _bare_batch(scan: ScanTensors, of: JobConfig, rows: torch.Tensor, step: int, steps: int) -> BareBatch:
    seed = counter_seed(of.training_seed, STEP_PURPOSE, 0, step)
    share = of.training.photon_split
    assert share is not None
    parts = part_photons(scan.counts[rows], share, seed)
    rate = learning_rate(step, steps, of.training.learning_rate, of.training)
    return bare_batch((parts.fed, parts.held), scan.probes_of(rows), scan.centers[rows], share, seed % N_TURNS, rate)


def bare_loop(of: JobConfig, device: torch.device, *, half: bool, channels_last: bool = True) -> BareLoop:
    """The bare loop with a job's first weights: compiled and as a CUDA graph on a GPU."""
    network = bare_network(of.training.architecture, of.group_size, half=half, channels_last=channels_last)
    filled_from(network, list(seeded_model(of).network.parameters())).to(device)
    kind = GraphLoop if device.type == "cuda" else BareLoop
    return kind(
        of.training.architecture, network, weight_decay=of.training.weight_decay, clip_norm=of.training.gradient_clip_norm
    )


@dataclass
class Duel:
    """What the trainer reports to: makes the bare loop's steps between the trainer's."""

    bare: BareLoop
    batches: list[BareBatch]
    device: torch.device
    gemm_dtype: torch.dtype
    pairs: Pairs = field(default_factory=Pairs)
    cpu_pairs: Pairs = field(default_factory=Pairs)
    """Of the process: what others do on the machine is hardly in it."""
    bare_losses: list[float] = field(default_factory=list)
    peaks: list[float] = field(default_factory=list)
    runs: int = RUNS
    steps_a_run: int = 0
    done: int = 0
    _resumed: float = 0.0
    _cpu_resumed: float = 0.0
    _turn_began: int = 0

    def report(self, event: dict[str, Any]) -> None:
        """Take in what the trainer says; at the end of its turn, take ours."""
        if event["event"] != "step":
            return
        wait_for(self.device)
        taken, used = time.perf_counter() - self._resumed, time.process_time() - self._cpu_resumed
        self.done = event["step"]
        if self.done <= WARM_UP_STEPS:
            self._warm_up()
        elif self.done - self._turn_began == self.steps_a_run:
            self.pairs.ours_s.append(taken)
            self.cpu_pairs.ours_s.append(used)
            bare_follows = len(self.peaks) % 2 == 1
            if bare_follows:
                self._see_peak()
            began = time.process_time()
            self.pairs.reference_s.append(self._bare_steps(self._turn_began, self.done))
            self.cpu_pairs.reference_s.append(time.process_time() - began)
            if not bare_follows:
                self._see_peak()
            self._turn_began = self.done
        else:
            return
        self._resumed, self._cpu_resumed = time.perf_counter(), time.process_time()

    def _see_peak(self) -> None:
        """Multiply matrices, before the one and the other in turn: whoever comes after finds its numbers in no cache."""
        self.peaks.append(gemm_gflops(self.gemm_dtype, self.device))

    def is_over(self) -> bool:
        """Whether there are runs enough."""
        return len(self.pairs.ours_s) >= self.runs

    def _warm_up(self) -> None:
        self._bare_steps(self.done - 1, self.done)
        if self.done == WARM_UP_STEPS:
            with rehearsal(self.bare.optimizer):
                once = self._bare_steps(self.done - 1, self.done, keep=False)
            left = len(self.batches) - WARM_UP_STEPS
            self.runs = max(RUNS, min(MANY_RUNS, left)) if once < QUICK_STEP_S else RUNS
            self.steps_a_run = max(1, min(MOST_STEPS_A_RUN, left // self.runs, math.ceil(LEAST_RUN_S / once)))
            gemm_gflops(self.gemm_dtype, self.device)
            self._turn_began = self.done

    def _bare_steps(self, first: int, end: int, *, keep: bool = True) -> float:
        with _any_order():
            wait_for(self.device)
            started = time.perf_counter()
            losses = [self.bare.step(batch) for batch in self.batches[first:end]]
            wait_for(self.device)
            taken = time.perf_counter() - started
        self.bare_losses += losses if keep else []
        return taken


@contextmanager
def _any_order() -> Iterator[None]:
    """The bare loop need not be repeatable."""
    before = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("default")
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)


def duel(cell: Cell, scan: ScanTensors, of: JobConfig, folder: Path) -> Duel:
    """Train by the program and by the bare loop, in turn."""
    half = cell.precision == "bfloat16"
    device = scan.counts.device
    make_repeatable(deterministic=of.training.deterministic, threads=of.training.threads)
    batches = bare_batches(scan, of, WARM_UP_STEPS + MANY_RUNS * MOST_STEPS_A_RUN)
    bare = bare_loop(of, device, half=half)
    one = Duel(bare, batches, device, torch.bfloat16 if half else torch.float32)
    with _any_order():
        bare.prepare(batches)
    try:
        train(of, scan, Surroundings(folder, folder / "checkpoints", 1, one.report, one.is_over))
    except Interrupted:
        return one
    raise RuntimeError("the scan has too few patterns for the runs")


def measured(cell: Cell, train_file: Path, folder: Path, threads: int) -> list[Measure]:
    """The lines of a cell, in a process that keeps freed memory, as a job's does: or whoever comes first after the system took it
    is handed it page for page, and the other takes it over."""
    keep_freed_memory()
    scan = scan_of(train_file, cell.device)
    device = scan.counts.device
    if cell.precision == "bfloat16" and not has_bfloat16(device):
        why = f"this {device.type} has no bfloat16 unit: it would be emulated, many times slower than float32"
        return [_against_bare(cell, value=None, note=why)]
    of = job(
        cell.architecture,
        cell.gridsize,
        threads=threads,
        batch_size=cell.batch_size,
        precision=cell.precision,
        device=device.type,
    )
    one = duel(cell, scan, of, folder)
    patterns = cell.batch_size * one.steps_a_run
    peak = median(one.peaks)
    bare_per_s = [patterns / taken for taken in one.pairs.reference_s]
    details = {
        "patterns_per_s": round(median(patterns / taken for taken in one.pairs.ours_s), 2),
        "bare_patterns_per_s": round(median(bare_per_s), 2),
        "cpu_seconds_ratio": round(one.cpu_pairs.speed_ratio, 3),
        "steps_a_run": one.steps_a_run,
        "gemm_gflops": round(peak, 1),
    }
    gflop = _gflop_a_pattern(one, cell.batch_size)
    shares = [rate * gflop / peak for rate, peak in zip(bare_per_s, one.peaks, strict=True)]
    details |= {"gflop_a_pattern": round(gflop, 3), "bare_share_of_gemm": round(median(shares), 3)}
    lines = [_against_bare(cell, runs=one.pairs.speed_ratios, details=details)]
    if cell.architecture == "ptychopinn":
        lines.append(_of_gemm(cell, shares))
        if (cell.gridsize, cell.batch_size) == (1, 16) and device.type == "cpu":
            lines.append(_against_reference(cell, one, train_file, threads))
    return lines


def _against_bare(cell: Cell, *, value: float | None = None, runs: list[float] | None = None, **others: Any) -> Measure:
    common = {
        "section": "training",
        "name": cell.name,
        "unit": "x",
        "required": REQUIRED_SHARE,
        "better": "more",
        "reference": cell.limit,
        **others,
    }
    return Measure(value=value, **common) if runs is None else of_runs(runs=runs, **common)


def _of_gemm(cell: Cell, shares: list[float]) -> Measure:
    required = REQUIRED_GEMM_SHARE if cell.precision == "float32" else None
    return of_runs(
        "training",
        f"bare loop itself: {cell.name}",
        shares,
        unit="x",
        required=required,
        better="more",
        reference=f"{cell.precision} matrix multiplication in the same run",
    )


def _against_reference(cell: Cell, one: Duel, train_file: Path, threads: int) -> Measure:
    """The trainer beside what the reference would do here: its share of a plain float32 loop, which is run now."""
    pairs = Pairs()
    with _plain_loop(train_file, threads) as plain_step_s:
        plain_step_s()
        for _ in range(REFERENCE_RUNS):
            pairs.ours_s.append(one._bare_steps(0, 1, keep=False) / one.pairs.speed_ratio)
            pairs.reference_s.append(plain_step_s())
    return of_runs(
        "training",
        f"beside the reference implementation: {cell.name}",
        [ratio / REFERENCE_SHARE for ratio in pairs.speed_ratios],
        unit="x",
        required=REQUIRED_OF_REFERENCE[cell.precision],
        better="more",
        reference=REFERENCE_WORDS,
    )


@contextmanager
def _plain_loop(train_file: Path, threads: int) -> Iterator[Callable[[], float]]:
    """What makes a step of `plain_loop` and tells its seconds. The process is another, for this one keeps freed memory."""
    command = [sys.executable, str(PLAIN_LOOP), str(train_file), str(threads)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        told, answers = process.stdin, process.stdout

        def step_s() -> float:
            told.write("step\n")
            told.flush()
            return float(answers.readline())

        yield step_s
        told.close()


def _gflop_a_pattern(one: Duel, batch_size: int) -> float:
    """Forward and backward, by the network as it is written: what was compiled or recorded cannot be counted."""
    with FlopCounterMode(display=False) as counter, _any_order():
        poisson_loss(one.bare.patches(one.bare.network, one.batches[0]), one.batches[0]).backward()
    return float(counter.get_total_flops()) / batch_size / 1e9
