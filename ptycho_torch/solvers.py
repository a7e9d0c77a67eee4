"""What an iterative solver makes of a half of a scan, probe and positions known."""

import time

import torch
from torch import Tensor

from ptycho_torch.config import SolverConfig
from ptycho_torch.data_consistency import Tick, reconstruct_by_gradient
from ptycho_torch.dataset import ScanTensors
from ptycho_torch.errors import SolverDivergedError
from ptycho_torch.ptychi_solver import solve
from ptycho_torch.yardstick import Reconstructed, Yardstick


def passes(solver: SolverConfig, *, is_measured: bool) -> int:
    """The passes over one half that a solver makes, at most."""
    if solver.method == "gradient":
        return 2 * (solver.epochs + 1)  # tried on the fed photons and taken on all, the start counted
    return solver.epochs * (2 if is_measured else 1)


def run_solver(solver: SolverConfig, half: Yardstick, seed: int, tick: Tick) -> Reconstructed:
    """Reconstruct a half by a solver.

    pty-chi's solvers are run a second time, on the fed photons alone, only where there is no truth to score against.
    """
    started = time.perf_counter()
    exposures = half.exposures
    if solver.method == "gradient":
        refined = reconstruct_by_gradient(exposures, half.object_shape, solver.epochs, tick)
        return Reconstructed(refined.object_hw, refined.fed_object_hw, time.perf_counter() - started, refined.steps)

    def solved(scan: ScanTensors) -> Tensor:
        return _finite(solve(scan, half.object_shape, solver, seed=seed, tick=tick), solver)

    object_hw = solved(exposures.whole)
    seconds = time.perf_counter() - started
    return Reconstructed(object_hw, solved(exposures.fed) if half.truth is None else None, seconds)


def _finite(object_hw: Tensor, solver: SolverConfig) -> Tensor:
    if not bool(torch.isfinite(torch.view_as_real(object_hw)).all()):
        raise SolverDivergedError(
            f"The reconstruction by {solver.method} became infinite or not a number within {solver.epochs} epochs.",
            hint="Give the solver another batch_size: patterns of one update that overlap much add up.",
        )
    return object_hw
