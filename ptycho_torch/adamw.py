"""AdamW: Adam whose weights shrink by themselves [Loshchilov & Hutter, ICLR 2019, algorithm 2].

The kernel of `torch.optim.AdamW(fused=True)`, which goes over everything once. Making one of those loads PyTorch's compiler,
which nothing here uses and which costs a job as long to start as PyTorch itself.
"""

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

    def gradient_norm(self) -> float:
        """The norm of all gradients together."""
        gradients = list(self._gradients().values())
        return float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))) if gradients else 0.0

    @torch.no_grad()
    def step(self, gradient_divisor: float = 1.0) -> None:
        """Move every weight that has a gradient, by the gradient over a divisor."""
        gradients = self._gradients()
        for name in gradients:
            self._steps[name] += 1
        if gradient_divisor != 1:
            torch._foreach_div_(list(gradients.values()), gradient_divisor)
        if gradients:
            self._move(gradients)

    def _gradients(self) -> dict[str, Tensor]:
        return {name: weight.grad for name, weight in self._weights.items() if weight.grad is not None}

    def _move(self, gradients: dict[str, Tensor]) -> None:
        names = list(gradients)
        device = gradients[names[0]].device
        counts = {count: torch.tensor(float(count), device=device) for count in {self._steps[name] for name in names}}
        torch._fused_adamw_(
            [self._weights[name] for name in names],
            list(gradients.values()),
            [self._means[name] for name in names],
            [self._squares[name] for name in names],
            [],
            [counts[self._steps[name]] for name in names],
            lr=self.rate,
            beta1=BETAS[0],
            beta2=BETAS[1],
            weight_decay=self._weight_decay,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )

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
