"""Scores on photons that were held out: what training minimises, validation watches and evaluation reports.

The photons of a pattern are dealt to two parts. One is fed to whatever predicts the object; its prediction, illuminated again,
is compared with the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ptycho_torch.config import JobConfig
from ptycho_torch.dataset import ScanTensors, counter_seed
from ptycho_torch.errors import PtychoError
from ptycho_torch.grouping import draw_groups
from ptycho_torch.losses import poisson_deviance
from ptycho_torch.photon_dealing import dealing_device, split_photons
from ptycho_torch.physics import Illumination, cut_patches, diffraction_intensity

DEFAULT_SHARE = 0.5
"""Share of the photons that is fed when scoring a network that was trained without a split."""


class Predictor(Protocol):
    """Whatever makes objects of photons."""

    def __call__(self, fed: Tensor, illumination: Illumination, centers_yx: Tensor, /) -> Tensor:
        """Fed counts and the illumination of the same exposure (B, C, N, N), centres (B, C, 2) -> patches (B, C, N, N)."""


@dataclass(frozen=True, eq=False)
class PhotonParts:
    """The photons of some patterns, parted."""

    fed: Tensor
    held: Tensor
    fed_share: float
    held_share: float

    def take(self, rows: Tensor) -> "PhotonParts":
        """The parts of some of the patterns."""
        return replace(self, fed=self.fed[rows], held=self.held[rows])


def part_photons(counts: Tensor, share: float | None, seed: int) -> PhotonParts:
    """Deal photons by chance; the same seed deals the same on the same kind of device.

    Parameters
    ----------
    counts
        (..., N, N) photons.
    share
        The chance of being fed; None feeds every photon and holds out the very same ones.
    seed
        Of this one deal.
    """
    if share is None:
        return PhotonParts(counts, counts, 1.0, 1.0)
    generator = torch.Generator(dealing_device(counts.device)).manual_seed(seed)
    fed, held = split_photons(counts, share, generator)
    return PhotonParts(fed, held, share, 1 - share)


@dataclass(frozen=True, eq=False)
class Exposures:
    """A scan, and the same as two shorter exposures that share no photon: one is fed, the other held out."""

    whole: ScanTensors
    fed: ScanTensors
    held: ScanTensors


def part_scan(scan: ScanTensors, share: float | None, seed: int) -> Exposures:
    """Deal the photons of a scan to two exposures, `share` of it and the rest; the probe's light is dealt alike.

    None feeds every photon and holds out the very same ones.
    """
    parts = part_photons(scan.counts, share, seed)
    return Exposures(
        whole=scan,
        fed=replace(scan, counts=parts.fed, probe=scan.probe * sqrt(parts.fed_share)),
        held=replace(scan, counts=parts.held, probe=scan.probe * sqrt(parts.held_share)),
    )


def scan_deviance(object_hw: Tensor, scan: ScanTensors, rows: Tensor) -> Tensor:
    """Half the Poisson deviance per photon of some patterns (m,), if the object (H, W) complex64 were the true one."""
    counts = scan.counts[rows]
    patches = cut_patches(object_hw, scan.centers[rows], counts.shape[-1])
    return poisson_deviance(diffraction_intensity(patches, scan.probes_of(rows)), counts)


@torch.no_grad()
def object_deviance(object_hw: Tensor, scan: ScanTensors) -> float:
    """Half the Poisson deviance per photon of a scan's counts, if the object (H, W) complex64 were the true one.

    Raises
    ------
    PtychoError
        The scan has no photon.
    """
    total, photons = 0.0, 0.0
    for rows in scan.chunks():
        chunk_photons = float(scan.counts[rows].sum())
        if chunk_photons > 0:
            total += float(scan_deviance(object_hw, scan, rows)) * chunk_photons
            photons += chunk_photons
    if photons == 0:
        raise PtychoError("No photon was held out, so that nothing can be scored.", hint="Raise the dose.")
    return total / photons


@torch.no_grad()
def noise_deviance(object_hw: Tensor, scan: ScanTensors, seed: int) -> float:
    """The deviance that an object (H, W) complex64 would get of photons like a scan's, if it were the true one: of counts that
    are drawn from it. What is above it is no noise of photons.

    Raises
    ------
    PtychoError
        The object gives no photon.
    """
    draw = torch.Generator(dealing_device(scan.counts.device)).manual_seed(seed)

    def drawn(rows: Tensor) -> Tensor:
        patches = cut_patches(object_hw, scan.centers[rows], scan.counts.shape[-1])
        expected = diffraction_intensity(patches, scan.probes_of(rows))
        return torch.poisson(expected.to(draw.device), generator=draw).to(expected.device)

    total, photons = 0.0, 0.0
    for rows in scan.chunks():
        chunk = replace(scan.take(rows), counts=drawn(rows))
        chunk_photons = float(chunk.counts.sum())
        if chunk_photons > 0:
            total += object_deviance(object_hw, chunk) * chunk_photons
            photons += chunk_photons
    if photons == 0:
        raise PtychoError("An object lets no photon through, so that nothing can be scored.", hint="Is the probe dark?")
    return total / photons


def prediction_deviance(predict: Predictor, scan: ScanTensors, rows: Tensor, parts: PhotonParts) -> Tensor:
    """Half the Poisson deviance per held-out photon of what is predicted from the fed ones.

    Parameters
    ----------
    rows
        (B, C) rows of the scan.
    parts
        Their photons, (B, C, N, N) each.
    """
    illumination = scan.illumination_of(rows, parts.fed_share)
    patches = predict(parts.fed, illumination, scan.centers[rows])
    held_probes = illumination.probes * sqrt(parts.held_share / parts.fed_share)
    return poisson_deviance(diffraction_intensity(patches, held_probes), parts.held)


@dataclass(frozen=True, eq=False)
class HeldOutScan:
    """A scan with one fixed split of its photons and one fixed choice of groups."""

    scan: ScanTensors
    parts: PhotonParts
    batches: Sequence[Tensor]

    @torch.no_grad()
    def deviance(self, predict: Predictor) -> float:
        """Half the Poisson deviance per held-out photon, over all groups; a batch without such photons has nothing to say."""
        total, photons = 0.0, 0.0
        for rows in self.batches:
            parts = self.parts.take(rows)
            held_photons = float(parts.held.sum())
            if held_photons == 0:
                continue
            total += float(prediction_deviance(predict, self.scan, rows, parts)) * held_photons
            photons += held_photons
        return total / photons


def hold_out(scan: ScanTensors, job: JobConfig, purpose: int) -> HeldOutScan:
    """Fix a split and groups for scoring: one group for every C patterns, whatever the job draws in training.

    Parameters
    ----------
    purpose
        Tells one use of the job's seeds from another.

    Raises
    ------
    PtychoError
        No photon was held out, so that nothing can be scored.
    """
    groups = draw_groups(
        scan.positions_yx,
        gridsize=job.gridsize,
        neighbor_count=job.neighbor_count,
        n_groups=None,
        seed=counter_seed(job.grouping_seed, purpose),
    )
    share = job.training.photon_split or DEFAULT_SHARE
    parts = part_photons(scan.counts, share, counter_seed(job.training_seed, purpose))
    batches = in_batches(groups, job, scan.counts.device)
    if not any(bool(parts.held[rows].any()) for rows in batches):
        raise PtychoError(
            f"No photon of {len(scan)} patterns was held out: the dose is {job.dose_photons:g} photons per frame, photon_split "
            f"{share:g}; at least one is needed.",
            hint="Raise the dose or lower training.photon_split.",
        )
    return HeldOutScan(scan, parts, batches)


def in_batches(groups: npt.NDArray[np.int64], job: JobConfig, device: torch.device) -> Sequence[Tensor]:
    """Groups (g, C) as tensors (b, C) of at most a batch's patterns each, or of one group."""
    most = max(1, job.training.batch_size // groups.shape[1])
    return torch.from_numpy(groups).to(device).tensor_split(-(-len(groups) // most))
