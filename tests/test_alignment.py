"""What alignment takes out, and that it takes out nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptycho_torch.alignment import align, detrended_phase, level

SHAPE = (40, 60)
EVERYWHERE = np.ones(SHAPE)
ROWS, COLUMNS = np.indices(SHAPE)
TRUTH = np.asarray((1 + 0.1 * np.cos(ROWS / 5)) * np.exp(0.5j * np.sin(ROWS / 3) * np.cos(COLUMNS / 4)), dtype=np.complex128)

slopes = st.floats(-1.5, 1.5)
turns = st.floats(-np.pi, np.pi)


@given(turn=turns, down=slopes, right=slopes)
def test_a_global_phase_and_a_ramp_do_not_count(turn: float, down: float, right: float) -> None:
    ramped = TRUTH * np.exp(1j * (turn + down * ROWS + right * COLUMNS))
    np.testing.assert_allclose(align(ramped, TRUTH), TRUTH, atol=1e-6)


@given(turn=turns, down=slopes, right=slopes)
def test_an_image_is_level_alike_whatever_its_ramp(turn: float, down: float, right: float) -> None:
    ramped = TRUTH * np.exp(1j * (turn + down * ROWS + right * COLUMNS))
    np.testing.assert_allclose(level(ramped), level(TRUTH), atol=1e-6)


@given(scale=st.floats(0.01, 10))
def test_the_amplitude_is_left_as_it_is(scale: float) -> None:
    np.testing.assert_allclose(align(scale * TRUTH * 1j, TRUTH), scale * TRUTH, rtol=1e-9)


def test_a_shift_is_left_as_it_is() -> None:
    shifted = np.roll(TRUTH, 2, axis=0)
    np.testing.assert_allclose(np.abs(align(shifted, TRUTH)), np.abs(shifted))


def test_a_flat_image_aligned_with_a_level_one_has_no_ramp() -> None:
    np.testing.assert_allclose(align(np.exp(0.3j * ROWS), level(TRUTH)), 1, atol=1e-9)


def test_a_level_phase_has_neither_mean_nor_slope() -> None:
    phase = np.angle(level(TRUTH * np.exp(1j * (0.4 * ROWS + 2))))
    amplitude = np.abs(TRUTH)
    for moment in (EVERYWHERE, ROWS, COLUMNS):
        assert np.sum(amplitude * phase * moment) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_alignment_withstands_noise_as_strong_as_the_image(seed: int) -> None:
    rng = np.random.default_rng(seed)
    noisy = TRUTH + 1.2 * (rng.normal(size=SHAPE) + 1j * rng.normal(size=SHAPE))
    aligned = align(noisy * np.exp(1j * (0.7 * ROWS - 0.3 * COLUMNS + 2)), TRUTH)
    assert np.sum(np.abs(aligned - TRUTH) ** 2) < 1.0002 * np.sum(np.abs(noisy - TRUTH) ** 2)


def test_alignment_looks_only_where_the_weights_are() -> None:
    result = TRUTH * np.exp(1j * (0.2 * ROWS + 1))
    result[:10] = 7j
    weights = np.where(ROWS < 10, 0.0, 1.0)
    np.testing.assert_allclose(align(result, TRUTH, weights)[10:], TRUTH[10:], atol=1e-6)


@given(down=slopes, right=slopes)
def test_a_ramp_alone_has_no_phase_once_detrended(down: float, right: float) -> None:
    ramp = np.exp(1j * (down * ROWS + right * COLUMNS))
    np.testing.assert_allclose(detrended_phase(ramp, EVERYWHERE), 0, atol=1e-9)
