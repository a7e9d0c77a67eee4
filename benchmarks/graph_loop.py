"""The limit on a GPU: the bare loop with its network compiled, and a whole step recorded as a CUDA graph."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from bare_loop import BETAS, BareBatch, BareLoop
from torch import Tensor, nn

WARM_UP_STEPS = 3
"""Before a step is recorded, as CUDA graphs need."""


class GraphLoop(BareLoop):
    """As `BareLoop`; a step copies its batch to where a graph reads, and replays. There is a graph for each form of batch."""

    def __init__(self, architecture: str, network: nn.Module, *, weight_decay: float, clip_norm: float) -> None:
        super().__init__(architecture, network, weight_decay=weight_decay, clip_norm=clip_norm)
        self.called = cast(nn.Module, torch.compile(network))
        rate = torch.zeros((), device=next(network.parameters()).device)
        self.optimizer = torch.optim.AdamW(
            network.parameters(), lr=rate, betas=BETAS, weight_decay=weight_decay, capturable=True, fused=True
        )
        self.rate = rate
        self.recorded: dict[tuple[object, ...], tuple[torch.cuda.CUDAGraph, BareBatch, Tensor]] = {}

    def step(self, batch: BareBatch) -> float:
        """One step; its loss."""
        form = (batch.turn, batch.canvas_shape)
        if form not in self.recorded:
            self.recorded[form] = self._record(batch)
        graph, read, loss = self.recorded[form]
        for name in ("fed", "held", "fed_probes", "held_probes", "on_canvas"):
            getattr(read, name).copy_(getattr(batch, name))
        self.rate.fill_(batch.rate)
        graph.replay()
        return loss.item()

    def _record(self, batch: BareBatch) -> tuple[torch.cuda.CUDAGraph, BareBatch, Tensor]:
        tensors = {name: getattr(batch, name).clone() for name in ("fed", "held", "fed_probes", "held_probes", "on_canvas")}
        read = BareBatch(canvas_shape=batch.canvas_shape, turn=batch.turn, rate=batch.rate, **tensors)
        graph = torch.cuda.CUDAGraph()
        with rehearsal(self.optimizer):
            beside = torch.cuda.Stream()
            beside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(beside):
                for _ in range(WARM_UP_STEPS):
                    self.descend(read)
            torch.cuda.current_stream().wait_stream(beside)
            with torch.cuda.graph(graph):
                loss = self.descend(read)
        return graph, read, loss


@contextmanager
def rehearsal(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Steps that are made inside leave weights and moments as they were, where they lie: a graph keeps their addresses."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    earlier = [weight.detach().clone() for weight in weights]
    moments = [{name: value.clone() for name, value in optimizer.state[weight].items()} for weight in weights]
    yield
    with torch.no_grad():
        for weight, value, known in zip(weights, earlier, moments, strict=True):
            weight.copy_(value)
            for name, moment in optimizer.state[weight].items():
                moment.copy_(known[name] if name in known else torch.zeros_like(moment))
