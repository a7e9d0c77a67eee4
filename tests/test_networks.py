"""What every architecture promises, and that each can learn."""

import math

import pytest
import torch
from torch import Tensor

from ptycho_torch.config import TrainingConfig
from ptycho_torch.losses import poisson_deviance
from ptycho_torch.model import PtychoModel, build_model, light_weights
from ptycho_torch.physics import Illumination, diffraction_intensity
from ptycho_torch.ptychopinn_cnn import stage_widths

N = 32
UNET = TrainingConfig(architecture="backprojection_unet", unet_widths=(4, 8), refiner=None, precision="float32")
LONE_UNET = UNET.model_copy(update={"fuse_groups": False})
CNN = TrainingConfig(architecture="ptychopinn", n_filters_scale=1, refiner=None, precision="float32")
both = pytest.mark.parametrize("training", [UNET, LONE_UNET, CNN], ids=["unet", "lone unet", "cnn"])


def _model(training: TrainingConfig, gridsize: int = 1, patch_size_px: int = N) -> PtychoModel:
    torch.manual_seed(0)
    return build_model(training, patch_size_px, gridsize)


def _probe(photons: float) -> Tensor:
    """A Gaussian of curved phase with Σ|P|² = photons: (N, N)."""
    line = torch.arange(N) - N // 2
    r2 = line[:, None] ** 2 + line[None, :] ** 2
    probe = torch.polar(torch.exp(-r2 / 60.0), 0.02 * r2)
    return probe * math.sqrt(photons / probe.abs().square().sum().item())


def _scene(groups: int, patterns: int, photons: float = 1e5) -> tuple[Tensor, Illumination, Tensor]:
    """Counts, illumination and centres of groups that look at a random wavy object."""
    generator = torch.Generator().manual_seed(1)
    shape = (groups, patterns, N, N)
    probes = _probe(photons).expand(shape)
    waves = torch.fft.ifft2(torch.randn(shape, generator=generator) * (torch.fft.fftfreq(N).abs() < 0.1)).real
    phases = 0.4 * waves / waves.std()
    counts = torch.poisson(diffraction_intensity(torch.polar(torch.ones(shape), phases), probes), generator=generator)
    return counts, Illumination.of(probes), torch.randint(N, N + 8, (groups, patterns, 2), generator=generator)


@both
@pytest.mark.parametrize("gridsize", [1, 2])
def test_model_maps_groups_of_patterns_to_as_many_patches(training: TrainingConfig, gridsize: int) -> None:
    patches = _model(training, gridsize)(*_scene(2, gridsize**2))
    assert patches.shape == (2, gridsize**2, N, N)
    assert patches.dtype == torch.complex64


@both
def test_training_starts_near_the_empty_field_of_view(training: TrainingConfig) -> None:
    patches = _model(training)(*_scene(4, 1))
    assert (patches - 1).abs().max() < 0.35


@both
def test_every_weight_gets_a_gradient(training: TrainingConfig) -> None:
    model = _model(training, gridsize=2)
    model(*_scene(2, 4)).abs().square().sum().backward()
    model(*_scene(2, 4)).angle().square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in model.parameters())


@both
def test_expected_input_is_the_same_at_every_dose(training: TrainingConfig) -> None:
    model = _model(training)
    counts, light, centers = _scene(2, 1)
    dim = model(counts, light, centers)
    bright = model(100 * counts, Illumination.of(10 * light.probes), centers)
    assert torch.allclose(dim, bright, atol=1e-4)


@both
def test_same_seed_same_weights(training: TrainingConfig) -> None:
    first, second = _model(training).state_dict(), _model(training).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


@both
def test_a_few_steps_beat_the_empty_field_of_view(training: TrainingConfig) -> None:
    counts, light, centers = _scene(8, 1)
    model = _model(training)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    empty = poisson_deviance(diffraction_intensity(torch.ones_like(light.probes), light.probes), counts).item()
    for _ in range(60):
        loss = poisson_deviance(diffraction_intensity(model(counts, light, centers), light.probes), counts)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5 * empty


def test_unet_without_fusion_sees_each_pattern_alone() -> None:
    model = _model(LONE_UNET, gridsize=2)
    counts, light, centers = _scene(1, 4)
    alone = model.network(counts[:, 2:3], Illumination.of(light.probes[:, 2:3]), centers[:, 2:3])
    assert not model.mixes_channels
    assert torch.allclose(model.network(counts, light, centers)[:, 2:3], alone, atol=1e-6)


@pytest.mark.parametrize("training", [UNET, CNN], ids=["unet", "cnn"])
def test_a_group_is_seen_as_one(training: TrainingConfig) -> None:
    model = _model(training, gridsize=2)
    counts, light, centers = _scene(1, 4)
    others = counts.clone()
    others[:, 0] = 0
    assert model.mixes_channels
    assert not torch.allclose(model.network(counts, light, centers)[:, 3], model.network(others, light, centers)[:, 3])


@both
@pytest.mark.parametrize("gridsize", [1, 2])
def test_channels_of_a_pixel_lie_together_from_layer_to_layer(training: TrainingConfig, gridsize: int) -> None:
    model = _model(training, gridsize)
    heads = {id(layer) for name, layer in model.named_modules() if name.endswith("head")}  # after them pixels count alone
    inner = [layer for layer in model.modules() if isinstance(layer, torch.nn.Conv2d) and id(layer) not in heads]
    strides: list[int] = []
    for layer in inner:
        layer.register_forward_hook(lambda _, __, out: strides.append(out.stride(1)))
    model(*_scene(2, gridsize**2))
    assert len(strides) >= len(inner) > 4
    assert set(strides) == {1}


def test_unet_leaves_the_margin_empty() -> None:
    patches = _model(UNET).network(*_scene(2, 1))
    margin = torch.ones(N, N, dtype=torch.bool)
    margin[N // 8 : -N // 8, N // 8 : -N // 8] = False
    assert (patches[..., margin] == 1).all()
    assert (patches[..., ~margin] != 1).any()


@pytest.mark.parametrize(
    ("patch_size_px", "widths"), [(32, (64, 128)), (64, (32, 64, 128)), (128, (16, 32, 64, 128)), (256, (8, 16, 32, 64, 128))]
)
def test_cnn_stages_are_the_published_ones(patch_size_px: int, widths: tuple[int, ...]) -> None:
    assert stage_widths(patch_size_px, 1) == widths
    assert stage_widths(patch_size_px, 2) == tuple(2 * width for width in widths)


@pytest.mark.parametrize(
    ("training", "parameters"), [(TrainingConfig(refiner=None), 240_898), (CNN, 564_452)], ids=["unet", "cnn"]
)
def test_networks_are_as_large_as_documented(training: TrainingConfig, parameters: int) -> None:
    assert sum(p.numel() for p in _model(training, patch_size_px=64).parameters()) == parameters


@pytest.mark.parametrize("training", [UNET, LONE_UNET], ids=["unet", "lone unet"])
def test_group_members_agree_where_they_overlap(training: TrainingConfig) -> None:
    counts, light, centers = _scene(1, 4)
    centers = centers[:, :1].expand(1, 4, 2)
    patches = _model(training, gridsize=2)(counts, light, centers)
    assert torch.allclose(patches[:, 0], patches[:, 3], atol=1e-6)


def test_weights_follow_the_light() -> None:
    weights = light_weights(_probe(100.0))
    assert weights.max().item() == pytest.approx(1.001)
    assert weights[0, 0].item() == pytest.approx(0.001, abs=1e-4)


@pytest.mark.parametrize("training", [UNET, CNN], ids=["unet", "cnn"])
def test_half_precision_changes_little_and_answers_in_single(training: TrainingConfig) -> None:
    scene = _scene(2, 4)
    single, half = (_model(training.model_copy(update={"precision": p}), gridsize=2)(*scene) for p in ("float32", "bfloat16"))
    assert half.dtype == torch.complex64
    assert 0 < (single - half).abs().max() < 0.05
