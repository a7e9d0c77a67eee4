"""The limit on a GPU: the bare loop with its network compiled, and a whole step recorded as a CUDA graph."""

from collections.abc import Sequence
from typing import TypeAlias, cast

import torch
from bare_loop import BETAS, BareBatch, BareLoop, rehearsal
from torch import Tensor, nn

WARM_UP_STEPS = 3
"""Before a step is recorded, as CUDA graphs need."""
_READ = ("fed", "held", "fed_probes", "held_probes", "on_canvas")
"""What of a batch a graph reads."""
_Recorded: TypeAlias = tuple[torch.cuda.CUDAGraph, BareBatch, Tensor]
"""A graph, the batch that it reads, and where it leaves the loss."""


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
        self.memory = torch.cuda.graph_pool_handle()
        """That of all graphs: one is replayed after the other, and nothing of an earlier one is read any more."""
        self.recorded: dict[tuple[object, ...], _Recorded] = {}

    def prepare(self, batches: Sequence[BareBatch]) -> None:
        """Compile, and record a step on a batch of every form."""
        for batch in batches:
            self._recorded(batch)

    def step(self, batch: BareBatch) -> float:
        """One step; its loss."""
        graph, read, loss = self._recorded(batch)
        for name in _READ:
            getattr(read, name).copy_(getattr(batch, name))
        self.rate.fill_(batch.rate)
        graph.replay()
        return loss.item()

    def _recorded(self, batch: BareBatch) -> _Recorded:
        form = (batch.turn, batch.canvas_shape)
        if form not in self.recorded:
            self.recorded[form] = self._record(batch)
        return self.recorded[form]

    def _record(self, batch: BareBatch) -> _Recorded:
        tensors = {name: getattr(batch, name).clone() for name in _READ}
        read = BareBatch(canvas_shape=batch.canvas_shape, turn=batch.turn, rate=batch.rate, **tensors)
        graph = torch.cuda.CUDAGraph()
        with rehearsal(self.optimizer):
            beside = torch.cuda.Stream()
            beside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(beside):
                for _ in range(WARM_UP_STEPS):
                    self.descend(read)
            torch.cuda.current_stream().wait_stream(beside)
            with torch.cuda.graph(graph, pool=self.memory):
                loss = self.descend(read)
        return graph, read, loss
