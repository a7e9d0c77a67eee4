"""Data consistency: bring an object nearer to the counts by steps of Poisson likelihood on the whole canvas. No network.

A step descends the gradient of Σ[I - n log I] with respect to the object, preconditioned twice: in the far field by a Gauss-
Newton weight, on the canvas by the light that fell there. It carries momentum.

    R = Σ conj(P) F⁻¹[ (n - I) / √(I + floor) · e^{i arg F[PO]} ] / (Σ|P|² + damping)        v ← μ v + R / 2        O ← O + v

The half makes it a step in amplitudes: (n - I) / √I ≈ 2 (√n - √I). R is linear in the counts, so it is unbiased however few the
photons. From O = 1 this is the iterative baseline without a library; from a network's object it is refinement.

Likelihood alone ends in noise, so the number of steps decides. It is chosen without the truth: the photons are dealt to two
exposures, the steps see one, and the other says when they were best.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from ptycho_torch.dataset import ScanTensors
from ptycho_torch.held_out import Exposures, object_deviance
from ptycho_torch.physics import add_patches, amplitude_residual, back_propagate, cut_patches, intensity, propagate

MOMENTUM = 0.8
FLOOR_SHARE = 0.03
"""`floor` as a share of the mean count: dark pixels of the far field must not rule the step."""
DAMPING_SHARE = 0.05
"""`damping` as a share of the light at the brightest place: the rim, which little light reaches, stays as it was."""
PATIENCE_STEPS = 20
"""The held-out deviance may rise for so many steps before it is taken for past its best."""

Tick = Callable[[], None]
"""Called after every pass over the scan; ends the work by raising."""


@dataclass(frozen=True, eq=False)
class Refined:
    """An object after as many steps as held-out photons call for."""

    object_hw: Tensor
    """(H, W) complex64, from all photons."""
    fed_object_hw: Tensor
    """(H, W) complex64, from the fed photons alone: what the held-out ones may be compared with."""
    steps: int
    deviances: tuple[float, ...]
    """Of the held-out photons after 0, 1, 2 ... steps on the fed ones."""


def light_on_canvas(scan: ScanTensors, object_shape: tuple[int, int]) -> Tensor:
    """Σ|P|² of all positions, (H, W) real, in photons per pixel of an empty field of view."""
    light = torch.zeros(object_shape, device=scan.counts.device)
    for rows in scan.chunks():
        light += add_patches(scan.probes_of(rows).abs().square(), scan.centers[rows], object_shape)
    return light


class Pull:
    """Whither the counts of a scan pull an object: R / 2, the step in amplitudes.

    Parameters
    ----------
    object_shape
        (H, W) [px].
    """

    def __init__(self, scan: ScanTensors, object_shape: tuple[int, int]) -> None:
        self._scan = scan
        self.light = light_on_canvas(scan, object_shape)
        self._preconditioner = 0.5 / (self.light + DAMPING_SHARE * self.light.amax())
        self._floor = FLOOR_SHARE * scan.counts.mean()

    def __call__(self, object_hw: Tensor) -> Tensor:
        """The pull (H, W) on an object (H, W), complex64."""
        pull: Tensor = self._preconditioner * self._residual(object_hw)
        return pull

    def _residual(self, object_hw: Tensor) -> Tensor:
        """Σ conj(P) F⁻¹[(n - I) / √(I + floor) · e^{i arg F[PO]}] on the canvas, (H, W)."""
        scan, residual = self._scan, torch.zeros_like(object_hw)
        for rows in scan.chunks():
            probes, centers = scan.probes_of(rows), scan.centers[rows]
            far_fields = propagate(cut_patches(object_hw, centers, probes.shape[-1]) * probes)
            asked = amplitude_residual(far_fields, intensity(far_fields), scan.counts[rows], self._floor)
            corrections = probes.conj() * back_propagate(asked)
            residual += add_patches(corrections, centers, (object_hw.shape[0], object_hw.shape[1]))
        return residual

    def descend(self, start: Tensor) -> Iterator[Tensor]:
        """The object (H, W) complex64 after 0, 1, 2 ... steps from `start`, without end."""
        current, velocity = start, torch.zeros_like(start)
        while True:
            yield current
            velocity = MOMENTUM * velocity + self(current)
            current = current + velocity


def descend(scan: ScanTensors, start: Tensor) -> Iterator[Tensor]:
    """The object (H, W) complex64 after 0, 1, 2 ... steps from `start`, without end."""
    return Pull(scan, (start.shape[0], start.shape[1])).descend(start)


@torch.no_grad()
def take_steps(scan: ScanTensors, start: Tensor, steps: int, tick: Tick = lambda: None) -> Tensor:
    """The object (H, W) after so many steps from `start`; `start` itself for none."""
    objects = islice(descend(scan, start), steps + 1)
    current = next(objects)
    for current in objects:  # noqa: B007 - the last one is the answer
        tick()
    return current


@torch.no_grad()
def refine(exposures: Exposures, start: Tensor, fed_start: Tensor, most_steps: int, tick: Tick = lambda: None) -> Refined:
    """Take as many steps as photons call for that the steps do not see.

    The steps are tried on the fed photons, and the held-out ones say which number was best, 0 where steps only do harm. So many
    are then taken on all photons.

    Parameters
    ----------
    start
        (H, W) complex64, made from all photons, or from none.
    fed_start
        (H, W) complex64, made in the same way without the held-out photons.
    most_steps
        Never more than these.
    """
    fed, deviances = try_steps(exposures, fed_start, most_steps, tick)
    steps = deviances.index(min(deviances))
    return Refined(take_steps(exposures.whole, start, steps, tick), fed, steps, deviances)


@torch.no_grad()
def try_steps(
    exposures: Exposures, fed_start: Tensor, most_steps: int, tick: Tick = lambda: None
) -> tuple[Tensor, tuple[float, ...]]:
    """Take steps on the fed photons until the held-out ones are long past their best.

    Returns
    -------
    The best object (H, W), and the deviances of the held-out photons after 0, 1, 2 ... steps.
    """
    deviances: list[float] = []
    best = fed_start
    for current in islice(descend(exposures.fed, fed_start), most_steps + 1):
        deviances.append(object_deviance(current, exposures.held))
        best = current if deviances[-1] == min(deviances) else best
        tick()
        if len(deviances) - 1 - deviances.index(min(deviances)) >= PATIENCE_STEPS:
            break
    return best, tuple(deviances)


def reconstruct_by_gradient(
    exposures: Exposures, object_shape: tuple[int, int], most_steps: int, tick: Tick = lambda: None
) -> Refined:
    """The iterative baseline without a network or a library: refinement of a flat object."""
    flat = exposures.whole.flat_object(object_shape)
    return refine(exposures, flat, flat, most_steps, tick)
