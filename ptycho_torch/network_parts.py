"""What the networks share: their first weights, how images lie in memory, and the frame around a predicted centre."""

import torch
from torch import Tensor, nn
from torch.nn import functional


def glorot_(layers: nn.Module, gain: float = 1.0) -> None:
    """Draw every convolution's weights by Glorot's uniform rule times a gain, and zero its bias, in place."""
    for module in layers.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.xavier_uniform_(module.weight, gain)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def channels_last(images: Tensor) -> Tensor:
    """Images (B, C, H, W) as convolutions on a CPU are quickest with: the channels of a pixel beside each other.

    Every layer after keeps to it. A single channel lies the same either way, and its strides alone tell PyTorch which is meant.
    """
    lying = images.contiguous(memory_format=torch.channels_last)
    _, channels, height, width = lying.shape
    return lying.as_strided(lying.shape, (channels * height * width, 1, channels * width, channels))


def pad_to_window(central: Tensor, margin_px: int, value: float) -> Tensor:
    """Surround images (..., n, n) with a frame `margin_px` wide."""
    return functional.pad(central, (margin_px,) * 4, value=value)
