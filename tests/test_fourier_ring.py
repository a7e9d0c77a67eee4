"""The Fourier ring correlation of images whose spectra and noise are known."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import j0

from ptycho_torch.fourier_ring import FourierRings, edge_taper, fourier_ring_correlation

SHAPE = (128, 200)
ROWS, COLUMNS = np.indices(SHAPE)
SEEN = np.ones(SHAPE, dtype=np.bool_)
FREQUENCY = np.hypot(np.fft.fftfreq(SHAPE[0])[:, None], np.fft.fftfreq(SHAPE[1])[None, :])
POWER_FALL = 8.0

RING_WIDTH = 1 / 32

Image = npt.NDArray[np.complex128]


def white(seed: int) -> Image:
    """Noise of power 1 a pixel."""
    real, imaginary = np.random.default_rng(seed).normal(scale=np.sqrt(0.5), size=(2, *SHAPE))
    noise: Image = real + 1j * imaginary
    return noise


def filtered(image: Image, transfer: npt.NDArray[np.float64]) -> Image:
    return np.asarray(np.fft.ifft2(transfer * np.fft.fft2(image)), dtype=np.complex128)


def power(frequency: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The spectrum of the truth: 0.1 exp(-8 f)."""
    return 0.1 * np.exp(-POWER_FALL * frequency)


TRUTH: Image = 1 + filtered(white(1), np.sqrt(power(FREQUENCY)))


def where_the_ratio_is_a_third(noise_power: float) -> float:
    """The frequency at which `power` is a third of the noise."""
    return float(np.log(0.1 / (noise_power / 3)) / POWER_FALL)


def crossing(result: Image, truth: Image = TRUTH) -> float:
    return fourier_ring_correlation(result, truth, SEEN).crossing()


def test_an_image_agrees_with_itself_up_to_nyquist() -> None:
    rings = fourier_ring_correlation(TRUTH, TRUTH, SEEN)
    np.testing.assert_allclose(rings.correlations, 1)
    np.testing.assert_allclose(rings.frequencies, (np.arange(16) + 0.5) * RING_WIDTH, atol=0.006)
    assert rings.crossing() == 0.5


@pytest.mark.parametrize("noise_power", [0.005, 0.02, 0.08])
def test_noise_of_known_power_gives_the_correlation_of_theory(noise_power: float) -> None:
    rings = fourier_ring_correlation(TRUTH + np.sqrt(noise_power) * white(2), TRUTH, SEEN)
    expected = 1 / np.sqrt(1 + noise_power / power(rings.frequencies))
    np.testing.assert_allclose(rings.correlations, expected, atol=0.05)


@pytest.mark.parametrize("noise_power", [0.01, 0.03, 0.1])
def test_the_crossing_is_where_signal_to_noise_is_a_third(noise_power: float) -> None:
    measured = [crossing(TRUTH + np.sqrt(noise_power) * white(seed)) for seed in range(2, 8)]
    assert np.mean(measured) == pytest.approx(where_the_ratio_is_a_third(noise_power), rel=0.07)


def test_blur_alone_leaves_the_correlation_whole() -> None:
    rings = fourier_ring_correlation(filtered(TRUTH, np.exp(-2 * (np.pi * FREQUENCY) ** 2)), TRUTH, SEEN)
    assert rings.correlations.min() > 0.98
    assert rings.crossing() == 0.5


def test_noise_on_a_blurred_image_crosses_earlier_than_on_a_sharp_one() -> None:
    """It crosses where the blurred power is a third of the noise."""
    noise_power, sigma_px = 0.02, 1.0
    blurred = filtered(TRUTH, np.exp(-2 * (np.pi * sigma_px * FREQUENCY) ** 2))
    measured = [crossing(blurred + np.sqrt(noise_power) * white(seed)) for seed in range(2, 8)]
    grid = np.linspace(0, 0.5, 5001)
    blurred_power = power(grid) * np.exp(-4 * (np.pi * sigma_px * grid) ** 2)
    expected = grid[np.argmax(blurred_power < noise_power / 3)]
    assert np.mean(measured) == pytest.approx(expected, rel=0.07)
    assert max(measured) < crossing(TRUTH + np.sqrt(noise_power) * white(2))


@pytest.mark.parametrize("shift_px", [1, 2, 3, 4])
def test_a_shift_crosses_where_the_bessel_function_does(shift_px: int) -> None:
    """The mean of cos(2π f s cos θ) over a ring is J₀(2π f s), and J₀(1.5211) = 1/2."""
    assert j0(1.5211) == pytest.approx(0.5, abs=1e-4)
    assert crossing(np.roll(TRUTH, shift_px, axis=1)) == pytest.approx(1.5211 / (2 * np.pi * shift_px), rel=0.05)


def test_a_ring_is_found_at_its_frequency_on_a_rectangular_box() -> None:
    """Two noises that share one wave of 0.15 cycles per px down and 0.2 across agree at 0.25."""
    wave = np.exp(2j * np.pi * (0.15 * ROWS + 0.2 * COLUMNS))
    rings = fourier_ring_correlation(white(1) + wave, white(2) + wave, SEEN)
    assert rings.frequencies[np.argmax(rings.correlations)] == pytest.approx(0.25, abs=RING_WIDTH)


@given(scale=st.floats(1e-3, 1e3), share=st.floats(0.01, 1))
def test_the_correlation_is_blind_to_scale_and_to_contrast(scale: float, share: float) -> None:
    noisy = TRUTH + 0.1 * white(2)
    ghost = scale * (1 + share * (noisy - 1))
    assert crossing(ghost) == pytest.approx(crossing(noisy), abs=1e-6)


@given(level=st.complex_numbers(min_magnitude=1e-3, max_magnitude=1e3), down=st.floats(-1, 1), right=st.floats(-1, 1))
def test_a_flat_image_correlates_with_nothing_whatever_its_ramp(level: complex, down: float, right: float) -> None:
    flat = np.asarray(level * np.exp(1j * (down * ROWS + right * COLUMNS)), dtype=np.complex128)
    rings = fourier_ring_correlation(flat, TRUTH, SEEN)
    assert not rings.correlations.any()
    assert rings.crossing() == 0


def test_a_flat_image_as_complex64_rounds_it_is_flat() -> None:
    flat = 0.93 + 0.2j + 6e-8 * white(2)
    assert not fourier_ring_correlation(flat, TRUTH, SEEN).correlations.any()


def test_a_ring_without_structure_does_not_call_a_resolved_image_flat() -> None:
    """The truth has nothing below 0.03 cycles per px, and all noise is there."""
    truth = 1 + filtered(white(1), np.where(FREQUENCY > RING_WIDTH, np.sqrt(power(FREQUENCY)), 0))
    noise = filtered(white(2), np.where(FREQUENCY < RING_WIDTH, 1.0, 0))
    rings = fourier_ring_correlation(truth + noise, truth, SEEN)
    assert rings.correlations[0] < 0.5
    assert rings.crossing() == 0.5


def test_noise_on_a_flat_image_does_not_pass_for_resolution() -> None:
    assert max(crossing(1 + 0.01 * white(seed)) for seed in range(2, 12)) < RING_WIDTH


def test_nothing_correlates_with_a_flat_truth() -> None:
    assert crossing(TRUTH, np.ones(SHAPE, dtype=np.complex128)) == 0


def test_the_opposite_contrast_does_not_correlate() -> None:
    assert crossing(2 - TRUTH) == 0


def test_unseen_pixels_do_not_count() -> None:
    seen = (COLUMNS < 150) & (ROWS < 100)
    rings = fourier_ring_correlation(np.where(seen, TRUTH, 1e3 * white(3)), TRUTH, seen)
    np.testing.assert_allclose(rings.correlations, 1)


def test_the_taper_is_zero_where_nothing_was_seen_and_one_far_from_it() -> None:
    seen = (COLUMNS < 150) & ((ROWS - 40) ** 2 + (COLUMNS - 40) ** 2 > 25)
    taper = edge_taper(seen)
    assert not taper[~seen].any()
    assert taper[64, 100] == pytest.approx(1)
    assert taper.min() >= 0
    assert taper.max() <= 1 + 1e-12
    np.testing.assert_array_less(0, np.diff(edge_taper(SEEN)[:32, 100]))


@pytest.mark.parametrize(
    ("correlations", "expected"),
    [
        ([0.4, 0.2, 0.4], 0.0),
        ([1.0, 0.6, 0.2], 0.225),
        ([1.0, 0.5, 0.0], 0.2),
        ([0.9, 0.1, 0.8], 0.15),
        ([0.9, 0.8, 0.5], 0.5),
        ([0.2, 0.9, 0.1], 0.25),
        ([], 0.0),
    ],
)
def test_the_crossing_lies_on_the_line_between_two_rings(correlations: list[float], expected: float) -> None:
    frequencies = np.array([0.1, 0.2, 0.3])[: len(correlations)]
    assert FourierRings(frequencies, np.array(correlations)).crossing() == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (2, 2), (3, 3), (5, 31)])
def test_a_small_box_resolves_nothing_and_breaks_nothing(shape: tuple[int, int]) -> None:
    image = TRUTH[: shape[0], : shape[1]]
    assert 0 <= fourier_ring_correlation(image, image, np.ones(shape, dtype=np.bool_)).crossing() <= 0.5
