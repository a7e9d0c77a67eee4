"""The two networks of the benchmark, layer by layer as a person writes them who wants nothing else: the limit is made of them.

They have the weights of the program's own, in the same order, so that one can be filled from the other.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

UNET_WIDTHS = (16, 32, 48, 64)


class BareBlock(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, padding=1)
        self.second = nn.Conv2d(after, after, 3, padding=1)
        self.shortcut = nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, before, H, W) -> (B, after, H, W)."""
        return functional.gelu(self.second(functional.gelu(self.first(x))) + self.shortcut(x))


class BareUNet(nn.Module):
    """Three channels in (back-projection, light), log amplitude and phase out."""

    def __init__(self, widths: tuple[int, ...] = UNET_WIDTHS, half: bool = False) -> None:
        super().__init__()
        self.half_precision = half
        self.down = nn.ModuleList([BareBlock(a, b) for a, b in zip((3, *widths[:-1]), widths, strict=True)])
        deep_first = widths[::-1]
        self.up = nn.ModuleList([BareBlock(a + b, b) for a, b in pairwise(deep_first)])
        self.head = nn.Conv2d(widths[0], 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 2, H, W)."""
        height, width = x.shape[-2:]
        multiple = 2 ** len(self.up)
        # Not `-side % multiple`: of sides that vary PyTorch 2.13's compiler cannot trace it.
        missing = [-(-side // multiple) * multiple - side for side in (width, height)]
        x = functional.pad(x, (0, missing[0], 0, missing[1])).contiguous(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.half_precision):
            skips = [self.down[0](x)]
            for block in self.down[1:]:
                skips.append(block(functional.avg_pool2d(skips[-1], 2)))
            x = skips.pop()
            for block in self.up:
                x = block(torch.cat((functional.interpolate(x, scale_factor=2.0), skips.pop()), dim=1))
        drawn: Tensor = self.head(x.float())
        return drawn[..., :height, :width]


def _convs(*widths: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
    return layers


class BareDecoder(nn.Module):
    """From 8 × 8 to the patch: a fine centre, a coarse frame."""

    def __init__(self, widths: tuple[int, ...], patches: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip(widths[:0:-1], widths[-2::-1], strict=True):
            layers += [*_convs(before, after, after), nn.Upsample(scale_factor=2.0)]
        self.stages = nn.Sequential(*layers)
        self.center_head = nn.Conv2d(widths[0], patches, 3, padding=1)
        self.frame_head = nn.Conv2d(widths[0], patches, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, W, 8, 8) -> (B, C, N, N)."""
        x = self.stages(x)
        margin = x.shape[-1] // 2
        out = functional.interpolate(self.frame_head(x), scale_factor=2.0)
        inside = slice(margin, -margin)
        out[..., inside, inside] = self.center_head(x)
        return out


class BareAutoEncoder(nn.Module):
    """`ptychopinn`: amplitude of diffraction in, amplitude and phase of patches out. For N = 64 the widths are 64, 128, 256."""

    def __init__(
        self, patches: int, widths: tuple[int, ...] = (64, 128, 256), half: bool = False, channels_last: bool = True
    ) -> None:
        super().__init__()
        self.half_precision = half
        self.channels_last = channels_last
        layers: list[nn.Module] = []
        for before, after in zip((patches, *widths[:-1]), widths, strict=True):
            layers += [*_convs(before, after, after), nn.MaxPool2d(2)]
        self.encoder = nn.Sequential(*layers)
        self.amplitude = BareDecoder(widths, patches)
        self.phase = BareDecoder(widths, patches)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, N, N) -> what amplitude and phase are made of, (B, C, N, N) each."""
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.half_precision):
            if self.channels_last:
                x = x.contiguous(memory_format=torch.channels_last)
                x = x.as_strided(x.shape, (x.stride(0), 1, x.shape[1] * x.shape[3], x.shape[1]))  # for a single channel, too
            code = self.encoder(x)
            return self.amplitude(code).float(), self.phase(code).float()
