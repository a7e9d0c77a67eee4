"""A U-Net over the whole canvas of a scan: it blends objects that it is shown, and adds what the counts still ask for.

    O = Σ_s w_s O_s + δ          w a softmax over the objects shown, pixel by pixel; δ complex

Shown one flat object it is an architecture of its own, `canvas_unet`: O = 1 + δ. A refiner is shown the first network's object
and those of a descent, from blurred and quiet to sharp and noisy, and learns which to believe where.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ptycho_torch.precision import Precision
from ptycho_torch.symmetries import N_TURNS, turned, turned_back
from ptycho_torch.unet import UNet

PULL_GAIN = 2.0
"""Brings the pull's standard deviation nearer 1."""


@dataclass(frozen=True, eq=False)
class CanvasSight:
    """What a canvas network sees of an exposure."""

    objects: Tensor
    """(S, H, W) complex; the last is what lies outside the box."""
    pull: Tensor
    """(H, W) complex, whither the counts pull the last object."""
    light: Tensor
    """(H, W) Σ|P|² over its highest value."""
    box: tuple[slice, slice]
    """The rows and columns that the network sees and predicts."""

    def features(self) -> Tensor:
        """(1, 2 S + 3, h, w): real and imaginary parts less those of a flat object, the pull's, and the light."""
        objects, pull = self.inside(self.objects), PULL_GAIN * self.inside(self.pull)
        layers = (objects.real - 1, objects.imag, torch.stack((pull.real, pull.imag, self.inside(self.light))))
        return torch.cat(layers)[None]

    def inside(self, images: Tensor) -> Tensor:
        """The box's part of images (..., H, W)."""
        return images[(..., *self.box)]


class CanvasUNet(nn.Module):
    """The network.

    Parameters
    ----------
    n_objects
        S, objects shown.
    widths
        Channels of each level.
    head_gain
        Shrinks the last layer's first weights, so that training starts at the mean of the objects.
    precision
        Of the convolutions.
    """

    def __init__(self, n_objects: int, widths: tuple[int, ...], head_gain: float, precision: Precision) -> None:
        super().__init__()
        self.n_objects = n_objects
        self.unet = UNet(2 * n_objects + 3, widths, n_objects + 2, head_gain, precision)

    def forward(self, sight: CanvasSight, turn: int = 0) -> Tensor:
        """The object (H, W), complex; the network looks at it turned in one of eight ways."""
        out = turned_back(self.unet(turned(sight.features(), turn)), turn)[0]
        weights = torch.softmax(out[: self.n_objects], dim=0)
        correction = torch.complex(out[self.n_objects], out[self.n_objects + 1])
        canvas = sight.objects[-1].clone()
        canvas[sight.box] = (weights * sight.inside(sight.objects)).sum(dim=0) + correction
        return canvas

    @torch.no_grad()
    def from_all_sides(self, sight: CanvasSight) -> Tensor:
        """The mean (H, W) of what it makes of the eight ways to look."""
        total = self(sight, 0)
        for turn in range(1, N_TURNS):
            total += self(sight, turn)
        mean: Tensor = total / N_TURNS
        return mean


class Refiner(CanvasUNet):
    """A second network that is shown what the first one made, and objects that a descent passes through.

    Parameters
    ----------
    n_passed
        Objects of the descent.
    sees_network
        Whether the first network's object is shown as well.
    """

    after_steps: Tensor
    """(n_passed,) int64, after how many steps the descent's objects are taken, ascending: found on the training scan, and kept
    with the weights, for another descent would be another input. Zeros before that."""

    def __init__(
        self, n_passed: int, sees_network: bool, widths: tuple[int, ...], head_gain: float, precision: Precision
    ) -> None:
        super().__init__(n_passed + sees_network, widths, head_gain, precision)
        self.sees_network = sees_network
        self.register_buffer("after_steps", torch.zeros(n_passed, dtype=torch.int64))
