"""Object and probe descend together: the steps of `data_consistency`, and alike ones of the probe.

    R_O = Σ conj(P_k) ψ_k / (Σ|P_k|² + damping)        R_P = Σ S_k*[conj(O_k) ψ_k] / (Σ|O_k|² + damping)

with ψ = F⁻¹[(n - I) / √(I + floor) · e^{i arg F[PO]}], P_k = S_k P the probe moved to where it stood for pattern k, and O_k the
patch below it. Both steps of a pass are of the same object and probe.

An object follows noise long before its probe is right. A round therefore begins with an empty object, and what carries over
from round to round is the probe alone; held-out photons say how many rounds are of use.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from math import sqrt

import torch
from torch import Tensor

from ptycho_torch.data_consistency import DAMPING_SHARE, FLOOR_SHARE, MOMENTUM, descend
from ptycho_torch.dataset import ScanTensors
from ptycho_torch.held_out import Exposures, object_deviance
from ptycho_torch.network_object import bounding_shape
from ptycho_torch.physics import add_patches, amplitude_residual, back_propagate, cut_patches, gather_probe, intensity, propagate

PROBE_MOMENTUM = 0.9
"""Every pattern pulls the same probe: its pull has less noise than the object's, and bears more momentum."""
ROUND_STEPS = 30
LEAST_GAIN = 2e-4
"""A round that lowers the held-out deviance by a smaller share than this is the last."""
PATIENCE_STEPS = 5


@dataclass(frozen=True, eq=False)
class ProbeRounds:
    """A probe after as many rounds as held-out photons call for."""

    probe: Tensor
    """(N, N) complex64 of the whole exposure, Σ|P|² the mean photons of a pattern; from all photons."""
    fed_probe: Tensor
    """The same from the fed photons alone."""
    deviances: tuple[float, ...]
    """Of the held-out photons, by an object reconstructed with the probe after 0, 1, 2 ... rounds of the fed ones."""

    @property
    def rounds(self) -> int:
        """How many were of use; 0 where a round only does harm."""
        return self.deviances.index(min(self.deviances))


def joint_steps(scan: ScanTensors, object_hw: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Object (H, W) and probe (N, N), complex64, after 0, 1, 2 ... steps from `object_hw` and the scan's probe, without end."""
    probe, floor = scan.probe, FLOOR_SHARE * scan.counts.mean()
    object_velocity, probe_velocity = torch.zeros_like(object_hw), torch.zeros_like(probe)
    while True:
        yield object_hw, probe
        object_pull, probe_pull = _pulls(replace(scan, probe=probe), object_hw, floor)
        object_velocity = MOMENTUM * object_velocity + object_pull
        probe_velocity = PROBE_MOMENTUM * probe_velocity + probe_pull
        object_hw, probe = object_hw + object_velocity, probe + probe_velocity


def _pulls(scan: ScanTensors, object_hw: Tensor, floor: Tensor) -> tuple[Tensor, Tensor]:
    """R_O / 2 and R_P / 2, a few patterns at a time."""
    shape = (object_hw.shape[0], object_hw.shape[1])
    object_pull, probe_pull = torch.zeros_like(object_hw), torch.zeros_like(scan.probe)
    light, glass = torch.zeros_like(object_hw.real), torch.zeros_like(scan.probe.real)
    for rows in scan.chunks():
        centers, probes = scan.centers[rows], scan.probes_of(rows)
        patches = cut_patches(object_hw, centers, probes.shape[-1])
        far_fields = propagate(patches * probes)
        residual = back_propagate(amplitude_residual(far_fields, intensity(far_fields), scan.counts[rows], floor))
        object_pull += add_patches(probes.conj() * residual, centers, shape)
        light += add_patches(probes.abs().square(), centers, shape)
        probe_pull += gather_probe(patches.conj() * residual, scan.shifts[rows])
        glass += patches.abs().square().sum(dim=0)
    return (
        object_pull * (0.5 / (light + DAMPING_SHARE * light.amax())),
        probe_pull * (0.5 / (glass + DAMPING_SHARE * glass.amax())),
    )


@torch.no_grad()
def joint_deviance(exposures: Exposures, most_steps: int) -> float:
    """The least deviance of held-out photons that a joint descent from an empty object on the fed ones comes by."""
    fed, held = exposures.fed, exposures.held
    to_held = sqrt(float(held.probe.abs().square().sum() / fed.probe.abs().square().sum()))
    steps = joint_steps(fed, fed.flat_object(bounding_shape(fed)))
    return _least(
        object_deviance(object_hw, replace(held, probe=probe * to_held)) for object_hw, probe in islice(steps, most_steps + 1)
    )


@torch.no_grad()
def probe_deviance(exposures: Exposures) -> float:
    """The least deviance of held-out photons that a descent of the object alone comes by, under the exposures' probe."""
    fed = exposures.fed
    steps = descend(fed, fed.flat_object(bounding_shape(fed)))
    return _least(object_deviance(object_hw, exposures.held) for object_hw in islice(steps, ROUND_STEPS + 1))


def _least(deviances: Iterator[float]) -> float:
    """The least of a curve up to where it is past its best; infinite where one is not finite before."""
    least, since = float("inf"), 0
    for deviance in deviances:
        least, since = (deviance, 0) if deviance < least else (least, since + 1)
        if since > PATIENCE_STEPS:
            break
    return least


@torch.no_grad()
def refine_probe(exposures: Exposures, most_rounds: int) -> ProbeRounds:
    """Rounds of joint descent from the exposures' probe, as many as photons call for that the rounds do not see.

    The rounds are tried on the fed photons. Of all that follow one another the best by held-out photons is chosen, and so many
    are then gone through on all photons.
    """
    probe = exposures.fed.probe
    probes, deviances = [probe], [probe_deviance(exposures)]
    for _ in range(most_rounds):
        probe = _round(exposures.fed, probe)
        probes.append(probe)
        deviances.append(probe_deviance(with_probe(exposures, probe)))
        if not deviances[-1] < (1 - LEAST_GAIN) * deviances[-2]:
            break
    rounds = deviances.index(min(deviances))
    whole = exposures.whole.probe
    for _ in range(rounds):
        whole = _round(exposures.whole, whole)
    fed = with_probe(exposures, probes[rounds]).whole.probe
    return ProbeRounds(whole, fed, tuple(deviances))


def with_probe(exposures: Exposures, probe: Tensor) -> Exposures:
    """The exposures under another probe (N, N) of any energy; each keeps that of its own."""
    return Exposures(*(_lit(part, probe) for part in (exposures.whole, exposures.fed, exposures.held)))


def _round(scan: ScanTensors, probe: Tensor) -> Tensor:
    scan = _lit(scan, probe)
    steps = joint_steps(scan, scan.flat_object(bounding_shape(scan)))
    _, probe = next(islice(steps, ROUND_STEPS, None))
    return _lit(scan, probe).probe


def _lit(scan: ScanTensors, probe: Tensor) -> ScanTensors:
    """The scan under a probe to which the energy is given that the scan's own has."""
    return replace(scan, probe=probe * (torch.linalg.vector_norm(scan.probe) / torch.linalg.vector_norm(probe)))
