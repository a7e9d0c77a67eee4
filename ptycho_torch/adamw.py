"""AdamW: Adam whose weights shrink by themselves [Loshchilov & Hutter, ICLR 2019, algorithm 2].

The arithmetic of `torch.optim.AdamW`, to the bit. Making one of those loads PyTorch's compiler, which nothing here uses and
which costs a job as long to start as PyTorch itself.
"""

import math
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

BETAS = (0.9, 0.99)
EPSILON = 1e-8


class AdamW:
    """The optimizer of a module's weights; `rate` is the learning rate of the next step."""

    def __init__(self, learner: nn.Module, *, rate: float, weight_decay: float) -> None:
        self.rate = rate
        self._weight_decay = weight_decay
        self._weights = dict(learner.named_parameters())
        self._steps = dict.fromkeys(self._weights, 0)
        self._means = {name: torch.zeros_like(weight) for name, weight in self._weights.items()}
        self._squares = {name: torch.zeros_like(weight) for name, weight in self._weights.items()}

    def forget_gradients(self) -> None:
        """The next backward pass begins from nothing."""
        for weight in self._weights.values():
            weight.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move every weight that has a gradient: all of them by one call for each operation, for most are small."""
        moved = {name: weight for name, weight in self._weights.items() if weight.grad is not None}
        for name in moved:
            self._steps[name] += 1
        if moved:
            self._move(list(moved), list(moved.values()))

    def _move(self, names: list[str], weights: list[Tensor]) -> None:
        gradients = [cast(Tensor, weight.grad) for weight in weights]
        means, squares = ([moments[name] for name in names] for moments in (self._means, self._squares))
        mean_biases, square_biases = ([1 - beta ** self._steps[name] for name in names] for beta in BETAS)
        kept, faded = (torch.tensor(one, device=weights[0].device) for one in (1 - self.rate * self._weight_decay, BETAS[1]))
        torch._foreach_mul_(weights, kept)  # by a tensor, for a number is made one for each weight anew
        torch._foreach_lerp_(means, gradients, 1 - BETAS[0])
        torch._foreach_mul_(squares, faded)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - BETAS[1])
        spreads = torch._foreach_sqrt(squares)
        torch._foreach_div_(spreads, [math.sqrt(bias) for bias in square_biases])
        torch._foreach_add_(spreads, EPSILON)
        torch._foreach_addcdiv_(weights, means, spreads, [-(self.rate / bias) for bias in mean_biases])

    def moments(self) -> dict[str, Tensor]:
        """What the next steps depend on beside the weights: `<weight>.step`, `.exp_avg` and `.exp_avg_sq`, not copied."""
        found: dict[str, Tensor] = {}
        for name in (name for name, step in self._steps.items() if step):
            found[f"{name}.step"] = torch.tensor(float(self._steps[name]))
            found[f"{name}.exp_avg"] = self._means[name]
            found[f"{name}.exp_avg_sq"] = self._squares[name]
        return found

    def restore(self, moments: Mapping[str, Tensor]) -> None:
        """Go on where the optimizer was that these `moments` are of."""
        for name in (key.removesuffix(".step") for key in moments if key.endswith(".step")):
            self._steps[name] = int(moments[f"{name}.step"])
            self._means[name].copy_(moments[f"{name}.exp_avg"])
            self._squares[name].copy_(moments[f"{name}.exp_avg_sq"])
