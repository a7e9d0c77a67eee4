"""The object of a scan as a trained network alone sees it."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ptycho_torch.canvas_sight import first_sight
from ptycho_torch.config import JobConfig
from ptycho_torch.dataset import ScanTensors
from ptycho_torch.grouping import covering_groups
from ptycho_torch.held_out import in_batches
from ptycho_torch.model import PtychoModel
from ptycho_torch.physics import intensity
from ptycho_torch.reassembly import CanvasSides, Stitcher
from ptycho_torch.symmetries import N_TURNS

CANVAS_STEPS = 8
"""The canvas of a group grows in steps of this part of a patch."""
LOOKS = 2
"""In so many groups of others a pattern is seen before its own is left out: all groups bring no picture closer to the truth."""
PIXELS_AT_ONCE = 2**18
"""Of patterns in a batch without gradients, at least: 64 of 64 × 64 pixels. Smaller batches take up to a third longer."""


def in_larger_batches(job: JobConfig) -> JobConfig:
    """A job whose network has learnt, with batches for looking: what it makes of patterns is the same in any, to rounding."""
    batch_size = max(job.training.batch_size, PIXELS_AT_ONCE // job.patch_size_px**2)
    return job.model_copy(update={"training": job.training.model_copy(update={"batch_size": batch_size})})


def network_object(model: PtychoModel, scan: ScanTensors, job: JobConfig, object_shape: tuple[int, int]) -> Tensor:
    """The object (H, W) complex64 that the network alone makes of a scan.

    A network that sees the canvas looks at it from all eight sides. Patches are stitched, weighted by the light |P|²: a network
    that sees each pattern alone sees each once, one that sees the patterns of a group sees each with its nearest neighbours, or
    twice and more among those of others. Each group is seen from another side than those before and after it, whose patches lie
    on its own: a mean over the sides for nothing.
    """
    if model.canvas_network is not None:
        return model.canvas_network.from_all_sides(first_sight(scan, object_shape))
    return _stitched(model, scan, job, object_shape)


@torch.no_grad()
def _stitched(model: PtychoModel, scan: ScanTensors, job: JobConfig, object_shape: tuple[int, int]) -> Tensor:
    groups = covering_groups(scan.positions_yx, job.group_size if model.mixes_channels else 1, LOOKS)
    stitcher = Stitcher(object_shape)
    sides = N_TURNS if job.training.augment else 1
    for turn in range(min(sides, len(groups))):
        for canvas_px, rows in _batches(groups[turn::sides], scan, job):
            illumination, centers = scan.illumination_of(rows), scan.centers[rows]
            patches = model(scan.counts[rows], illumination, centers, turn, canvas_px)
            stitcher.add(patches, centers, intensity(illumination.probes))
    return stitcher.result()[0].to(scan.counts.device)


def _batches(groups: npt.NDArray[np.int64], scan: ScanTensors, job: JobConfig) -> Iterator[tuple[CanvasSides | None, Tensor]]:
    """Batches of groups (b, C), and the sides of the canvas that all groups of a batch have.

    Groups of one batch have canvases of one size. Were each put on that of the batch's largest, what a network makes of it would
    hang on its company, and so on the size of the batches. Sides are rounded up, so that batches are not many and small.
    """
    if groups.shape[1] == 1:
        yield from ((None, rows) for rows in in_batches(groups, job, scan.counts.device))
        return
    patch_size = scan.counts.shape[-1]
    step_px = max(1, patch_size // CANVAS_STEPS)
    centers = scan.centers.cpu().numpy()[groups]
    steps = -(-np.ptp(centers, axis=1) // step_px)
    for alike in np.unique(steps, axis=0):
        height, width = (patch_size + step_px * alike).tolist()
        for rows in in_batches(groups[(steps == alike).all(axis=1)], job, scan.counts.device):
            yield (height, width), rows


def bounding_shape(scan: ScanTensors) -> tuple[int, int]:
    """The smallest object (H, W), from the origin, that holds every patch: for a scan whose object is unknown."""
    height, width = (scan.centers.amax(dim=0) + scan.counts.shape[-1] // 2).tolist()
    return height, width
