"""What the networks that look at a whole canvas are shown of a scan's exposure."""

from itertools import islice

import torch
from torch import Tensor

from ptycho_torch.canvas_unet import CanvasSight, Refiner
from ptycho_torch.data_consistency import Pull
from ptycho_torch.dataset import ScanTensors


@torch.no_grad()
def first_sight(scan: ScanTensors, object_shape: tuple[int, int]) -> CanvasSight:
    """For `canvas_unet`: a flat object, and whither the counts pull it, which is the back-projection of all patterns."""
    pull = Pull(scan, object_shape)
    return _sight(scan, pull, scan.flat_object(object_shape)[None])


@torch.no_grad()
def second_sight(scan: ScanTensors, network_object: Tensor, refiner: Refiner) -> CanvasSight:
    """For a refiner: the network's object (H, W), where it is to see that, and the objects of a descent from a flat one."""
    object_shape = (network_object.shape[0], network_object.shape[1])
    pull = Pull(scan, object_shape)
    wanted = refiner.after_steps.tolist()
    descent = enumerate(islice(pull.descend(scan.flat_object(object_shape)), wanted[-1] + 1))
    passed = {steps: current for steps, current in descent if steps in wanted}
    shown = [network_object] * refiner.sees_network + [passed[steps] for steps in wanted]
    return _sight(scan, pull, torch.stack(shown))


def _sight(scan: ScanTensors, pull: Pull, objects: Tensor) -> CanvasSight:
    light = pull.light / pull.light.amax()
    return CanvasSight(objects, pull(objects[-1]), light, _box(scan, (light.shape[0], light.shape[1])))


def _box(scan: ScanTensors, object_shape: tuple[int, int]) -> tuple[slice, slice]:
    """Where the beam went, and three eighths of a window around: further out hardly a photon falls."""
    reach = scan.counts.shape[-1] * 3 // 8
    low = (scan.centers.amin(dim=0) - reach).clamp(min=0).tolist()
    high = (scan.centers.amax(dim=0) + reach).tolist()
    return slice(low[0], min(high[0], object_shape[0])), slice(low[1], min(high[1], object_shape[1]))
