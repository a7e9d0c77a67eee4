"""What the networks share: their first weights, their precision, and the frame around a predicted centre."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Precision = Literal["float32", "bfloat16"]


def glorot_(network: nn.Module) -> None:
    """Draw every convolution's weights by Glorot's uniform rule and zero its bias, in place."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def in_precision(precision: Precision, device: torch.device) -> torch.autocast:
    """The context in which convolutions are computed in bfloat16, or in float32 as they are."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def pad_to_window(central: Tensor, margin_px: int, value: float) -> Tensor:
    """Surround images (..., n, n) with a frame `margin_px` wide."""
    return functional.pad(central, (margin_px,) * 4, value=value)
