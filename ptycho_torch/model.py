"""A network and the overlap constraint: what is trained."""

from typing import Protocol, cast

from torch import Tensor, nn

from ptycho_torch.backprojection_unet import BackProjectionUNet
from ptycho_torch.config import TrainingConfig
from ptycho_torch.errors import ConfigError
from ptycho_torch.ptychopinn_cnn import PtychoPINN
from ptycho_torch.reassembly import merge_group

WEIGHT_FLOOR = 1e-3
"""Weight of a pixel that no light reaches, as a share of the brightest."""


class PatchNetwork(Protocol):
    """What every architecture offers."""

    mixes_channels: bool
    """True: the patterns of a group are channels of one input. False: each pattern is seen alone."""

    def __call__(self, counts: Tensor, probes: Tensor) -> Tensor:
        """Counts (B, C, N, N), zero frequency at the corner, and complex probes (B, C, N, N) -> complex patches (B, C, N, N)."""


class PtychoModel(nn.Module):
    """A network whose patches are made to agree within each group."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    @property
    def mixes_channels(self) -> bool:
        """Whether the network needs whole groups, or takes each pattern alone."""
        return cast(PatchNetwork, self.network).mixes_channels

    def forward(self, counts: Tensor, probes: Tensor, centers_yx: Tensor) -> Tensor:
        """Object patches that explain photon counts.

        Parameters
        ----------
        counts
            (B, C, N, N) photons fed, zero frequency at the corner.
        probes
            (B, C, N, N) complex, Σ|P|² in photons of the fed exposure.
        centers_yx
            (B, C, 2) int64 whole-pixel centres on the object.

        Returns
        -------
        (B, C, N, N) complex64.
        """
        return merge_group(self.network(counts, probes), centers_yx, light_weights(probes))


def light_weights(probes: Tensor) -> Tensor:
    """Weights of patches (..., N, N) in a mean: the light on each pixel over the brightest, plus a floor."""
    light = probes.abs().square()
    return light / light.amax(dim=(-2, -1), keepdim=True) + WEIGHT_FLOOR


def build_model(training: TrainingConfig, patch_size_px: int, gridsize: int) -> PtychoModel:
    """The model that a configuration names, with first weights from torch's global generator.

    Raises
    ------
    ConfigError
        The U-Net has more levels than the patch size can be halved.
    """
    if training.architecture == "ptychopinn":
        return PtychoModel(PtychoPINN(patch_size_px, gridsize**2, training.n_filters_scale))
    _require_halvable(patch_size_px, len(training.unet_widths))
    return PtychoModel(BackProjectionUNet(patch_size_px, training.unet_widths))


def _require_halvable(patch_size_px: int, levels: int) -> None:
    if patch_size_px * 3 // 4 % 2 ** (levels - 1):
        raise ConfigError(
            f"training.unet_widths has {levels} levels, but {patch_size_px * 3 // 4} pixels (three quarters of patch_size_px "
            f"{patch_size_px}) can't be halved {levels - 1} times.",
            hint="Give unet_widths fewer levels.",
        )
