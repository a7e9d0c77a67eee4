"""What a trained model makes of a scan: by its network alone, and refined."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ptycho_torch.adaptation import adapted
from ptycho_torch.canvas_sight import second_sight
from ptycho_torch.config import JobConfig
from ptycho_torch.data_consistency import light_on_canvas
from ptycho_torch.dataset import ScanTensors
from ptycho_torch.evaluation import Box, evaluation_box
from ptycho_torch.model import PtychoModel
from ptycho_torch.network_object import network_object
from ptycho_torch.npz_archive import AnyArray, write_arrays


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

    def arrays(self, truth: npt.NDArray[np.complex64] | None) -> dict[str, AnyArray]:
        """`object`, `weight`, `box` (top, bottom, left, right) and, where known, `refined`, and `truth` inside the box."""
        arrays = {"object": self.object_yx, "weight": self.weight, "box": np.array(list(self.box.as_dict().values()))}
        optional = {"refined": self.refined_yx, "truth": None if truth is None else self.box.cut(truth)}
        return arrays | {name: array for name, array in optional.items() if array is not None}

    def save(self, path: Path, truth: npt.NDArray[np.complex64] | None) -> None:
        """Write an NPZ of `arrays`."""
        write_arrays(path, self.arrays(truth))


def reconstruct(model: PtychoModel, scan: ScanTensors, job: JobConfig, object_shape: tuple[int, int]) -> Reconstruction:
    """What a model makes of a scan, all photons fed."""
    network = network_object(model, scan, job, object_shape)
    refined = refined_object(model, scan, job, network)
    return Reconstruction(
        object_yx=network.cpu().numpy(),
        refined_yx=None if refined is None else refined.cpu().numpy(),
        weight=light_on_canvas(scan, object_shape).cpu().numpy(),
        box=evaluation_box(scan.positions_yx, object_shape, scan.counts.shape[-1]),
    )


def refined_object(
    model: PtychoModel, scan: ScanTensors, job: JobConfig, network: Tensor, *, known: bool = False
) -> Tensor | None:
    """The object (H, W) complex64 that the refiner makes of a scan and of the network's object (H, W); None without a refiner.

    The refiner first goes on learning on this very scan, as long as its configuration says, unless it is `known`: the one that
    the refiner has learnt on.
    """
    if model.refiner is None:
        return None
    refiner = model.refiner if known else adapted(model, scan, job)
    return refiner.from_all_sides(second_sight(scan, network, refiner))
