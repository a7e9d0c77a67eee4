"""A study's object and probe: read from a file in either naming, reduced to the patch size, refused with a reason."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ptycho_torch.base_object import block_mean, load_base
from ptycho_torch.config import BaseConfig, ProceduralBase
from ptycho_torch.errors import ConfigError, DataContractError

REAL_BASE = Path("/work/shared/data/siemens_epie_reconstruction.npz")


def _fields(object_shape: tuple[int, int] = (101, 98), probe_size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    object_hw = 3 + rng.normal(size=object_shape) + 1j * rng.normal(size=object_shape)
    probe = rng.normal(size=(probe_size, probe_size)) + 1j
    return object_hw.astype(np.complex64), probe.astype(np.complex64)


def _saved(path: Path, arrays: dict[str, Any]) -> BaseConfig:
    np.savez(path, **arrays)
    return BaseConfig(npz=str(path))


@pytest.fixture
def base(tmp_path: Path) -> BaseConfig:
    """A file with a 101 x 98 object and a 64 x 64 probe."""
    object_hw, probe = _fields()
    return _saved(tmp_path / "base.npz", {"obj": object_hw, "probe": probe})


def test_both_namings_give_the_same_fields(tmp_path: Path, base: BaseConfig) -> None:
    object_hw, probe = _fields()
    study_named = _saved(tmp_path / "named.npz", {"objectGuess": object_hw, "probeGuess": probe})
    for ours, theirs in zip(load_base(base, 64), load_base(study_named, 64), strict=True):
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("patch_size_px", [32, 64])
def test_gauge_is_fixed_and_the_canvas_is_even(base: BaseConfig, patch_size_px: int) -> None:
    object_hw, probe = load_base(base, patch_size_px)
    assert object_hw.dtype == probe.dtype == np.complex64
    assert probe.shape == (patch_size_px, patch_size_px)
    assert [length % 2 for length in object_hw.shape] == [0, 0]
    assert np.abs(object_hw).mean() == pytest.approx(1, rel=1e-5)
    assert np.linalg.norm(probe) == pytest.approx(patch_size_px / 2, rel=1e-5)


def test_bin_averages_both_and_crop_keeps_the_probes_centre(base: BaseConfig) -> None:
    object_hw, probe = _fields()
    binned_object, binned_probe = load_base(base, 32)
    cropped_object, cropped_probe = load_base(base.model_copy(update={"reduction": "crop"}), 32)
    assert binned_object.shape == (50, 48)
    assert cropped_object.shape == (100, 98)
    for got, expected in [
        (binned_object, block_mean(object_hw, 2)[:50, :48]),
        (binned_probe, block_mean(probe, 2)),
        (cropped_object, object_hw[:100]),
        (cropped_probe, probe[16:48, 16:48]),
    ]:
        ratios = got / expected
        assert np.allclose(ratios, ratios[0, 0], rtol=1e-4)


def test_block_mean_is_the_mean_of_each_block() -> None:
    image = _fields((7, 9))[0]
    expected = [[image[3 * i : 3 * i + 3, 3 * j : 3 * j + 3].mean() for j in range(3)] for i in range(2)]
    assert np.allclose(block_mean(image, 3), expected)


def test_procedural_base_is_in_the_same_gauge() -> None:
    object_hw, probe = load_base(BaseConfig(procedural=ProceduralBase(size=(128, 96))), 32)
    assert object_hw.shape == (128, 96)
    assert np.abs(object_hw).mean() == pytest.approx(1, rel=1e-5)
    assert np.linalg.norm(probe) == pytest.approx(16, rel=1e-5)


@pytest.mark.skipif(not REAL_BASE.is_file(), reason="the Siemens-star reconstruction is not on this machine")
@pytest.mark.parametrize(("patch_size_px", "object_shape"), [(64, (230, 230)), (128, (462, 460))])
def test_real_siemens_star_reconstruction(patch_size_px: int, object_shape: tuple[int, int]) -> None:
    object_hw, probe = load_base(BaseConfig(npz=str(REAL_BASE)), patch_size_px)
    assert object_hw.shape == object_shape
    assert probe.shape == (patch_size_px, patch_size_px)
    assert 0.2 < np.angle(object_hw[60:-60, 60:-60]).std() < 0.5


@pytest.mark.parametrize(
    ("patch_size_px", "message"),
    [(128, "probe is 64 px wide, but patch_size_px is 128"), (48, "cannot be binned .* whole factor")],
)
def test_probe_that_cannot_become_the_patch_is_refused(base: BaseConfig, patch_size_px: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_base(base, patch_size_px)


def test_measured_base_has_nothing_to_illuminate() -> None:
    with pytest.raises(ConfigError, match="no object to illuminate"):
        load_base(BaseConfig(measured="scan.npz"), 64)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataContractError, match=r"absent\.npz: no such file"):
        load_base(BaseConfig(npz=str(tmp_path / "absent.npz")), 64)


def test_truncated_file_is_refused(base: BaseConfig) -> None:
    path = Path(str(base.npz))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataContractError, match=r"base\.npz: not a whole NPZ"):
        load_base(base, 64)


_OBJECT, _PROBE = _fields()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"obj": _OBJECT, "probe": np.array([{}], dtype=object)}, "`probe` is an array of Python objects"),
        ({"obj": _OBJECT, "probeGuess": _PROBE}, r"needs `objectGuess` and `probeGuess`.*holds \['obj', 'probeGuess'\]"),
        ({"obj": np.abs(_OBJECT), "probe": _PROBE}, "`obj` has dtype float32; allowed is complex64"),
        ({"obj": _OBJECT, "probe": _PROBE[None]}, r"`probe` has shape \(1, 64, 64\); allowed is one image"),
        ({"obj": _OBJECT, "probe": _PROBE[:, :60]}, r"`probe` has shape \(64, 60\); allowed is a square"),
        ({"obj": _OBJECT * np.nan, "probe": _PROBE}, "`obj` holds NaN or infinity"),
        ({"obj": _OBJECT, "probe": 0 * _PROBE}, "`probe` holds NaN or infinity, or is zero"),
    ],
    ids=["pickled", "missing_key", "dtype", "rank", "not_square", "nan", "zero"],
)
def test_unfit_contents_are_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(DataContractError, match=message):
        load_base(_saved(tmp_path / "base.npz", arrays), 64)
