"""Patches that overlap become one object: within a group while training, over a whole scan when stitching.

Both are weighted means with the same weights in numerator and denominator, so that whatever the weights are, patches cut from
one object give back that object and a flat object stays flat.

Axes: B groups, C patterns of a group, N×N pixels of a patch, H×W pixels of the object.
"""

import math
from typing import TypeAlias

import torch
from torch import Tensor

from ptycho_torch.physics import add_patches, patch_indices

CanvasSides: TypeAlias = tuple[int, int]
"""Height and width of a group's canvas [px]."""


def merge_group(patches: Tensor, centers_yx: Tensor, weights: Tensor) -> Tensor:
    """Make the patches of each group agree where they overlap.

    Each group's patches are averaged on a canvas of its own and cut again.

    Parameters
    ----------
    patches
        (B, C, N, N) real or complex.
    centers_yx
        (B, C, 2) int64 whole-pixel centres on the object.
    weights
        (B, C, N, N) real, positive.

    Returns
    -------
    (B, C, N, N) like `patches`; `patches` itself where C is 1.
    """
    if patches.shape[1] == 1:
        return patches
    canvas = GroupCanvas(centers_yx, patches.shape[-1])
    shares = weights / canvas.cut(canvas.sum(weights))
    return canvas.cut(canvas.sum(shares * patches))


class GroupCanvas:
    """A canvas for each group, all of one size, on which the group's patches lie as on the object.

    Parameters
    ----------
    centers_yx
        (B, C, 2) int64 whole-pixel centres on the object.
    patch_size
        N.
    sides
        Height and width, which hold every group; None: as small as does.
    """

    def __init__(self, centers_yx: Tensor, patch_size: int, sides: CanvasSides | None = None) -> None:
        corners = centers_yx - centers_yx.amin(dim=1, keepdim=True)
        height, width = (corners.amax(dim=(0, 1)) + patch_size).tolist() if sides is None else sides
        self.shape = (centers_yx.shape[0], height, width)
        # One below the other the canvases are one that is as high as all of them.
        corners[..., 0] += height * torch.arange(centers_yx.shape[0], device=centers_yx.device)[:, None]
        self._indices = patch_indices(corners.flatten(0, 1) + patch_size // 2, patch_size, width).flatten()
        self._patches_shape = (*centers_yx.shape[:2], patch_size, patch_size)

    def sum(self, patches: Tensor) -> Tensor:
        """Patches (B, C, N, N) added up where they lie: (B, H, W), 0 where none lies."""
        canvas = torch.zeros(math.prod(self.shape), dtype=patches.dtype, device=patches.device)
        return canvas.scatter_add(0, self._indices, patches.flatten()).view(self.shape)

    def cut(self, canvases: Tensor) -> Tensor:
        """The adjoint of `sum`: the patches (B, C, N, N) of canvases (B, H, W)."""
        return canvases.flatten().gather(0, self._indices).view(self._patches_shape)


class Stitcher:
    """The weighted mean of patches over the whole object, gathered chunk by chunk in double precision on the CPU.

    Parameters
    ----------
    object_shape
        (H, W) [px].
    """

    def __init__(self, object_shape: tuple[int, int]) -> None:
        self._weighted = torch.zeros(object_shape, dtype=torch.complex128)
        self._weight = torch.zeros(object_shape, dtype=torch.float64)

    def add(self, patches: Tensor, centers_yx: Tensor, weights: Tensor) -> None:
        """Add patches (..., N, N) about centres (..., 2) with non-negative weights (..., N, N)."""
        size = patches.shape[-1]
        centers = centers_yx.reshape(-1, 2).cpu()
        weighted, weight = (patches * weights).reshape(-1, size, size), weights.reshape(-1, size, size)
        corner = centers.amin(dim=0) - size // 2
        height, width = (centers.amax(dim=0) - centers.amin(dim=0) + size).tolist()
        # Only where these patches lie: a canvas of a large scan is not gone through for every few of them.
        (top, left), inside = corner.tolist(), (height, width)
        box = (slice(top, top + height), slice(left, left + width))
        self._weighted[box] += add_patches(weighted.cpu().to(torch.complex128), centers - corner, inside)
        self._weight[box] += add_patches(weight.cpu().to(torch.float64), centers - corner, inside)

    def result(self) -> tuple[Tensor, Tensor]:
        """The object (H, W) complex64, 1 where no patch lay, and the summed weights (H, W) float32."""
        seen = self._weight > 0
        mean = self._weighted / torch.where(seen, self._weight, 1.0)
        return torch.where(seen, mean, 1.0).to(torch.complex64), self._weight.float()


def stitch(patches: Tensor, centers_yx: Tensor, weights: Tensor, object_shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Average overlapping patches on the object they were cut from.

    Parameters
    ----------
    patches
        (..., N, N) complex.
    centers_yx
        (..., 2) int64.
    weights
        (..., N, N) real, not negative.
    object_shape
        (H, W) [px].

    Returns
    -------
    The object (H, W) complex64, 1 where no patch lay, and the summed weights (H, W) float32.
    """
    stitcher = Stitcher(object_shape)
    stitcher.add(patches, centers_yx, weights)
    return stitcher.result()
