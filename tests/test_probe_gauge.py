"""Laws of what patterns leave open of a probe, and of the probes that a search begins with."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ptycho_torch.probe_gauge import Probe, centroid, far_field, settled, tilted
from ptycho_torch.probe_starts import defocused_starts, nearer_radii, usual_radii
from ptycho_torch.probes import zone_plate_probe

N = 32
_small = st.floats(-4, 4)


def _lopsided() -> Probe:
    y, x = np.mgrid[:N, :N] - N / 2
    spot = np.exp(-((y / 3) ** 2) - ((x - 1) / 4) ** 2) + 0.4 * np.exp(-((y - 4) ** 2 + (x + 3) ** 2) / 6)
    return np.asarray(spot * np.exp(0.06j * (y * y + x * x)))


def _moved(probe: Probe, by_yx: tuple[float, float]) -> Probe:
    frequencies = np.fft.fftfreq(N)
    ramp = np.exp(-2j * np.pi * (by_yx[0] * frequencies[:, None] + by_yx[1] * frequencies))
    return np.asarray(np.fft.ifft2(np.fft.fft2(probe) * ramp))


@given(scale=st.floats(0.1, 10), phase=st.floats(-3, 3), shift=st.tuples(_small, _small), tilt=st.tuples(_small, _small))
def test_no_gauge_is_left_once_settled(scale: float, phase: float, shift: tuple[float, float], tilt: tuple[float, float]) -> None:
    start = _lopsided()
    changed = scale * np.exp(1j * phase) * tilted(_moved(start, shift), np.array(tilt))
    np.testing.assert_allclose(settled(changed, start), start, atol=2e-3)


def test_a_settled_probe_has_the_start_s_energy_and_places() -> None:
    start, probe = _lopsided(), zone_plate_probe(N).astype(np.complex128)
    result = settled(_moved(probe, (3.3, -2)), start)
    assert np.linalg.norm(result) == pytest.approx(np.linalg.norm(start))
    np.testing.assert_allclose(centroid(result), centroid(start), atol=0.01)
    np.testing.assert_allclose(centroid(far_field(result)), centroid(far_field(start)), atol=0.01)
    overlap = np.vdot(start, result)
    assert overlap.real == pytest.approx(abs(overlap))


def _mean_pattern() -> torch.Tensor:
    """A round, smooth lens of 1000 photons, zero frequency at the corner: its own mirror image."""
    q = torch.fft.fftfreq(N)
    light = torch.exp(-(q[:, None].square() + q.square()) / 0.02)
    return 1000 * light / light.sum()


@pytest.mark.parametrize("radius", [0.08, -0.15, 0.2])
def test_the_shadow_is_as_large_as_asked_and_in_the_middle(radius: float) -> None:
    start = defocused_starts(_mean_pattern(), (radius,))[radius].numpy().astype(np.complex128)
    light = np.abs(start) ** 2
    y, x = np.mgrid[:N, :N] - N / 2
    assert light.sum() == pytest.approx(1000, rel=1e-5)
    assert np.sqrt((light * (y * y + x * x)).sum() / light.sum()) == pytest.approx(abs(radius) * N, rel=0.1)
    np.testing.assert_allclose(centroid(start), 0, atol=1e-3)
    np.testing.assert_allclose(np.abs(far_field(start)) ** 2, np.fft.fftshift(_mean_pattern().numpy()), atol=1e-3)


def test_the_two_sides_of_the_focus_of_a_round_lens_are_conjugate_mirror_images() -> None:
    near, far = defocused_starts(_mean_pattern(), (-0.1, 0.1)).values()
    np.testing.assert_allclose(near.numpy(), np.roll(far.numpy()[::-1, ::-1], 1, (0, 1)).conj(), atol=1e-4)


def test_a_beam_off_the_axis_makes_the_same_probe_but_for_a_tilt() -> None:
    on, off = (defocused_starts(torch.roll(_mean_pattern(), by, (0, 1)), (0.1,))[0.1] for by in ((0, 0), (5, -3)))
    np.testing.assert_allclose(on.abs().numpy(), off.abs().numpy(), atol=1e-4)


def test_starts_are_of_both_signs_and_those_nearer_lie_between() -> None:
    radii = usual_radii()
    assert sorted(radii) == sorted(-radius for radius in radii)
    assert nearer_radii(0.0) == ()
    positive = sorted(radius for radius in radii if radius > 0)
    below, above = positive[3], positive[5]
    assert all(below < radius < above for radius in nearer_radii(positive[4]))
