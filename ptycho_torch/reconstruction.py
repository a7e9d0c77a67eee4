"""A scan's object as a trained network sees it, alone and refined."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ptycho_torch.canvas_sight import first_sight, second_sight
from ptycho_torch.config import JobConfig
from ptycho_torch.data_consistency import light_on_canvas
from ptycho_torch.dataset import ScanTensors
from ptycho_torch.evaluation import Box, evaluation_box
from ptycho_torch.grouping import nearest_groups
from ptycho_torch.held_out import in_batches
from ptycho_torch.model import PtychoModel
from ptycho_torch.npz_archive import write_arrays
from ptycho_torch.reassembly import Stitcher
from ptycho_torch.symmetries import N_TURNS


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """The object of a scan."""

    object_yx: npt.NDArray[np.complex64]
    """(H, W) by the network alone, 1 where no pattern looked."""
    refined_yx: npt.NDArray[np.complex64] | None
    """(H, W) by the refiner; None where the model has none."""
    weight: npt.NDArray[np.float32]
    """(H, W) summed light |P|², 0 where no pattern looked."""
    box: Box
    """What is scored: where the beam went, and a margin."""

    def save(self, path: Path, truth: npt.NDArray[np.complex64] | None) -> None:
        """Write an NPZ of `object`, `weight`, `box` (top, bottom, left, right) and, where known, `refined`, and `truth` inside
        the box."""
        arrays = {"object": self.object_yx, "weight": self.weight, "box": np.array(list(self.box.as_dict().values()))}
        optional = {"refined": self.refined_yx, "truth": None if truth is None else self.box.cut(truth)}
        write_arrays(path, arrays | {name: array for name, array in optional.items() if array is not None})


def reconstruct(model: PtychoModel, scan: ScanTensors, job: JobConfig, object_shape: tuple[int, int]) -> Reconstruction:
    """What a model makes of a scan, all photons fed."""
    network = network_object(model, scan, job, object_shape)
    refined = refined_object(model, scan, network)
    return Reconstruction(
        object_yx=network.cpu().numpy(),
        refined_yx=None if refined is None else refined.cpu().numpy(),
        weight=light_on_canvas(scan, object_shape).cpu().numpy(),
        box=evaluation_box(scan.positions_yx, object_shape, scan.counts.shape[-1]),
    )


def network_object(model: PtychoModel, scan: ScanTensors, job: JobConfig, object_shape: tuple[int, int]) -> Tensor:
    """The object (H, W) complex64 that the network alone makes of a scan.

    A network that sees the canvas looks at it from all eight sides. Patches are stitched, weighted by the light |P|²: a network
    that sees each pattern alone sees each once, one that sees the patterns of a group sees each with its nearest neighbours. Each
    is seen from another side than those before and after it, whose patches lie on its own: a mean over the sides for nothing.
    """
    if model.canvas_network is not None:
        return model.canvas_network.from_all_sides(first_sight(scan, object_shape))
    return _stitched(model, scan, job, object_shape)


def refined_object(model: PtychoModel, scan: ScanTensors, network: Tensor) -> Tensor | None:
    """The object (H, W) complex64 that the refiner makes of a scan and of the network's object (H, W); None without a refiner."""
    if model.refiner is None:
        return None
    return model.refiner.from_all_sides(second_sight(scan, network, model.refiner))


@torch.no_grad()
def _stitched(model: PtychoModel, scan: ScanTensors, job: JobConfig, object_shape: tuple[int, int]) -> Tensor:
    groups = nearest_groups(scan.positions_yx, job.group_size if model.mixes_channels else 1)
    stitcher = Stitcher(object_shape)
    sides = N_TURNS if job.training.augment else 1
    for turn in range(min(sides, len(groups))):
        for rows in in_batches(groups[turn::sides], job, scan.counts.device):
            probes, centers = scan.probes_of(rows), scan.centers[rows]
            stitcher.add(model(scan.counts[rows], probes, centers, turn), centers, probes.abs().square())
    return stitcher.result()[0].to(scan.counts.device)


def bounding_shape(scan: ScanTensors) -> tuple[int, int]:
    """The smallest object (H, W), from the origin, that holds every patch: for a scan whose object is unknown."""
    height, width = (scan.centers.amax(dim=0) + scan.counts.shape[-1] // 2).tolist()
    return height, width
