"""The iterative solvers of pty-chi (the package `ptychi`), with probe and positions known: the object alone is sought.

Conventions meet in `_options` and `_task`, and nowhere else:

    quantity    here                                             pty-chi
    counts      photons, zero frequency at the corner            intensities; at the corner where `fft_shift` is off
    probe       (N, N), Σ|P|² in photons, unitary FFT            (1, 1, N, N), FFT without a norm: P / N
    object      (H, W)                                           (1, H, W)
    position y  patch O[c - N/2 : c + N/2] with c = ⌊y + 1/2⌋,   the same, given the corner as origin, but c = y rounded half
                probe shifted by y - c (Fourier)                 to even

So both models agree to rounding, between pixels too. pty-chi's usual origin, the middle of the canvas, is half a pixel off on a
canvas of odd size. `model_error` is the proof for any scan whose object is known.
"""

import importlib
import logging
import random
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ptycho_torch.config import SolverConfig
from ptycho_torch.data_consistency import Tick
from ptycho_torch.dataset import ScanTensors
from ptycho_torch.errors import SolverUnavailableError, TrainingDivergedError
from ptycho_torch.physics import add_patches, split_positions

INSTALLING = "Run make iterative, or pip install --editable '.[iterative]' and then pip install --no-deps ptychi==2.2.0."

ROUNDING_MARGIN_PX = 2e-4
"""Positions keep so far from half a pixel, which pty-chi may round the other way: its patch would lie one pixel beside ours.
pty-chi counts in single precision, which is finer than this up to 2,048 px."""

RIM_PX = 3
"""pty-chi wants its canvas so much larger than the patches reach, and says so in the log of the whole process."""

_NOT_IMPORTABLE = (ImportError, RuntimeError, AttributeError, OSError)
"""What importing a torchvision raises that is absent, or made for another PyTorch."""


def solve(scan: ScanTensors, object_shape: tuple[int, int], solver: SolverConfig, *, seed: int, tick: Tick) -> Tensor:
    """Reconstruct the object from O = 1 by one of pty-chi's solvers.

    The same seed gives the same bytes on the same machine, device and number of threads.

    Parameters
    ----------
    scan
        Patterns with known probe and positions, all patches inside the object.
    object_shape
        (H, W) of the object [px].
    solver
        `lsqml` (Odstrčil et al., Opt. Express 26, 3108 (2018)), `rpie` (Maiden et al., Optica 4, 736 (2017)) or `epie` (Maiden
        and Rodenburg, Ultramicroscopy 109, 1256 (2009)), which is rPIE with α = 1.
    seed
        Of the order in which patterns are taken, and of what `lsqml` draws for its Poisson step sizes.
    tick
        Called after every epoch; what it raises ends the work.

    Returns
    -------
    (H, W) complex64 on the CPU; 1 where no pattern reached.

    Raises
    ------
    SolverUnavailableError
        pty-chi is not installed, or cannot be imported.
    TrainingDivergedError
        The object became infinite or not a number.
    """
    object_hw = torch.ones(object_shape, dtype=torch.complex64)
    with _ptychi() as ptychi:
        task = _task(ptychi, _options(ptychi, solver, seed, scan), scan, object_hw)
        for epoch in range(1, solver.epochs + 1):
            task.run(n_epochs=1)
            object_hw = _object(task, object_shape)
            if not bool(object_hw.isfinite().all()):
                raise TrainingDivergedError(f"{solver.method} diverged in epoch {epoch}.", hint="Lower its batch_size.")
            tick()
    return object_hw


def model_error(scan: ScanTensors, object_hw: Tensor) -> float:
    """Mean (√n - √I)² [photons per pixel] of the counts n and of what pty-chi expects of an object (H, W) complex64.

    Less than a millionth of the mean count where the counts are `physics.diffraction_intensity` of the same object; where they
    have noise it says little.

    Raises
    ------
    SolverUnavailableError
        pty-chi is not installed, or cannot be imported.
    """
    # An epoch of one batch: its loss is that of the object before the update.
    solver = SolverConfig(method="lsqml", epochs=1, batch_size=len(scan))
    with _ptychi() as ptychi:
        task = _task(ptychi, _options(ptychi, solver, 0, scan), scan, object_hw)
        task.run(n_epochs=1)
        return float(task.reconstructor.loss_tracker.table["loss"].iloc[0])


def _options(ptychi: Any, solver: SolverConfig, seed: int, scan: ScanTensors) -> Any:
    """pty-chi's own defaults, but for what would move probe or positions, which are known, and for rPIE's step."""
    api = ptychi.api
    options = api.LSQMLOptions() if solver.method == "lsqml" else api.RPIEOptions()
    options.data_options.fft_shift = False
    options.object_options.determine_position_origin_coords_by = api.ObjectPosOriginCoordsMethods.SPECIFIED
    # Where the middle of a patch of even size about pixel 0 lies.
    options.object_options.position_origin_coords = (-0.5, -0.5)
    options.probe_options.optimizable = False
    options.probe_position_options.optimizable = False
    options.opr_mode_weight_options.optimizable = False
    # Every tenth epoch it would scale the probe, optimizable or not.
    options.object_options.remove_object_probe_ambiguity.enabled = False
    reconstructor = options.reconstructor_options
    reconstructor.num_epochs = solver.epochs
    reconstructor.batch_size = solver.batch_size
    reconstructor.random_seed = seed
    reconstructor.allow_nondeterministic_algorithms = False
    # It has no MPS.
    reconstructor.default_device = api.Devices.GPU if scan.counts.device.type == "cuda" else api.Devices.CPU
    if solver.method == "lsqml":
        reconstructor.noise_model = api.NoiseModels(solver.noise_model)
        # The first epoch would scale the probe, and leave the object as it is.
        reconstructor.rescale_probe_intensity_in_first_epoch = False
    else:
        if solver.method == "epie":
            options.object_options.alpha = 1.0
        options.object_options.step_size = _rpie_step(scan, min(solver.batch_size, len(scan)), options.object_options.alpha)
    return options


def _rpie_step(scan: ScanTensors, batch_size: int, alpha: float) -> float:
    """One over how often a mean batch covers the pixel covered most, at most 1.

    rPIE takes one pattern at a time, and its step may be 1 there. pty-chi adds up the steps of a batch,
    |P|² / ((1 - α) |P|² + α max |P|²) each, so that where many patterns overlap the object would overshoot, more every time.
    """
    light = scan.probe.abs().square()
    weight = light / ((1 - alpha) * light + alpha * light.max())
    centers = scan.centers - scan.centers.amin(0) + len(weight) // 2
    rows, columns = (int(side) + len(weight) // 2 for side in centers.amax(0))
    cover = torch.zeros(rows, columns, device=weight.device)
    for part in scan.chunks():
        cover += add_patches(weight.expand(len(part), -1, -1), centers[part], (rows, columns))
    return min(1.0, len(scan) / (batch_size * float(cover.max())))


def _task(ptychi: Any, options: Any, scan: ScanTensors, start: Tensor) -> Any:
    """A `PtychographyTask` for a scan, from the object `start` (H, W)."""
    whole, remainders = split_positions(torch.from_numpy(scan.positions_yx))
    positions = whole + remainders.clamp(ROUNDING_MARGIN_PX - 0.5, 0.5 - ROUNDING_MARGIN_PX)
    task = ptychi.api.task.PtychographyTask(
        options,
        diffraction_data=scan.counts,
        object_data=torch.nn.functional.pad(start, (0, RIM_PX, 0, RIM_PX), value=1)[None],
        probe_data=(scan.probe / scan.probe.shape[-1])[None, None],
        probe_position_y_px=positions[:, 0],
        probe_position_x_px=positions[:, 1],
        # Its own default too, of which it would write in the log of the whole process.
        opr_mode_weights_data=torch.ones(len(scan), 1),
    )
    # `random_seed` does not reach the order of the patterns, which would be the same for every seed.
    task.reconstructor.dataloader.generator.manual_seed(options.reconstructor_options.random_seed)
    return task


def _object(task: Any, object_shape: tuple[int, int]) -> Tensor:
    canvas: Tensor = task.get_data_to_cpu("object")
    return canvas[0, : object_shape[0], : object_shape[1]].clone()


@contextmanager
def _ptychi() -> Iterator[Any]:
    """The package, quiet and repeatable; it sets PyTorch's default device and dtype and all random states, which are put back."""
    ptychi = _import_ptychi()
    logger = logging.getLogger("ptychi")
    level, default_device, default_dtype = logger.level, torch.get_default_device(), torch.get_default_dtype()
    random_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002 - pty-chi seeds the old one
    is_deterministic = torch.are_deterministic_algorithms_enabled()
    # Its own option is not enough: two CPU threads would add up the light in an order of their own.
    torch.use_deterministic_algorithms(True)
    logger.setLevel(logging.WARNING)
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count())), warnings.catch_warnings():
            # Of its own positions, whenever it makes a task.
            warnings.filterwarnings("ignore", "Converting a tensor with requires_grad", UserWarning)
            yield ptychi
    finally:
        logger.setLevel(level)
        torch.use_deterministic_algorithms(is_deterministic)
        random.setstate(random_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        torch.set_default_dtype(default_dtype)
        # None is the CPU too, without a detour on every call.
        torch.set_default_device(None if default_device.type == "cpu" else default_device)


def _import_ptychi() -> Any:
    supplied: list[str] = []
    try:
        with warnings.catch_warnings():
            # Of its sources, such as an escape that Python deprecates, and of what it imports.
            warnings.simplefilter("ignore")
            if "ptychi" not in sys.modules:
                supplied = _supply_torchvision()
            import ptychi.api.task
    except ImportError as error:
        raise SolverUnavailableError(f"The solver needs pty-chi, which cannot be imported: {error}.", hint=INSTALLING) from None
    finally:
        # pty-chi holds its class by now, and no one else must take the stand-in for torchvision.
        for name in supplied:
            del sys.modules[name]
    return ptychi


def _supply_torchvision() -> list[str]:
    """Put a stand-in where torchvision cannot be imported, and only there; the names it stands under are returned.

    pty-chi takes one class of torchvision, for a blur of patterns that nothing here asks for. But a torchvision works with one
    release of PyTorch and installs that release's CUDA build; beside any other it raises when imported
    (`operator torchvision::nms does not exist`).
    """
    try:
        importlib.import_module("torchvision.transforms")
    except _NOT_IMPORTABLE:
        package, transforms = ModuleType("torchvision"), ModuleType("torchvision.transforms")
        vars(package)["transforms"] = transforms
        vars(transforms)["GaussianBlur"] = _GaussianBlur
        sys.modules |= {"torchvision": package, "torchvision.transforms": transforms}
        return ["torchvision", "torchvision.transforms"]
    return []


class _GaussianBlur:
    def __init__(self, *_: object, **__: object) -> None:
        raise SolverUnavailableError(
            "A blur needs torchvision, which cannot be imported.", hint="Install the torchvision made for this PyTorch."
        )
