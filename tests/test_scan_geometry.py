"""The size of an object's pixel, from what an experiment knows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ptycho_torch.scan_geometry import ScanGeometry, geometry_of

LENGTHS = st.floats(1e-9, 1e3)
KNOWN = {"photon_energy_eV": 8800.0, "detector_distance_m": 1.9, "detector_pixel_size_m": 75e-6}


def test_the_pixel_of_a_far_field_scan_is_lambda_times_distance_over_the_detector() -> None:
    geometry = ScanGeometry(**KNOWN)
    assert geometry.wavelength_m == pytest.approx(1.4089e-10, rel=1e-4)
    assert geometry.pixel_size_m(128) == pytest.approx(1.4089e-10 * 1.9 / (128 * 75e-6), rel=1e-4)


@given(LENGTHS, LENGTHS, st.sampled_from([32, 64, 128]))
def test_twice_the_detector_is_half_the_pixel(distance_m: float, pixel_m: float, patch_size_px: int) -> None:
    geometry = ScanGeometry(photon_energy_eV=1e4, detector_distance_m=distance_m, detector_pixel_size_m=pixel_m)
    one, other = geometry.pixel_size_m(patch_size_px), geometry.pixel_size_m(2 * patch_size_px)
    assert one is not None
    assert other == pytest.approx(one / 2)


@pytest.mark.parametrize("missing", KNOWN)
def test_what_is_not_known_is_not_guessed(missing: str) -> None:
    geometry = ScanGeometry(**{key: value for key, value in KNOWN.items() if key != missing})
    assert geometry.pixel_size_m(64) is None
    assert geometry.model_copy(update={"object_pixel_size_m": 1e-8}).pixel_size_m(64) == 1e-8


def test_it_comes_back_from_a_files_metadata() -> None:
    geometry = ScanGeometry(**KNOWN)
    assert geometry_of({"other": 1} | geometry.as_metadata()) == geometry
    assert geometry_of({}) == ScanGeometry()
    with pytest.raises(ValidationError, match="distance_mm"):
        geometry_of({"geometry": {"distance_mm": 3}})
