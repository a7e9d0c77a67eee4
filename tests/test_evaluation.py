"""Scores of images whose difference from the truth is known by construction, and of an empty answer."""

import json
from dataclasses import fields
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import fourier_gaussian, fourier_shift

from ptycho_torch.config import ProceduralBase
from ptycho_torch.evaluation import (
    EVALUATION_CONSTANTS,
    HEADLINE_METRICS,
    Box,
    ImageScores,
    complex_nmse,
    evaluation_box,
    flatness,
    phase_agreement,
    phase_mae_rad,
    scan_box,
    score,
    structure_nmse,
)
from ptycho_torch.objects import make_object

Image = npt.NDArray[np.complex128]

SHAPE = (40, 60)
EVERYWHERE = np.ones(SHAPE)
ROWS, COLUMNS = np.indices(SHAPE)

OBJECT_BOX = Box(141, 205, 27, 205)
"""The evaluation box of the unseen half of the demo's scan."""
OBJECTS = ("siemens_star", "weak_contrast", "random_edges")
MEASURES_OF_ERROR = ("nmse", "structure_nmse", "phase_mae_rad")

slopes = st.floats(-1.5, 1.5)


def _truth(height_rad: float = 0.5) -> Image:
    phase = height_rad * np.sin(ROWS / 3) * np.cos(COLUMNS / 4)
    truth: Image = (1 + 0.1 * np.cos(ROWS / 5)) * np.exp(1j * phase)
    return truth


def _noise(seed: int, shape: tuple[int, ...] = SHAPE) -> Image:
    """Complex Gaussian noise of power 1 a pixel."""
    real, imaginary = np.random.default_rng(seed).normal(scale=np.sqrt(0.5), size=(2, *shape))
    noise: Image = real + 1j * imaginary
    return noise


@cache
def _whole(name: str) -> Image:
    base = ProceduralBase.model_validate({"object": name, "size": (232, 232)})
    return make_object(base).astype(np.complex128)


def _object(name: str) -> Image:
    return np.asarray(OBJECT_BOX.cut(_whole(name)), dtype=np.complex128)


def _changed(name: str, *, blur_px: float = 0, shift_px: float = 0) -> Image:
    """The object blurred, or moved down, before its box is cut out."""
    spectrum = fourier_gaussian(np.fft.fft2(_whole(name)), blur_px)
    changed = np.fft.ifft2(fourier_shift(spectrum, (shift_px, 0)))
    return np.asarray(OBJECT_BOX.cut(changed), dtype=np.complex128)


def _score(result: Image, truth: Image) -> ImageScores:
    return score(result, truth, np.ones(truth.shape))


def _tilt(shape: tuple[int, ...], down: float, right: float) -> Image:
    rows, columns = np.indices(shape)
    return np.asarray(np.exp(1j * (down * rows + right * columns)), dtype=np.complex128)


# --- the same image -------------------------------------------------------------------------------------------------------------


def test_identical_images_differ_by_nothing() -> None:
    scores = _score(_truth(), _truth())
    for error in MEASURES_OF_ERROR:
        assert getattr(scores, error) == pytest.approx(0, abs=1e-6)
    assert scores.amplitude_psnr_db == scores.phase_psnr_db == 120
    for similarity in (scores.amplitude_ssim, scores.phase_ssim, scores.phase_std_ratio, scores.phase_correlation):
        assert similarity == pytest.approx(1)
    assert scores.frc_crossing_cycles_per_px == 0.5
    assert scores.collapse_reason is None


@given(turn=st.floats(-np.pi, np.pi), down=slopes, right=slopes, truth_down=slopes, truth_right=slopes)
def test_no_score_depends_on_global_phases_and_ramps(
    turn: float, down: float, right: float, truth_down: float, truth_right: float
) -> None:
    result = _truth() + 0.1 * _noise(1)
    ramped = result * np.exp(1j * turn) * _tilt(SHAPE, down, right)
    scores = _score(ramped, _truth() * _tilt(SHAPE, truth_down, truth_right)).as_dict()
    plain = _score(result, _truth()).as_dict()
    assert scores.pop("collapse_reason") is plain.pop("collapse_reason") is None
    assert scores == pytest.approx(plain, rel=1e-6)


def test_pixels_without_weight_are_not_scored() -> None:
    weights = np.where(COLUMNS < 5, 0.0, 2.0)
    unseen, result = 100 * _noise(2), _truth() + 0.1 * _noise(1)
    plain = score(result, _truth(), weights)
    result[:, :5] = unseen[:, :5]
    assert score(result, _truth(), weights) == plain
    truth = _truth()
    truth[:, :5] = unseen[:, 5:10]
    assert score(result, truth, weights) == plain


# --- a known difference ---------------------------------------------------------------------------------------------------------


@given(scale=st.floats(0.1, 3))
def test_amplitude_is_not_rescaled(scale: float) -> None:
    scores = _score(scale * _truth(), _truth())
    assert scores.nmse == pytest.approx((scale - 1) ** 2, abs=1e-12)
    mean_square = (scale - 1) ** 2 * np.mean(np.abs(_truth()) ** 2)
    assert scores.amplitude_psnr_db == pytest.approx(min(-10 * np.log10(max(mean_square, 1e-30)), 120), rel=1e-6)
    assert scores.phase_mae_rad == pytest.approx(0, abs=1e-9)
    assert scores.frc_crossing_cycles_per_px == 0.5


@pytest.mark.parametrize("power", [1e-4, 1e-3, 1e-2])
@pytest.mark.parametrize("name", OBJECTS)
def test_noise_of_known_power_gives_the_errors_of_theory(name: str, power: float) -> None:
    """Half of the power falls on the amplitude, and half, over the amplitude, on the phase."""
    truth = _object(name)
    scores = _score(truth + np.sqrt(power) * _noise(1, truth.shape), truth)
    light = np.abs(truth) ** 2
    assert scores.nmse == pytest.approx(power / light.mean(), rel=0.03)
    assert scores.structure_nmse == pytest.approx(power / np.mean(np.abs(truth - truth.mean()) ** 2), rel=0.1)
    assert scores.amplitude_psnr_db == pytest.approx(-10 * np.log10(power / 2), abs=0.15)
    assert scores.phase_psnr_db == pytest.approx(-10 * np.log10(power / 2 * np.mean(1 / light)), abs=0.15)
    assert scores.phase_mae_rad == pytest.approx(np.sqrt(power / np.pi) * np.mean(1 / np.abs(truth)), rel=0.03)


@pytest.mark.parametrize("name", OBJECTS)
@pytest.mark.parametrize("change", [{"blur_px": [0.5, 1, 2, 4]}, {"shift_px": [0.25, 0.5, 1, 1.5, 2]}])
def test_blur_and_shift_lower_every_headline_metric_step_by_step(name: str, change: dict[str, list[float]]) -> None:
    """No shift is registered: positions are known."""
    noise = 0.02 * _noise(1, _object(name).shape)
    (key, steps), truth = next(iter(change.items())), _object(name)
    scores = [_score(_changed(name, **{key: step}) + noise, truth) for step in [0, *steps]]
    for metric, better in HEADLINE_METRICS:
        values = np.array([getattr(one, metric) for one in scores]) * (1 if better == "higher" else -1)
        # Several first steps may resolve the object as far as it reaches.
        slack = 0.01 if metric.startswith("frc") else 0
        np.testing.assert_array_less(np.diff(values), slack, err_msg=metric)
        assert values[-1] < values[0]


def test_a_phase_beyond_a_turn_is_compared_on_the_nearest_branch() -> None:
    """Without noise the truth reaches 3.1 rad, with it beyond π: no pixel may jump by a turn."""
    truth = _truth(3.1)
    scores = _score(truth * np.exp(0.2j * _noise(1).real), truth)
    assert scores.phase_ssim is not None
    assert scores.phase_ssim > 0.95


# --- an empty answer ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tilt", [(0.0, 0.0), (0.31, -0.05)])
@pytest.mark.parametrize("own_tilt", [(0.0, 0.0), (0.0, 0.1)])
@pytest.mark.parametrize("name", OBJECTS)
def test_a_flat_answer_is_far_from_a_mediocre_one_by_every_headline_metric(
    name: str, own_tilt: tuple[float, float], tilt: tuple[float, float]
) -> None:
    truth = _object(name)
    tilted = truth * _tilt(truth.shape, *tilt)
    flat = _score(_tilt(truth.shape, *own_tilt), tilted)
    mediocre = _score(_changed(name, blur_px=2) + 0.04 * _noise(1, truth.shape), truth)
    for metric in MEASURES_OF_ERROR:
        assert getattr(flat, metric) > 2 * getattr(mediocre, metric)
    assert flat.phase_psnr_db < mediocre.phase_psnr_db - 5
    assert flat.phase_ssim is not None
    assert mediocre.phase_ssim is not None
    assert flat.phase_ssim < 0.1 < 0.4 < mediocre.phase_ssim
    assert flat.frc_crossing_cycles_per_px == 0 < 0.1 < mediocre.frc_crossing_cycles_per_px
    assert mediocre.collapse_reason is None


@pytest.mark.parametrize("level", ["one", "best"])
@pytest.mark.parametrize("name", OBJECTS)
def test_a_flat_answer_gets_what_the_truth_varies_by_and_nothing_for_luck(name: str, level: str) -> None:
    truth = _object(name)
    flat = _score(np.full_like(truth, 1 if level == "one" else np.abs(truth).mean()), truth)
    rows, columns = np.indices(truth.shape)
    plane = np.stack([np.ones(truth.size), rows.ravel(), columns.ravel()], axis=1)
    phase = np.angle(truth).ravel()
    phase = phase - plane @ np.linalg.lstsq(plane, phase)[0]
    assert flat.phase_psnr_db == pytest.approx(-10 * np.log10(np.mean(phase**2)), abs=0.1)
    assert flat.phase_mae_rad == pytest.approx(np.mean(np.abs(phase)), rel=0.02)
    assert flat.structure_nmse is not None
    assert flat.structure_nmse > 0.98
    assert flat.phase_std_ratio == pytest.approx(0, abs=1e-9)
    assert flat.phase_correlation == 0
    assert flat.collapse_reason is not None


@pytest.mark.parametrize("name", OBJECTS)
def test_noise_does_not_make_a_flat_answer_better(name: str) -> None:
    truth = _object(name)
    noisy, flat = _score(1 + 0.05 * _noise(3, truth.shape), truth), _score(np.ones_like(truth), truth)
    for metric, better in HEADLINE_METRICS:
        gain = getattr(noisy, metric) - getattr(flat, metric)
        assert (gain if better == "higher" else -gain) < 0.03, metric
    assert noisy.collapse_reason is not None


@pytest.mark.parametrize("name", OBJECTS)
def test_a_ghost_passes_the_correlation_and_fails_everything_else(name: str) -> None:
    truth = _object(name)
    ghost = _score(1 + 0.05 * (truth - 1), truth)
    assert ghost.frc_crossing_cycles_per_px == 0.5
    assert ghost.structure_nmse is not None
    assert ghost.structure_nmse > 0.9
    assert ghost.phase_ssim is not None
    assert ghost.phase_ssim < 0.1
    assert ghost.collapse_reason is not None
    assert ghost.collapse_reason.startswith("phase is flat")


def test_where_an_object_is_empty_similarity_forgives_a_flat_answer_and_structure_and_resolution_do_not() -> None:
    truth = np.ones((64, 178), dtype=np.complex128)
    truth[20:44, 60:90] *= np.exp(1j)
    scores = _score(np.ones_like(truth), truth)
    assert scores.phase_ssim is not None
    assert scores.phase_ssim > 0.01
    assert scores.structure_nmse is not None
    assert scores.structure_nmse > 0.95
    assert scores.frc_crossing_cycles_per_px == 0
    assert scores.collapse_reason is not None


@given(down=slopes, right=slopes)
def test_a_flat_answer_correlates_with_nothing_even_where_the_truths_phase_wraps(down: float, right: float) -> None:
    scores = _score(_tilt(SHAPE, down, right), _truth(4.0))
    assert scores.frc_crossing_cycles_per_px == 0
    assert scores.collapse_reason is not None


@pytest.mark.parametrize("truth_slope_rad_per_px", [0.0, 0.05, 0.3, 1.0])
@pytest.mark.parametrize("slope_rad_per_px", [0.0, 0.05])
def test_a_flat_result_is_flat_whatever_the_ramps(slope_rad_per_px: float, truth_slope_rad_per_px: float) -> None:
    tilted_truth = _truth() * _tilt(SHAPE, truth_slope_rad_per_px, 0)
    scores = _score(_tilt(SHAPE, 0, slope_rad_per_px), tilted_truth)
    assert scores.phase_std_ratio == pytest.approx(0, abs=1e-6)
    assert scores.phase_correlation == 0
    assert scores.collapse_reason is not None
    assert scores.collapse_reason.startswith("phase is flat")


# --- truths without variation, and JSON -----------------------------------------------------------------------------------------


def test_a_truth_of_phase_alone_has_no_amplitude_to_be_similar_to() -> None:
    truth = (_truth() / np.abs(_truth())).astype(np.complex64).astype(np.complex128)
    scores = _score(_truth(), truth)
    assert scores.amplitude_ssim is None
    assert scores.amplitude_ssim_range == 0
    assert scores.phase_ssim == pytest.approx(1)


@pytest.mark.parametrize("truth", [np.ones(SHAPE), np.exp(1j * _truth(0.1).real), _truth()])
@pytest.mark.parametrize("result", [np.zeros(SHAPE), np.ones(SHAPE), _truth(), _truth() + _noise(1)])
@pytest.mark.parametrize("box", [Box(0, 40, 0, 60), Box(0, 9, 0, 50), Box(3, 4, 5, 6)])
def test_every_score_is_a_finite_json_value(truth: Image, result: Image, box: Box) -> None:
    cut_result, cut_truth = (np.asarray(box.cut(image), dtype=np.complex128) for image in (result, truth))
    scores = _score(cut_result, cut_truth).as_dict()
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores


def test_a_constant_truth_has_no_structure() -> None:
    flat = np.ones(SHAPE, dtype=np.complex128)
    assert structure_nmse(_truth(), flat) is None
    scores = _score(_truth(), flat)
    assert scores.structure_nmse is scores.phase_ssim is scores.amplitude_ssim is None
    assert scores.frc_crossing_cycles_per_px == 0


def test_the_constants_are_json_and_the_headline_names_are_scores() -> None:
    assert json.loads(json.dumps(EVALUATION_CONSTANTS, allow_nan=False)) == EVALUATION_CONSTANTS
    names = {field.name for field in fields(ImageScores)}
    assert {name for name, _ in HEADLINE_METRICS} <= names
    assert {better for _, better in HEADLINE_METRICS} == {"lower", "higher"}
    assert EVALUATION_CONSTANTS["psnr_most_db"] == _score(_truth(), _truth()).phase_psnr_db


# --- the parts ------------------------------------------------------------------------------------------------------------------


def test_noise_of_known_power_is_the_nmse() -> None:
    expected = np.sum(np.abs(0.3 * _noise(1)) ** 2) / np.sum(np.abs(_truth()) ** 2)
    assert complex_nmse(_truth() + 0.3 * _noise(1), _truth()) == pytest.approx(expected)


@given(contrast=st.floats(0.01, 3))
def test_the_best_constant_misses_the_whole_structure_whatever_the_contrast(contrast: float) -> None:
    truth = 1 + contrast * (_truth() - 1)
    assert structure_nmse(np.full(SHAPE, truth.mean()), truth) == pytest.approx(1)


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


def test_the_box_bounds_the_positions_and_stays_on_the_object() -> None:
    positions = np.array([[10.4, 20.6], [30.5, 5.0]])
    assert scan_box(positions, SHAPE) == Box(10, 32, 5, 22)
    assert scan_box(positions, SHAPE, margin_px=7) == Box(3, 39, 0, 29)
    assert Box(10, 32, 5, 22).cut(EVERYWHERE).shape == (22, 17)


@pytest.mark.parametrize(("patch_size_px", "margin_px"), [(32, 4), (64, 7), (128, 14)])
def test_an_object_is_scored_a_ninth_of_a_patch_around_its_positions(patch_size_px: int, margin_px: int) -> None:
    positions = np.array([[100.0, 200.0], [150.0, 300.0]])
    expected = Box(100 - margin_px, 151 + margin_px, 200 - margin_px, 301 + margin_px)
    assert evaluation_box(positions, (500, 500), patch_size_px) == expected
    assert evaluation_box(positions, (155, 302), patch_size_px).bottom == min(expected.bottom, 155)
