"""AdamW: Adam whose weights shrink by themselves [Loshchilov & Hutter, ICLR 2019, algorithm 2].

The arithmetic of `torch.optim.AdamW`, to the bit. Making one of those loads PyTorch's compiler, which nothing here uses and
which costs a job as long to start as PyTorch itself.
"""

import math
from collections.abc import Mapping

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
        """Move every weight that has a gradient."""
        for name, weight in self._weights.items():
            if weight.grad is not None:
                self._steps[name] += 1
                self._move(weight, weight.grad, self._means[name], self._squares[name], self._steps[name])

    def _move(self, weight: Tensor, gradient: Tensor, mean: Tensor, square: Tensor, step: int) -> None:
        weight.mul_(1 - self.rate * self._weight_decay)
        mean.lerp_(gradient, 1 - BETAS[0])
        square.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
        mean_bias, square_bias = (1 - beta**step for beta in BETAS)
        spread = (square.sqrt() / math.sqrt(square_bias)).add_(EPSILON)
        weight.addcdiv_(mean, spread, value=-(self.rate / mean_bias))

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
