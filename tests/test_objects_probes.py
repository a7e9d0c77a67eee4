"""Computed objects fill their field; the computed probe is a centred ring of the promised size."""

from typing import Literal

import numpy as np
import pytest

from ptycho_torch.config import ProceduralBase
from ptycho_torch.objects import make_object
from ptycho_torch.probes import zone_plate_probe

Kind = Literal["siemens_star", "weak_contrast", "random_edges"]
KINDS: tuple[Kind, ...] = ("siemens_star", "weak_contrast", "random_edges")
PHASE_RANGES_RAD = {"siemens_star": 1.2, "weak_contrast": 0.6, "random_edges": 1.0}


def _object(kind: Kind, seed: int = 7) -> np.ndarray:
    return make_object(ProceduralBase(object=kind, size=(200, 160), seed=seed))


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_object_and_another_seed_another(kind: Kind) -> None:
    assert _object(kind).tobytes() == _object(kind).tobytes()
    assert not np.allclose(_object(kind), _object(kind, seed=8))


@pytest.mark.parametrize("kind", KINDS)
def test_object_has_its_shape_type_and_ranges(kind: Kind) -> None:
    transmission = _object(kind)
    assert transmission.shape == (200, 160)
    assert transmission.dtype == np.complex64
    assert 0.84 < np.abs(transmission).min() < np.abs(transmission).max() <= 1 + 1e-6
    assert np.ptp(np.angle(transmission)) == pytest.approx(PHASE_RANGES_RAD[kind], rel=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_every_part_of_the_field_is_structured(kind: Kind) -> None:
    phase = np.angle(_object(kind))
    tiles = phase.reshape(5, 40, 4, 40).std(axis=(1, 3))
    assert tiles.min() > 0.35 * phase.std()


def test_star_has_no_edge_sharper_than_two_pixels_can_show() -> None:
    phase = np.angle(_object("siemens_star"))
    steps = np.abs(np.diff(phase[:60], axis=0))
    assert 0.3 < steps.max() < 0.95 * 1.2


def _intensity(patch_size_px: int) -> np.ndarray:
    probe = zone_plate_probe(patch_size_px)
    assert probe.dtype == np.complex64
    return np.abs(probe.astype(np.complex128)) ** 2


@pytest.mark.parametrize("patch_size_px", [32, 64, 128])
def test_probe_is_a_centred_ring_of_the_promised_size(patch_size_px: int) -> None:
    intensity, quarter = _intensity(patch_size_px), patch_size_px // 4
    y, x = np.mgrid[:patch_size_px, :patch_size_px] - patch_size_px // 2
    rms_radius = np.sqrt((intensity * (y**2 + x**2)).sum() / intensity.sum())
    assert rms_radius == pytest.approx(patch_size_px / 6, rel=0.05)
    assert intensity[quarter:-quarter, quarter:-quarter].sum() > 0.95 * intensity.sum()
    assert max(intensity[0].max(), intensity[:, 0].max(), intensity[-1].max()) < 1e-3 * intensity.max()
    assert intensity[patch_size_px // 2, patch_size_px // 2] < 0.5 * intensity.max()
    assert abs((intensity * y).sum()) < 0.02 * intensity.sum()


@pytest.mark.parametrize("patch_size_px", [32, 64])
def test_probe_energy_is_a_quarter_of_the_window(patch_size_px: int) -> None:
    assert _intensity(patch_size_px).sum() == pytest.approx((patch_size_px / 2) ** 2, rel=1e-5)


def test_probe_phase_is_curved_like_its_defocus() -> None:
    probe = zone_plate_probe(128)
    slope = np.angle(probe[64, 65:96] * probe[64, 64:95].conj())
    bright = np.abs(probe[64, 64:95]) > 0.5 * np.abs(probe).max()
    radii = np.arange(31) + 0.5
    curvature = np.polyfit(radii[bright], slope[bright], 1)[0]
    outer_frequency = 8 / (1 - 0.4**2) / (0.22 * 128)
    assert abs(curvature) == pytest.approx(2 * np.pi * outer_frequency / (0.22 * 128), rel=0.1)
