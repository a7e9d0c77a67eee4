"""PtychoPINN's network: an auto-encoder that takes the patterns of a group as channels and answers with as many patches.

An encoder of the diffraction amplitude, and a decoder each for amplitude and phase, without skips. A decoder's fine head draws
the central N/2 × N/2 pixels, where the light is; a coarse head draws the frame around them, as a probe larger than N/2 needs.
Architecture after Hoidn, Mishra and Mehta, Sci. Rep. 13, 22789 (2023).
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from ptycho_torch.network_parts import channels_last, glorot_
from ptycho_torch.physics import Illumination, intensity
from ptycho_torch.precision import Precision, in_precision
from ptycho_torch.reassembly import CanvasSides

BOTTLENECK_PX = 8
NARROWEST = {32: 64, 64: 32, 128: 16, 256: 8}
"""Channels of the first stage, by patch size, at scale 1; each next stage has twice as many, 128 at the bottleneck."""

RELU_GAIN = nn.init.calculate_gain("relu")
"""Makes up for the half of the mean square that a ReLU takes. Without it, a 128th of the input is left after the fourteen layers
of a network on 128 × 128 pixels, and hundreds of steps change nothing."""


def stage_widths(patch_size_px: int, scale: int) -> tuple[int, ...]:
    """Channels of each encoder stage, from the pattern to the 8×8 bottleneck."""
    stages = int(math.log2(patch_size_px // BOTTLENECK_PX))
    return tuple(scale * NARROWEST[patch_size_px] * 2**stage for stage in range(stages))


def _double_conv(channels_in: int, channels_out: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels_in, channels_out, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(channels_out, channels_out, 3, padding=1),
        nn.ReLU(),
    ]


def _encoder(channels_in: int, widths: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, width in zip((channels_in, *widths), widths, strict=False):
        layers += [*_double_conv(before, width), nn.MaxPool2d(2)]
    return nn.Sequential(*layers)


class Decoder(nn.Module):
    """From the bottleneck to one unbounded image (N, N) a pattern."""

    def __init__(self, widths: tuple[int, ...], channels_out: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, width in zip(widths[::-1], widths[-2::-1], strict=False):
            layers += [*_double_conv(before, width), nn.Upsample(scale_factor=2.0, mode="nearest")]
        self.stages = nn.Sequential(*layers)
        self.center_head = nn.Conv2d(widths[0], channels_out, 3, padding=1)
        self.frame_head = nn.Conv2d(widths[0], channels_out, 3, padding=1)

    def forward(self, code: Tensor) -> Tensor:
        """(B, W, 8, 8) -> (B, C, N, N)."""
        features = self.stages(code)
        patches = functional.interpolate(self.frame_head(features), scale_factor=2.0, mode="nearest")
        margin = features.shape[-1] // 2
        patches[..., margin:-margin, margin:-margin] = self.center_head(features)
        return patches


class PtychoPINN(nn.Module):
    """The auto-encoder; amplitude 2·sigmoid (0 to 2), phase π·tanh, both starting near O = 1.

    Parameters
    ----------
    patch_size_px
        N.
    group_size
        C, patterns in and patches out.
    n_filters_scale
        Width factor.
    head_gain
        Shrinks the last layers' first weights, so that training starts at O = 1.
    precision
        Of the convolutions.
    """

    mixes_channels = True
    patches_agree = False

    def __init__(self, patch_size_px: int, group_size: int, n_filters_scale: int, head_gain: float, precision: Precision) -> None:
        super().__init__()
        self._precision = precision
        widths = stage_widths(patch_size_px, n_filters_scale)
        self.encoder = _encoder(group_size, widths)
        self.amplitude = Decoder(widths, group_size)
        self.phase = Decoder(widths, group_size)
        glorot_(self)
        for layers in (self.encoder, self.amplitude.stages, self.phase.stages):
            glorot_(layers, RELU_GAIN)
        with torch.no_grad():
            for decoder in (self.amplitude, self.phase):
                decoder.center_head.weight.mul_(head_gain)
                decoder.frame_head.weight.mul_(head_gain)

    def forward(
        self,
        counts: Tensor,
        illumination: Illumination,
        centers_yx: Tensor,
        turn: int = 0,
        canvas_px: CanvasSides | None = None,
    ) -> Tensor:
        """Patches of groups of patterns: see `PatchNetwork`. It sees counts alone, and no image that could be turned."""
        images = channels_last(_normalized_amplitude(counts, illumination.probes))
        with in_precision(self._precision, counts.device):
            code = self.encoder(images)
            amplitude, phase = self.amplitude(code), self.phase(code)
        return torch.polar(2 * torch.sigmoid(amplitude.float()), math.pi * torch.tanh(phase.float()))


def _normalized_amplitude(counts: Tensor, probes: Tensor) -> Tensor:
    """sqrt(counts), zero frequency at the centre, such that the expected Σx² of an empty field of view is (N/2)²."""
    exposure = intensity(probes).sum(dim=(-2, -1), keepdim=True)
    amplitude = torch.sqrt(counts / exposure) * (counts.shape[-1] / 2)
    centered: Tensor = torch.fft.fftshift(amplitude, dim=(-2, -1))
    return centered
