"""Inference: a scan's patterns to its stitched object, beside the reference implementation's rate."""

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from machine import gemm_gflops, place, wait_for
from measures import Measure, of_runs
from scenes import job, scan_of

from ptycho_torch.devices import keep_freed_memory, make_repeatable
from ptycho_torch.model import seeded_model
from ptycho_torch.network_object import bounding_shape, in_larger_batches, network_object

REFERENCE_PER_S = 58.5
"""Patterns a second of the reference implementation in batches of 16, 52 to 65, on two cores of another machine."""
REFERENCE_GEMM_GFLOPS = 162.0
"""Of that machine in float32, 142 to 182."""


@dataclass(frozen=True)
class Inference:
    """A network, and how many times the reference it must reach."""

    architecture: str
    gridsize: int
    required: float
    patterns: int
    """That are reconstructed in a run."""


CASES = (
    Inference("backprojection_unet", 1, 10.0, 256),
    Inference("backprojection_unet", 2, 10.0, 256),
    Inference("ptychopinn", 1, 2.5, 64),
)


def measured(case: Inference, test_file: Path, device_name: str, threads: int, runs: int) -> Measure:
    """Patterns a second, stitching included, in turn with the matrix multiplication that says how fast this machine is."""
    whole = scan_of(test_file, device_name)
    scan = whole.take(torch.arange(case.patterns, device=whole.counts.device))
    device = scan.counts.device
    of = in_larger_batches(job(case.architecture, case.gridsize, threads=threads, precision="auto", device=device.type))
    keep_freed_memory()  # as a job does
    make_repeatable(deterministic=True, threads=threads)
    model, shape = seeded_model(of).to(device), bounding_shape(scan)
    network_object(model, scan, of, shape)
    rates, ratios = [], []
    for _ in range(runs):
        wait_for(device)
        started = time.perf_counter()
        network_object(model, scan, of, shape)
        wait_for(device)
        rates.append(len(scan) / (time.perf_counter() - started))
        peak = gemm_gflops(torch.float32, device)
        scale = 1.0 if device.type == "cuda" else peak / REFERENCE_GEMM_GFLOPS
        ratios.append(rates[-1] / (REFERENCE_PER_S * scale))
    return of_runs(
        "inference",
        f"{case.architecture}, gridsize {case.gridsize}, stitched{place(device.type)}",
        ratios,
        unit="x",
        required=case.required,
        better="more",
        reference="the reference implementation, 52 to 65 patterns/s elsewhere, scaled by float32 matrix multiplication",
        details={"patterns_per_s": round(sorted(rates)[runs // 2], 1), "patterns": len(scan)},
    )
