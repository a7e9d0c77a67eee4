"""What the networks share: their first weights, and the frame around a predicted centre."""

from torch import Tensor, nn
from torch.nn import functional


def glorot_(network: nn.Module) -> None:
    """Draw every convolution's weights by Glorot's uniform rule and zero its bias, in place."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def pad_to_window(central: Tensor, margin_px: int, value: float) -> Tensor:
    """Surround images (..., n, n) with a frame `margin_px` wide."""
    return functional.pad(central, (margin_px,) * 4, value=value)
