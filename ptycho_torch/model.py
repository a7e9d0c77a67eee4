"""What is trained: a network, and a refiner that looks at the whole canvas after it."""

from typing import Protocol, cast

import torch
from torch import Tensor, nn

from ptycho_torch.backprojection_unet import BackProjectionUNet
from ptycho_torch.canvas_unet import CanvasUNet, Refiner
from ptycho_torch.config import JobConfig, RefinerConfig, TrainingConfig
from ptycho_torch.dataset import counter_seed
from ptycho_torch.physics import Illumination, intensity
from ptycho_torch.ptychopinn_cnn import PtychoPINN
from ptycho_torch.reassembly import CanvasSides, merge_group

WEIGHT_FLOOR = 1e-3
"""Weight of a pixel that no light reaches, as a share of the brightest."""


class PatchNetwork(Protocol):
    """What every architecture that sees a group of patterns at a time offers."""

    mixes_channels: bool
    """True: the patterns of a group are seen together. False: each pattern is seen alone."""
    patches_agree: bool
    """True: the patches of a group are cut from one canvas, and need no mean to be the same where they overlap."""

    def __call__(
        self,
        counts: Tensor,
        illumination: Illumination,
        centers_yx: Tensor,
        turn: int = 0,
        canvas_px: CanvasSides | None = None,
    ) -> Tensor:
        """Patches (B, C, N, N) of groups, complex; the arguments are those of `PtychoModel.forward`."""


class PtychoModel(nn.Module):
    """A network, whose patches are made to agree within each group, and its refiner, where it has one.

    Parameters
    ----------
    network
        A `PatchNetwork`, or a `CanvasUNet` that is shown a flat object.
    refiner
        Looks after it.
    """

    def __init__(self, network: nn.Module, refiner: Refiner | None = None) -> None:
        super().__init__()
        self.network = network
        self.refiner = refiner

    @property
    def canvas_network(self) -> CanvasUNet | None:
        """The network, where it looks at the whole canvas."""
        return self.network if isinstance(self.network, CanvasUNet) else None

    @property
    def mixes_channels(self) -> bool:
        """Whether a patch network needs whole groups, or takes each pattern alone."""
        return cast(PatchNetwork, self.network).mixes_channels

    def forward(
        self,
        counts: Tensor,
        illumination: Illumination,
        centers_yx: Tensor,
        turn: int = 0,
        canvas_px: CanvasSides | None = None,
    ) -> Tensor:
        """Object patches that explain photon counts, by a patch network.

        Parameters
        ----------
        counts
            (B, C, N, N) photons fed, zero frequency at the corner.
        illumination
            (B, C, N, N), Σ|P|² in photons of the fed exposure.
        centers_yx
            (B, C, 2) int64 whole-pixel centres on the object.
        turn
            In which of the eight ways of `symmetries` a network that sees images looks at them.
        canvas_px
            The sides of the canvas on which a network looks at a group, where it does: what it makes of a group then does not
            depend on the others of the batch. None: as small as holds each of them.

        Returns
        -------
        (B, C, N, N) complex64.
        """
        patches: Tensor = self.network(counts, illumination, centers_yx, turn, canvas_px)
        if patches.shape[1] == 1 or cast(PatchNetwork, self.network).patches_agree:
            return patches
        return merge_group(patches, centers_yx, light_weights(illumination.probes))


def light_weights(probes: Tensor) -> Tensor:
    """Weights of patches (..., N, N) in a mean: the light on each pixel over the brightest, plus a floor."""
    light = intensity(probes)
    return light / light.amax(dim=(-2, -1), keepdim=True) + WEIGHT_FLOOR


def build_model(training: TrainingConfig, patch_size_px: int, gridsize: int) -> PtychoModel:
    """The model that a configuration names, with first weights from torch's global generator."""
    network = _build_network(training, patch_size_px, gridsize)
    return PtychoModel(network, None if training.refiner is None else _build_refiner(training.refiner, training))


def seeded_model(job: JobConfig) -> PtychoModel:
    """The job's model as it is before any training; torch's global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(counter_seed(job.training_seed))
        return build_model(job.training, job.patch_size_px, job.gridsize)


def _build_network(training: TrainingConfig, patch_size_px: int, gridsize: int) -> nn.Module:
    if training.architecture == "ptychopinn":
        return PtychoPINN(patch_size_px, gridsize**2, training.n_filters_scale, training.head_gain, training.precision)
    if training.architecture == "canvas_unet":
        return CanvasUNet(1, training.unet_widths, training.head_gain, training.precision)
    fuses = training.fuse_groups and gridsize > 1
    widths, gain, precision = training.unet_widths, training.head_gain, training.precision
    return BackProjectionUNet(patch_size_px, widths, gain, precision, mixes_channels=fuses)


def _build_refiner(refiner: RefinerConfig, training: TrainingConfig) -> Refiner:
    n_passed, widths = len(refiner.descent_shares), refiner.unet_widths
    return Refiner(n_passed, refiner.sees_network, widths, training.head_gain, training.precision)
