"""What the networks share: their first weights, and the frame around a predicted centre."""

from torch import Tensor, nn
from torch.nn import functional


def glorot_(layers: nn.Module, gain: float = 1.0) -> None:
    """Draw every convolution's weights by Glorot's uniform rule times a gain, and zero its bias, in place."""
    for module in layers.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.xavier_uniform_(module.weight, gain)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def pad_to_window(central: Tensor, margin_px: int, value: float) -> Tensor:
    """Surround images (..., n, n) with a frame `margin_px` wide."""
    return functional.pad(central, (margin_px,) * 4, value=value)
