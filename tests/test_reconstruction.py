"""Laws of the stitched object, with networks whose answer is known."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_jobs import OBJECT_SHAPE, tiny_job, tiny_object, tiny_scan
from torch import Tensor, nn

from ptycho_torch.atomic_files import sha256_file
from ptycho_torch.model import PtychoModel
from ptycho_torch.network_object import bounding_shape
from ptycho_torch.physics import Illumination, add_patches
from ptycho_torch.reassembly import CanvasSides
from ptycho_torch.reconstruction import Reconstruction, reconstruct
from ptycho_torch.training_metrics import image_metrics, photon_collapse


class _Constant(nn.Module):
    """A network that answers one value everywhere."""

    def __init__(self, value: complex, mixes_channels: bool = False) -> None:
        super().__init__()
        self.value, self.mixes_channels, self.patches_agree = value, mixes_channels, False
        self.group_sizes: set[int] = set()
        self.most_patterns = 0

    def forward(
        self,
        counts: Tensor,
        illumination: Illumination,
        centers_yx: Tensor,
        turn: int = 0,
        canvas_px: CanvasSides | None = None,
    ) -> Tensor:
        self.group_sizes.add(counts.shape[1])
        self.most_patterns = max(self.most_patterns, counts.shape[0] * counts.shape[1])
        return torch.full_like(illumination.probes, self.value)


def _reconstruct(network: _Constant, gridsize: int = 1) -> Reconstruction:
    return reconstruct(PtychoModel(network), tiny_scan(), tiny_job(gridsize=gridsize), OBJECT_SHAPE)


def test_a_constant_answer_is_a_constant_object_where_light_fell() -> None:
    reconstruction = _reconstruct(_Constant(2j))
    lit = reconstruction.weight > 0
    np.testing.assert_allclose(reconstruction.object_yx[lit], 2j, rtol=1e-6)
    np.testing.assert_array_equal(reconstruction.object_yx[~lit], 1)


def test_the_weight_is_the_light_of_every_pattern_once() -> None:
    scan = tiny_scan()
    light = scan.probe.abs().square().expand(len(scan), -1, -1)
    np.testing.assert_allclose(_reconstruct(_Constant(1)).weight, add_patches(light, scan.centers, OBJECT_SHAPE), rtol=1e-4)


def test_only_a_network_that_mixes_patterns_is_fed_groups() -> None:
    alone, mixing = _Constant(1), _Constant(1, mixes_channels=True)
    _reconstruct(alone, gridsize=2)
    _reconstruct(mixing, gridsize=2)
    assert (alone.group_sizes, mixing.group_sizes) == ({1}, {4})


@pytest.mark.parametrize("batch_size", [1, 4, 9, 100])
def test_a_network_sees_a_batch_at_a_time_or_one_group(batch_size: int) -> None:
    network = _Constant(1, mixes_channels=True)
    reconstruct(PtychoModel(network), tiny_scan(), tiny_job(gridsize=2, batch_size=batch_size), OBJECT_SHAPE)
    assert network.most_patterns <= max(4, batch_size)


def test_a_flat_answer_is_called_collapsed_and_scores_as_flat() -> None:
    metrics = image_metrics(_reconstruct(_Constant(1)), tiny_object().numpy())
    assert metrics["collapsed"]
    assert metrics["nmse"] == metrics["flat_nmse"]


@pytest.mark.parametrize("deviance", [0.5, 0.6])
def test_photons_explained_no_better_than_by_nothing_are_a_collapse(deviance: float) -> None:
    metrics = photon_collapse(deviance, 0.5)
    assert metrics["collapsed"] is True
    assert metrics["collapse_reason"].endswith(f"flat object: deviance {deviance} against 0.5")


def test_photons_explained_better_than_by_nothing_are_none() -> None:
    assert photon_collapse(0.49, 0.5) == {"collapsed": False, "collapse_reason": None}


def test_the_bounding_shape_holds_every_patch_and_no_more() -> None:
    scan = tiny_scan()
    assert bounding_shape(scan) == tuple((scan.centers.amax(dim=0) + 16).tolist())


def test_the_same_reconstruction_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        _reconstruct(_Constant(1j)).save(tmp_path / name, truth=None)
    assert sha256_file(tmp_path / "a.npz") == sha256_file(tmp_path / "b.npz")
