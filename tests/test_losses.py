"""Laws of the deviance."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ptycho_torch.losses import DARK_SHARE, poisson_deviance


def _counts(mean_photons: float, *shape: int, seed: int = 0) -> Tensor:
    return torch.poisson(torch.full(shape, mean_photons), generator=torch.Generator().manual_seed(seed))


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
