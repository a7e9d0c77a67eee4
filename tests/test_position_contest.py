"""A lead is what held-out photons say of two readings of positions: a share of what is explained, and standard errors."""

import numpy as np
import pytest

from ptycho_torch.position_contest import Lead, contest

EMPTY = np.array([10.0, 12.0, 11.0, 13.0])
BEST = np.array([2.0, 3.0, 2.0, 3.0])
WORSE = BEST + np.array([1.0, 2.0, 1.0, 2.0])
NEEDS = Lead(0.1, 5.0)


def test_the_margin_is_a_share_of_what_the_best_explains() -> None:
    result = contest({"wrong": WORSE, "right": BEST}, EMPTY)
    assert result.best == "right"
    assert result.leads["wrong"].margin == pytest.approx(6 / 36)
    assert result.explains.margin == pytest.approx(1)


def test_standard_errors_are_those_of_a_paired_sum() -> None:
    differences = WORSE - BEST
    expected = differences.sum() / (np.sqrt(len(differences)) * differences.std(ddof=1))
    assert contest({"wrong": WORSE, "right": BEST}, EMPTY).leads["wrong"].standard_errors == pytest.approx(expected)


@pytest.mark.parametrize("noise", [0.0, 5.0, 1e3])
def test_noise_that_all_have_alike_changes_nothing(noise: float) -> None:
    quiet = contest({0: WORSE, 1: BEST}, EMPTY).leads[0]
    noisy = contest({0: WORSE + noise, 1: BEST + noise}, EMPTY + noise).leads[0]
    assert (noisy.margin, noisy.standard_errors) == pytest.approx((quiet.margin, quiet.standard_errors))


def test_the_same_deviances_are_tied() -> None:
    result = contest({"a": BEST, "b": BEST.copy(), "c": EMPTY}, EMPTY)
    assert result.leads["b"] == Lead(0, 0)
    assert result.tied(NEEDS) == ("a", "b")


def test_a_lead_needs_both_numbers() -> None:
    assert Lead(0.1, 5).reaches(NEEDS)
    assert not Lead(0.09, 50).reaches(NEEDS)
    assert not Lead(0.9, 4.9).reaches(NEEDS)


def test_a_reading_that_diverged_is_beaten_by_any_other() -> None:
    result = contest({"diverged": np.full(4, np.nan), "right": BEST}, EMPTY)
    assert (result.best, result.tied(NEEDS)) == ("right", ("right",))


def test_where_nothing_is_explained_nothing_leads() -> None:
    result = contest({"a": EMPTY, "b": EMPTY}, EMPTY)
    assert result.explains == Lead(0, 0)
    assert result.tied(NEEDS) == ("a", "b")
