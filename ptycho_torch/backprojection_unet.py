"""A small U-Net that refines a back-projected image: of each pattern alone, or of the patterns of a group on one canvas.

Patterns of a group overlap, so their back-projections add up where they lie: the network sees C times the photons and is run
once a group. It predicts the canvas but for a frame an eighth of a window wide, where hardly a photon falls and the object is 1.
About 240 thousand parameters with the four levels that are usual.
"""

import math

import torch
from torch import Tensor, nn

from ptycho_torch.back_projection import back_project
from ptycho_torch.network_parts import pad_to_window
from ptycho_torch.physics import Illumination, intensity
from ptycho_torch.precision import Precision
from ptycho_torch.reassembly import CanvasSides, GroupCanvas
from ptycho_torch.symmetries import turned, turned_back
from ptycho_torch.unet import UNet

INPUT_GAIN = 4.0
"""Brings the image's standard deviation nearer 1: measured 0.4 to 0.8 for a Siemens star, 0.06 to 0.6 for weaker objects."""
LOG_AMPLITUDE_LIMIT = 0.7
"""|log amplitude| stays below this: amplitudes of 0.5 to 2."""


class BackProjectionUNet(nn.Module):
    """Back-projection, then a U-Net whose two outputs are log amplitude and phase.

    Parameters
    ----------
    patch_size_px
        N.
    widths
        Channels of each level.
    head_gain
        Shrinks the last layer's first weights, so that training starts at O = 1.
    precision
        Of the convolutions.
    mixes_channels
        True: the network sees the patterns of a group on one canvas. False: each alone.
    """

    def __init__(
        self, patch_size_px: int, widths: tuple[int, ...], head_gain: float, precision: Precision, *, mixes_channels: bool
    ) -> None:
        super().__init__()
        self.mixes_channels = mixes_channels
        self.patches_agree = mixes_channels
        self.margin_px = patch_size_px // 8
        self.unet = UNet(3, widths, 2, head_gain, precision)

    def forward(
        self,
        counts: Tensor,
        illumination: Illumination,
        centers_yx: Tensor,
        turn: int = 0,
        canvas_px: CanvasSides | None = None,
    ) -> Tensor:
        """Patches of groups of patterns: see `PatchNetwork`."""
        images, light = back_project(counts, illumination), intensity(illumination.probes)
        if not self.mixes_channels:
            return self._drawn(images.flatten(0, 1), light.flatten(0, 1), turn).view(counts.shape)
        canvas = GroupCanvas(centers_yx, counts.shape[-1], canvas_px)
        return canvas.cut(self._drawn(canvas.sum(images), canvas.sum(light), turn))

    def _drawn(self, images: Tensor, light: Tensor, turn: int) -> Tensor:
        """The object (B, H, W) under back-projections (B, H, W) and their light."""
        m = self.margin_px
        features = turned(_features(images, light)[..., m:-m, m:-m], turn)
        return pad_to_window(_transmission(turned_back(self.unet(features), turn)), m, 1.0)


def _features(image: Tensor, light: Tensor) -> Tensor:
    """(B, 3, H, W): the back-projection's two parts, and where the light is; the same scale at every dose."""
    brightest = light.amax(dim=(-2, -1), keepdim=True)
    scaled = INPUT_GAIN * image / brightest
    return torch.stack((scaled.real, scaled.imag, light / brightest), dim=1)


def _transmission(out: Tensor) -> Tensor:
    log_amplitude, phase = out.unbind(dim=1)
    log_amplitude = LOG_AMPLITUDE_LIMIT * torch.tanh(log_amplitude)
    return torch.polar(torch.exp(log_amplitude), math.pi * torch.tanh(phase / math.pi))
