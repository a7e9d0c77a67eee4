"""Laws of the deviance and of photon splitting."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ptycho_torch.losses import DARK_SHARE, dealing_device, poisson_deviance, split_photons


def _counts(mean_photons: float, *shape: int, seed: int = 0) -> Tensor:
    return torch.poisson(torch.full(shape, mean_photons), generator=torch.Generator().manual_seed(seed))


def _split(counts: Tensor, fraction: float = 0.5, seed: int = 1) -> tuple[Tensor, Tensor]:
    return split_photons(counts, fraction, torch.Generator().manual_seed(seed))


def test_perfect_fit_has_no_deviance() -> None:
    counts = _counts(2.0, 8, 8)
    assert poisson_deviance(counts, counts).item() == 0


@given(st.floats(0.0, 50.0), st.integers(0, 100))
def test_deviance_is_never_negative(expected: float, seed: int) -> None:
    counts = _counts(1.5, 6, 6, seed=seed)
    assert poisson_deviance(torch.full_like(counts, expected), counts) >= -1e-6


def test_deviance_is_the_textbook_sum() -> None:
    expected, counts = torch.tensor([20.0, 30.0, 10.0]), torch.tensor([10.0, 50.0, 0.0])
    textbook = (20 - 10 + 10 * math.log(10 / 20) + 30 - 50 + 50 * math.log(50 / 30) + 10) / 60
    assert poisson_deviance(expected, counts).item() == pytest.approx(textbook, abs=3 * DARK_SHARE)


def test_deviance_is_least_at_the_mean_count() -> None:
    counts = _counts(0.3, 64, 64)
    mean = counts.mean().requires_grad_()
    poisson_deviance(mean.expand_as(counts), counts).backward()
    assert mean.grad is not None
    assert abs(mean.grad.item()) < 1e-5


def test_gradient_is_finite_where_no_light_is_expected() -> None:
    expected = torch.zeros(8, 8, requires_grad=True)
    poisson_deviance(expected, _counts(1.0, 8, 8)).backward()
    assert expected.grad is not None
    assert torch.isfinite(expected.grad).all()


@given(st.floats(0.05, 0.95), st.floats(0.1, 60.0), st.integers(0, 1000))
def test_parts_are_whole_photons_and_sum_to_all(fraction: float, mean_photons: float, seed: int) -> None:
    counts = _counts(mean_photons, 5, 5, seed=seed)
    fed, held = _split(counts, fraction, seed)
    assert torch.equal(fed + held, counts)
    assert torch.equal(fed, fed.round())
    assert torch.minimum(fed, held).min() >= 0


def test_same_generator_state_deals_the_same_photons() -> None:
    counts = _counts(3.0, 16, 16)
    assert torch.equal(_split(counts)[0], _split(counts)[0])
    assert not torch.equal(_split(counts)[0], _split(counts, seed=2)[0])


def test_photons_dealt_a_few_at_a_time_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = torch.poisson(torch.full((5, 8, 8), 20.0), generator=torch.Generator().manual_seed(1))
    at_once = _split(counts, 0.5, 7)
    monkeypatch.setattr("ptycho_torch.losses.DEALT_AT_ONCE", 33)
    for whole, parted in zip(at_once, _split(counts, 0.5, 7), strict=True):
        assert torch.equal(whole, parted)


@pytest.mark.parametrize(("device", "dealing"), [("cpu", "cpu"), ("cuda:1", "cuda:1"), ("mps", "cpu"), ("xpu", "cpu")])
def test_photons_are_dealt_where_torch_has_a_binomial(device: str, dealing: str) -> None:
    assert dealing_device(torch.device(device)) == torch.device(dealing)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a second device")
def test_photons_dealt_elsewhere_come_back() -> None:
    counts = _counts(3.0, 16, 16)
    fed, held = _split(counts.cuda())
    assert fed.is_cuda
    assert held.is_cuda
    assert torch.equal(fed.cpu(), _split(counts)[0])


@pytest.mark.parametrize("mean_photons", [0.24, 24.0])
def test_parts_are_independent_poisson_counts(mean_photons: float) -> None:
    fed, held = _split(_counts(mean_photons, 300, 300), 0.25)
    assert fed.mean().item() == pytest.approx(0.25 * mean_photons, rel=0.05)
    assert fed.var().item() == pytest.approx(0.25 * mean_photons, rel=0.05)
    assert abs(torch.corrcoef(torch.stack((fed.flatten(), held.flatten())))[0, 1].item()) < 0.015
