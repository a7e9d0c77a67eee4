"""The U-Net that every architecture but `ptychopinn` is built on."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from ptycho_torch.network_parts import channels_last, glorot_
from ptycho_torch.precision import Precision, in_precision


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.second = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.shortcut = nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels_in, H, W) -> (B, channels_out, H, W)."""
        inner = self.second(functional.gelu(self.first(images)))
        return functional.gelu(inner + self.shortcut(images))


class UNet(nn.Module):
    """An encoder and a decoder with skips.

    Parameters
    ----------
    widths
        Channels of each level; each but the first has half the pixels of the one above.
    head_gain
        Shrinks the last layer's first weights (Glorot's otherwise), so that training starts at outputs near 0.
    precision
        Of all layers but the last, whose outputs are an image.
    """

    def __init__(
        self, channels_in: int, widths: tuple[int, ...], channels_out: int, head_gain: float, precision: Precision
    ) -> None:
        super().__init__()
        self._precision = precision
        self.down = nn.ModuleList(map(ResidualBlock, (channels_in, *widths[:-1]), widths))
        below, beside = widths[:0:-1], widths[-2::-1]
        self.up = nn.ModuleList(ResidualBlock(deep + skip, skip) for deep, skip in zip(below, beside, strict=True))
        self.head = nn.Conv2d(widths[0], channels_out, 1)
        glorot_(self)
        with torch.no_grad():
            self.head.weight.mul_(head_gain)

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels_in, H, W) -> (B, channels_out, H, W); sides that can't be halved as often are padded with zeros."""
        height, width = images.shape[-2:]
        multiple = 2 ** len(self.up)
        padded = functional.pad(images, (0, -width % multiple, 0, -height % multiple))
        with in_precision(self._precision, images.device):
            features = self._pass(channels_last(padded))
        out: Tensor = self.head(features.float())
        return out[..., :height, :width]

    def _pass(self, images: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            images = block(functional.avg_pool2d(images, 2) if level else images)
            skips.append(images)
        skips.pop()
        for block in self.up:
            larger = functional.interpolate(images, scale_factor=2.0, mode="nearest")
            images = block(torch.cat((larger, skips.pop()), dim=1))
        return images
