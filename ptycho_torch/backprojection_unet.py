"""A small U-Net that refines the back-projected pattern: each pattern alone, about 100 thousand parameters.

It sees and predicts the central three quarters of the window; further out hardly a photon falls and the object is 1.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from ptycho_torch.back_projection import back_project
from ptycho_torch.network_parts import glorot_, pad_to_window

HEAD_GAIN = 0.05
"""Shrinks the last layer's first weights, so that training starts at O = 1."""
INPUT_GAIN = 4.0
"""Brings the image's standard deviation nearer 1: measured 0.4 to 0.8 for a Siemens star, 0.06 to 0.6 for weaker objects."""
LOG_AMPLITUDE_LIMIT = 0.7
"""|log amplitude| stays below this: amplitudes of 0.5 to 2."""


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
    """An encoder and a decoder with skips; heights and widths must divide by 2^(levels - 1)."""

    def __init__(self, channels_in: int, widths: tuple[int, ...], channels_out: int) -> None:
        super().__init__()
        self.down = nn.ModuleList(map(ResidualBlock, (channels_in, *widths[:-1]), widths))
        below, beside = widths[:0:-1], widths[-2::-1]
        self.up = nn.ModuleList(ResidualBlock(deep + skip, skip) for deep, skip in zip(below, beside, strict=True))
        self.head = nn.Conv2d(widths[0], channels_out, 1)

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels_in, H, W) -> (B, channels_out, H, W)."""
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            images = block(functional.avg_pool2d(images, 2) if level else images)
            skips.append(images)
        skips.pop()
        for block in self.up:
            larger = functional.interpolate(images, scale_factor=2.0, mode="nearest")
            images = block(torch.cat((larger, skips.pop()), dim=1))
        out: Tensor = self.head(images)
        return out


class BackProjectionUNet(nn.Module):
    """Back-projection, then a U-Net whose two outputs are log amplitude and phase.

    Parameters
    ----------
    patch_size_px
        N; three quarters of it must divide by 2^(levels - 1).
    widths
        Channels of each level.
    """

    mixes_channels = False

    def __init__(self, patch_size_px: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.margin_px = patch_size_px // 8
        self.unet = UNet(3, widths, 2)
        glorot_(self)
        with torch.no_grad():
            self.unet.head.weight.mul_(HEAD_GAIN)

    def forward(self, counts: Tensor, probes: Tensor) -> Tensor:
        """Photon counts (B, C, N, N), zero frequency at the corner, and probes (B, C, N, N) of the same exposure -> patches."""
        features = self._features(counts.flatten(0, 1), probes.flatten(0, 1))
        log_amplitude, phase = self.unet(features).unbind(dim=1)
        log_amplitude = LOG_AMPLITUDE_LIMIT * torch.tanh(log_amplitude)
        phase = math.pi * torch.tanh(phase / math.pi)
        central = torch.polar(torch.exp(log_amplitude), phase)
        return pad_to_window(central, self.margin_px, 1.0).view(counts.shape)

    def _features(self, counts: Tensor, probes: Tensor) -> Tensor:
        """(B, 3, n, n): the back-projection's two parts, and where the light is; the same scale at every dose."""
        light = probes.abs().square()
        brightest = light.amax(dim=(-2, -1), keepdim=True)
        image = INPUT_GAIN * back_project(counts, probes) / brightest
        stacked = torch.stack((image.real, image.imag, light / brightest), dim=1)
        m = self.margin_px
        # Channels last, and every layer follows: a fifth less time on a CPU.
        return stacked[..., m:-m, m:-m].contiguous(memory_format=torch.channels_last)
