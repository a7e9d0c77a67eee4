"""The limit: a training loop with the same layers, loss and physics over tensors that lie ready, and nothing else.

No checkpoint, no log, no validation, nobody who may stop it; photons are parted, groups drawn and probes moved beforehand.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from bare_networks import BareAutoEncoder, BareUNet
from torch import Tensor, nn

BETAS = (0.9, 0.99)
WEIGHT_FLOOR = 1e-3


@dataclass(frozen=True)
class BareBatch:
    """What a step reads: B groups of C patterns of N × N."""

    fed: Tensor
    """(B, C, N, N) photons that the network sees."""
    held: Tensor
    """(B, C, N, N) photons that score it."""
    fed_probes: Tensor
    """(B, C, N, N) complex, the light of the fed photons."""
    held_probes: Tensor
    canvas_shape: tuple[int, int, int]
    """(B, H, W), on which the groups' patches lie."""
    on_canvas: Tensor
    """(B, C, N, N) int64: where on the canvases, flat."""
    turn: int
    """0 to 7: in which way the U-Net looks at its image."""
    rate: float


def bare_batch(
    parts: tuple[Tensor, Tensor], probes: Tensor, centers: Tensor, fed_share: float, turn: int, rate: float
) -> BareBatch:
    """Everything of a step that does not depend on weights.

    Parameters
    ----------
    parts
        Fed and held photons, (B, C, N, N).
    probes
        (B, C, N, N) complex of the whole exposure.
    centers
        (B, C, 2) int64.
    """
    size = probes.shape[-1]
    corners = centers - centers.amin(dim=1, keepdim=True)
    height, width = (int(side) for side in corners.amax(dim=(0, 1)) + size)
    offsets = torch.arange(size, device=centers.device)
    rows = corners[..., 0, None, None] + offsets[:, None]
    columns = corners[..., 1, None, None] + offsets
    first = height * width * torch.arange(len(centers), device=centers.device)[:, None, None, None]
    return BareBatch(
        fed=parts[0],
        held=parts[1],
        fed_probes=probes * math.sqrt(fed_share),
        held_probes=probes * math.sqrt(1 - fed_share),
        canvas_shape=(len(centers), height, width),
        on_canvas=first + rows * width + columns,
        turn=turn,
        rate=rate,
    )


def intensity(waves: Tensor) -> Tensor:
    """|wave|²."""
    return waves.real.square() + waves.imag.square()


def summed(patches: Tensor, batch: BareBatch) -> Tensor:
    """Patches added up on their groups' canvases: (B, H, W)."""
    if patches.shape[1] == 1:
        return patches[:, 0]
    canvas = torch.zeros(math.prod(batch.canvas_shape), dtype=patches.dtype, device=patches.device)
    return canvas.scatter_add(0, batch.on_canvas.flatten(), patches.flatten()).view(batch.canvas_shape)


def cut(canvases: Tensor, batch: BareBatch) -> Tensor:
    """The patches (B, C, N, N) of canvases (B, H, W)."""
    return canvases.flatten().gather(0, batch.on_canvas.flatten()).view(batch.on_canvas.shape)


def unet_patches(network: nn.Module, batch: BareBatch) -> Tensor:
    """The default network: the group's back-projections on one canvas, the U-Net, and the patches of what it draws."""
    size = batch.fed.shape[-1]
    empty = torch.fft.fft2(batch.fed_probes, norm="ortho")
    expected = intensity(empty)
    floor = 0.1 * expected.mean(dim=(-2, -1), keepdim=True)
    residual = empty * ((batch.fed - expected) * torch.rsqrt((expected * (expected + floor)).clamp_min(1e-30)))
    image = summed(batch.fed_probes.conj() * torch.fft.ifft2(residual, norm="ortho"), batch)
    light = summed(intensity(batch.fed_probes), batch)
    brightest = light.amax(dim=(-2, -1), keepdim=True)
    image = 4.0 * image / brightest
    margin = size // 8
    x = torch.stack((image.real, image.imag, light / brightest), dim=1)[..., margin:-margin, margin:-margin]
    mirrored = [axis for axis, bit in ((-1, 1), (-2, 2)) if batch.turn & bit]
    x = network((x.transpose(-1, -2) if batch.turn & 4 else x).flip(mirrored)).flip(mirrored)
    log_amplitude, phase = (x.transpose(-1, -2) if batch.turn & 4 else x).unbind(dim=1)
    drawn = torch.polar(torch.exp(0.7 * torch.tanh(log_amplitude)), math.pi * torch.tanh(phase / math.pi))
    drawn = nn.functional.pad(drawn, (margin,) * 4, value=1.0)
    return drawn[:, None] if batch.fed.shape[1] == 1 else cut(drawn, batch)


def auto_encoder_patches(network: nn.Module, batch: BareBatch) -> Tensor:
    """`ptychopinn`: a patch for each pattern of the group, and their mean where they overlap."""
    size = batch.fed.shape[-1]
    light = intensity(batch.fed_probes)
    x = torch.sqrt(batch.fed / light.sum(dim=(-2, -1), keepdim=True)) * (size / 2)
    amplitude, phase = network(torch.fft.fftshift(x, dim=(-2, -1)))
    patches = torch.polar(2 * torch.sigmoid(amplitude), math.pi * torch.tanh(phase))
    if patches.shape[1] == 1:
        return patches
    weights = light / light.amax(dim=(-2, -1), keepdim=True) + WEIGHT_FLOOR
    shares = weights / cut(summed(weights, batch), batch)
    return cut(summed(shares * patches, batch), batch)


def poisson_loss(patches: Tensor, batch: BareBatch) -> Tensor:
    """Half the Poisson deviance of the held photons, per photon."""
    fitted = intensity(torch.fft.fft2(patches * batch.held_probes, norm="ortho"))
    dark = 1e-3 * batch.held.mean()
    fitted, measured = fitted + dark, batch.held + dark
    return (fitted - measured + measured * torch.log(measured / fitted)).sum() / batch.held.sum()


def bare_network(architecture: str, group_size: int, *, half: bool, channels_last: bool = True) -> nn.Module:
    """The network by hand."""
    if architecture == "ptychopinn":
        return BareAutoEncoder(group_size, half=half, channels_last=channels_last)
    return BareUNet(half=half)


def filled_from(network: nn.Module, weights: Sequence[Tensor]) -> nn.Module:
    """The network with copies of weights that come in its own order."""
    with torch.no_grad():
        for own, given in zip(network.parameters(), weights, strict=True):
            own.copy_(given)
    return network


class BareLoop:
    """Steps of AdamW on a network, over batches that lie ready."""

    def __init__(self, architecture: str, network: nn.Module, *, weight_decay: float, clip_norm: float) -> None:
        self.network = network
        self.called = network
        self.patches: Callable[[nn.Module, BareBatch], Tensor] = (
            auto_encoder_patches if architecture == "ptychopinn" else unet_patches
        )
        self.clip_norm = clip_norm
        self.optimizer = torch.optim.AdamW(network.parameters(), betas=BETAS, weight_decay=weight_decay, fused=True)

    def prepare(self, batches: Sequence[BareBatch]) -> None:
        """Step once on a batch of every shape: oneDNN compiles for each and keeps that, so that who comes first pays for both."""
        seen = {(batch.canvas_shape, batch.turn & 4): batch for batch in batches}
        with rehearsal(self.optimizer):
            for batch in seen.values():
                self.step(batch)

    def step(self, batch: BareBatch) -> float:
        """One step; its loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = batch.rate
        return self.descend(batch).item()

    def descend(self, batch: BareBatch) -> Tensor:
        """The step itself, at the optimizer's rate; its loss."""
        loss = poisson_loss(self.patches(self.called, batch), batch)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.clip_norm)
        self.optimizer.step()
        return loss.detach()


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
