"""Metrics on images whose difference is known by construction."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptycho_torch.evaluation import Box, align, complex_nmse, flatness, phase_agreement, phase_mae_rad, scan_box, score

SHAPE = (40, 60)
EVERYWHERE = np.ones(SHAPE)
ROWS, COLUMNS = np.indices(SHAPE)


def _truth(height_rad: float = 0.5) -> npt.NDArray[np.complex128]:
    phase = height_rad * np.sin(ROWS / 3) * np.cos(COLUMNS / 4)
    truth: npt.NDArray[np.complex128] = (1 + 0.1 * np.cos(ROWS / 5)) * np.exp(1j * phase)
    return truth


slopes = st.floats(-1.5, 1.5)


@given(turn=st.floats(-np.pi, np.pi), down=slopes, right=slopes)
def test_a_global_phase_and_a_ramp_do_not_count(turn: float, down: float, right: float) -> None:
    ramped = _truth() * np.exp(1j * (turn + down * ROWS + right * COLUMNS))
    np.testing.assert_allclose(align(ramped, _truth()), _truth(), atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_alignment_withstands_noise_as_strong_as_the_image(seed: int) -> None:
    rng = np.random.default_rng(seed)
    noisy = _truth() + 1.2 * (rng.normal(size=SHAPE) + 1j * rng.normal(size=SHAPE))
    aligned = align(noisy * np.exp(1j * (0.7 * ROWS - 0.3 * COLUMNS + 2)), _truth())
    assert complex_nmse(aligned, _truth()) < 1.0002 * complex_nmse(noisy, _truth())


def test_alignment_looks_only_where_the_weights_are() -> None:
    result = _truth() * np.exp(1j * (0.2 * ROWS + 1))
    result[:10] = 7j
    weights = np.where(ROWS < 10, 0.0, 1.0)
    np.testing.assert_allclose(align(result, _truth(), weights)[10:], _truth()[10:], atol=1e-6)


def test_identical_images_differ_by_nothing() -> None:
    scores = score(_truth(), _truth(), EVERYWHERE)
    assert scores.nmse == pytest.approx(0, abs=1e-12)
    assert scores.phase_mae_rad == pytest.approx(0, abs=1e-6)
    assert scores.phase_std_ratio == pytest.approx(1)
    assert scores.phase_correlation == pytest.approx(1)
    assert scores.collapse_reason is None


@given(scale=st.floats(0.1, 3))
def test_amplitude_is_not_rescaled(scale: float) -> None:
    assert complex_nmse(scale * _truth(), _truth()) == pytest.approx((scale - 1) ** 2)


def test_noise_of_known_power_is_the_nmse() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(size=SHAPE) + 1j * rng.normal(size=SHAPE)
    expected = np.sum(np.abs(0.3 * noise) ** 2) / np.sum(np.abs(_truth()) ** 2)
    assert complex_nmse(_truth() + 0.3 * noise, _truth()) == pytest.approx(expected)


def test_phase_error_is_wrapped() -> None:
    near_pi = np.exp(1j * np.full(SHAPE, np.pi - 0.01))
    assert phase_mae_rad(near_pi, near_pi.conj()) == pytest.approx(0.02)


@given(share=st.floats(0.05, 1.5))
def test_phase_std_ratio_is_the_share_of_the_phase_that_is_left(share: float) -> None:
    result = np.exp(1j * share * np.angle(_truth()))
    ratio, correlation = phase_agreement(result, _truth(), EVERYWHERE)
    assert ratio == pytest.approx(share)
    assert correlation == pytest.approx(1)


def test_an_inverted_phase_correlates_negatively() -> None:
    assert phase_agreement(_truth().conj(), _truth(), EVERYWHERE)[1] == pytest.approx(-1)


@pytest.mark.parametrize("truth_slope_rad_per_px", [0.0, 0.05, 0.3, 1.0])
@pytest.mark.parametrize("slope_rad_per_px", [0.0, 0.05])
def test_a_flat_result_is_flat_whatever_the_ramps(slope_rad_per_px: float, truth_slope_rad_per_px: float) -> None:
    tilted_truth = _truth() * np.exp(1j * truth_slope_rad_per_px * ROWS)
    scores = score(np.exp(1j * slope_rad_per_px * COLUMNS), tilted_truth, EVERYWHERE)
    assert scores.phase_std_ratio == pytest.approx(0, abs=1e-6)
    assert scores.phase_correlation == 0
    assert scores.collapse_reason is not None
    assert scores.collapse_reason.startswith("phase is flat")


@pytest.mark.parametrize(
    ("ratio", "correlation", "reason"),
    [
        (0.29, 0.9, "phase is flat: its standard deviation is 0.29"),
        (0.9, 0.49, "phase does not follow the truth: correlation 0.49"),
    ],
)
def test_flatness_says_which_figure_is_too_low(ratio: float, correlation: float, reason: str) -> None:
    assert (flatness(ratio, correlation) or "").startswith(reason)


def test_the_limits_themselves_are_not_flat() -> None:
    assert flatness(0.3, 0.5) is None


def test_pixels_without_weight_are_not_scored() -> None:
    result = _truth()
    result[:, :5] = 100
    assert score(result, _truth(), np.where(COLUMNS < 5, 0.0, 2.0)).nmse == pytest.approx(0, abs=1e-9)


def test_the_box_bounds_the_positions_and_stays_on_the_object() -> None:
    positions = np.array([[10.4, 20.6], [30.5, 5.0]])
    assert scan_box(positions, SHAPE) == Box(10, 32, 5, 22)
    assert scan_box(positions, SHAPE, margin_px=7) == Box(3, 39, 0, 29)
    assert Box(10, 32, 5, 22).cut(EVERYWHERE).shape == (22, 17)
