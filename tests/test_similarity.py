"""Peak signal-to-noise ratio and structural similarity where both are known in closed form."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from ptycho_torch.similarity import psnr_db, structural_similarity_over, value_range

SHAPE = (30, 50)
ROWS, COLUMNS = np.indices(SHAPE)
SEEN = np.ones(SHAPE, dtype=np.bool_)
CHECKS = np.where((ROWS + COLUMNS) % 2, -1.0, 1.0)
"""Zero in the mean over any window, and of variance 1."""


@given(error=st.floats(1e-5, 10))
def test_the_ratio_is_that_of_a_known_error(error: float) -> None:
    assert psnr_db(np.full(SHAPE, error)) == pytest.approx(-20 * np.log10(error))


def test_no_error_is_120_db() -> None:
    assert psnr_db(np.zeros(SHAPE)) == 120


def test_an_image_is_entirely_similar_to_itself() -> None:
    assert structural_similarity_over(CHECKS, CHECKS, SEEN) == pytest.approx(1)


@given(contrast=st.floats(-2, 2))
def test_similarity_falls_with_contrast_as_its_formula_says(contrast: float) -> None:
    """(2 c + C₂) / (1 + c² + C₂), C₂ = (0.03 · 2)², where every window has no mean and variance 1."""
    expected = (2 * contrast + 0.06**2) / (1 + contrast**2 + 0.06**2)
    assert structural_similarity_over(contrast * CHECKS, CHECKS, SEEN) == pytest.approx(expected, abs=1e-3)


def test_similarity_falls_with_an_offset_as_its_formula_says() -> None:
    """Structure and contrast are whole: what is left is (2 m (m + d) + C₁) / (m² + (m + d)² + C₁) of the local means m."""
    truth, offset = np.sin(ROWS / 3) * np.cos(COLUMNS / 4), 0.3
    local = gaussian_filter(truth - truth.mean(), 1.5, truncate=3.5)[5:-5, 5:-5]
    floor = (0.01 * np.ptp(truth)) ** 2
    expected = np.mean((2 * local * (local + offset) + floor) / (local**2 + (local + offset) ** 2 + floor))
    assert structural_similarity_over(truth + offset, truth, SEEN) == pytest.approx(expected)


@given(pedestal=st.floats(-10, 10), scale=st.floats(0.01, 100))
def test_similarity_depends_on_neither_pedestal_nor_units(pedestal: float, scale: float) -> None:
    truth, result = np.sin(ROWS / 3), np.sin(ROWS / 3 + 0.5)
    expected = structural_similarity_over(result, truth, SEEN)
    assert structural_similarity_over(scale * result + pedestal, scale * truth + pedestal, SEEN) == pytest.approx(
        expected, abs=1e-6
    )


def test_a_constant_truth_leaves_nothing_to_be_similar_to() -> None:
    rounded = np.abs(np.exp(1j * ROWS).astype(np.complex64)).astype(np.float64)
    assert value_range(rounded, SEEN) == 0
    assert structural_similarity_over(CHECKS, rounded, SEEN) is None


def test_a_box_without_a_whole_window_has_no_similarity() -> None:
    assert structural_similarity_over(CHECKS[:10], CHECKS[:10], SEEN[:10]) is None
    assert structural_similarity_over(CHECKS, CHECKS, ROWS % 11 < 10) is None


def test_only_windows_of_seen_pixels_count() -> None:
    seen = COLUMNS >= 20
    result = np.where(seen, CHECKS, 1e3)
    assert structural_similarity_over(result, CHECKS, seen) == pytest.approx(1)
    assert value_range(np.where(seen, CHECKS, 1e3), seen) == 2
