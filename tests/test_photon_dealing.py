"""Laws of dealing photons to two parts."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, chisquare
from torch import Tensor

from ptycho_torch.photon_dealing import COLUMNS, MOST_BY_TABLE, alias_tables, dealing_device, split_photons

SHARES = (0.01, 0.25, 0.5, 0.8)
SHORTEST_ODDS = 1e-4
"""Probability of the chi-squares that a test refuses: its seed is fixed, so it does not come by chance."""


def _counts(mean_photons: float, *shape: int, seed: int = 0) -> Tensor:
    return torch.poisson(torch.full(shape, mean_photons), generator=torch.Generator().manual_seed(seed))


def _split(counts: Tensor, fraction: float = 0.5, seed: int = 1) -> tuple[Tensor, Tensor]:
    return split_photons(counts, fraction, torch.Generator().manual_seed(seed))


@given(st.floats(0.05, 0.95), st.floats(0.1, 400.0), st.integers(0, 1000))
def test_parts_are_whole_photons_and_sum_to_all(fraction: float, mean_photons: float, seed: int) -> None:
    counts = _counts(mean_photons, 5, 5, seed=seed)
    fed, held = _split(counts, fraction, seed)
    assert torch.equal(fed + held, counts)
    assert torch.equal(fed, fed.round())
    assert torch.minimum(fed, held).min() >= 0


@pytest.mark.parametrize("share", SHARES)
def test_the_tables_hold_the_binomial_distributions(share: float) -> None:
    heights, others = alias_tables(share)
    probabilities = heights / COLUMNS
    for row, heights_of_row, others_of_row in zip(probabilities, heights, others, strict=True):
        np.add.at(row, others_of_row, (1 - heights_of_row) / COLUMNS)
    n, k = np.ogrid[:COLUMNS, :COLUMNS]
    np.testing.assert_allclose(probabilities, binom.pmf(k, n, share), rtol=0, atol=1e-12)


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("n", [1, 2, 7, 40, MOST_BY_TABLE, MOST_BY_TABLE + 1, 3000])
def test_photons_are_dealt_by_the_binomial_distribution(n: int, share: float) -> None:
    dealt = _split(torch.full((200_000,), float(n)), share)[0].numpy().astype(int)
    expected = binom.pmf(np.arange(n + 1), n, share) * len(dealt)
    often = expected >= 5
    seen = np.bincount(dealt, minlength=n + 1)
    seen, expected = (np.append(each[often], each[~often].sum() + 1e-9) for each in (seen, expected))
    assert chisquare(seen, expected * seen.sum() / expected.sum()).pvalue > SHORTEST_ODDS


@pytest.mark.parametrize("mean_photons", [0.24, 24.0, 240.0])
def test_parts_are_independent_poisson_counts(mean_photons: float) -> None:
    fed, held = _split(_counts(mean_photons, 300, 300), 0.25)
    assert fed.mean().item() == pytest.approx(0.25 * mean_photons, rel=0.05)
    assert fed.var().item() == pytest.approx(0.25 * mean_photons, rel=0.05)
    assert abs(torch.corrcoef(torch.stack((fed.flatten(), held.flatten())))[0, 1].item()) < 0.015


def test_one_pixel_says_nothing_of_the_next() -> None:
    dealt = _split(torch.full((200_000,), 10.0))[0]
    for distance in (1, 2, 3):
        neighbours = torch.stack((dealt[distance:], dealt[:-distance]))
        assert abs(torch.corrcoef(neighbours)[0, 1].item()) < 0.01


def test_no_photon_or_every_photon_is_dealt_to_a_part_that_gets_none_or_all() -> None:
    counts = _counts(250.0, 40, 40)
    assert counts.max() > MOST_BY_TABLE > counts.min()
    assert not _split(counts, 0.0)[0].any()
    assert torch.equal(_split(counts, 1.0)[0], counts)


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_a_chance_that_is_none_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match=f"a chance of {fraction}"):
        _split(_counts(3.0, 4, 4), fraction)


@pytest.mark.parametrize("shape", [(0,), (0, 4, 4)])
def test_of_no_pixels_none_are_dealt(shape: tuple[int, ...]) -> None:
    assert [part.shape for part in _split(torch.zeros(shape))] == [shape, shape]


def test_the_parts_have_the_counts_shape_and_type_however_they_lie() -> None:
    counts = _counts(3.0, 6, 4).double().T
    fed, held = _split(counts)
    assert torch.equal(fed + held, counts)
    assert fed.dtype == held.dtype == torch.float64


def test_same_generator_state_deals_the_same_photons() -> None:
    counts = _counts(250.0, 16, 16)
    assert torch.equal(_split(counts)[0], _split(counts)[0])
    assert not torch.equal(_split(counts)[0], _split(counts, seed=2)[0])


def test_the_number_of_threads_does_not_change_what_is_dealt() -> None:
    counts, before = _counts(250.0, 400, 400), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        by_one = _split(counts)[0]
        torch.set_num_threads(3)
        assert torch.equal(_split(counts)[0], by_one)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("mean_photons", [20.0, 250.0])
def test_photons_dealt_a_few_at_a_time_are_the_same(mean_photons: float, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = _counts(mean_photons, 5, 8, 8)
    at_once = _split(counts, 0.5, 7)
    monkeypatch.setattr("ptycho_torch.photon_dealing.DEALT_AT_ONCE", 33)
    for whole, parted in zip(at_once, _split(counts, 0.5, 7), strict=True):
        assert torch.equal(whole, parted)


@pytest.mark.parametrize(("device", "dealing"), [("cpu", "cpu"), ("cuda:1", "cuda:1"), ("mps", "cpu"), ("xpu", "cpu")])
def test_photons_are_dealt_where_torch_has_a_binomial(device: str, dealing: str) -> None:
    assert dealing_device(torch.device(device)) == torch.device(dealing)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a second device")
def test_photons_dealt_elsewhere_come_back() -> None:
    counts = _counts(250.0, 16, 16)
    fed, held = _split(counts.cuda())
    assert fed.is_cuda
    assert held.is_cuda
    assert torch.equal(fed.cpu(), _split(counts)[0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("mean_photons", [24.0, 250.0])
def test_a_gpu_deals_by_the_same_law(mean_photons: float) -> None:
    counts = _counts(mean_photons, 300, 300).cuda()
    one, again = (split_photons(counts, 0.25, torch.Generator("cuda").manual_seed(1)) for _ in range(2))
    assert torch.equal(one[0], again[0])
    assert torch.equal(one[0] + one[1], counts)
    assert one[0].mean().item() == pytest.approx(0.25 * mean_photons, rel=0.05)
    assert one[0].var().item() == pytest.approx(0.25 * mean_photons, rel=0.05)
