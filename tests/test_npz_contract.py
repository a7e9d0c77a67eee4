"""DATA-001: what is written is read back, and every breach is refused by name."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptycho_torch.errors import DataContractError
from ptycho_torch.npz_archive import AnyArray
from ptycho_torch.npz_contract import PtychoDataset, check_dataset, check_grouping, read_dataset, write_dataset

N_PATTERNS, N, HEIGHT, WIDTH = 5, 8, 30, 40
SCALE = 3.5


def make_dataset(seed: int = 0) -> PtychoDataset:
    """A small sound dataset of drawn counts."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(4.0, (N_PATTERNS, N, N))
    return PtychoDataset(
        diffraction=(np.sqrt(counts) / SCALE).astype(np.float32),
        intensity_scale=SCALE,
        probe_guess=(rng.normal(size=(N, N)) + 1j).astype(np.complex64),
        object_guess=(rng.normal(size=(HEIGHT, WIDTH)) + 1j).astype(np.complex64),
        xcoords=rng.uniform(N / 2, WIDTH - N / 2, N_PATTERNS),
        ycoords=rng.uniform(N / 2, HEIGHT - N / 2, N_PATTERNS),
        scan_index=np.arange(N_PATTERNS, dtype=np.int64),
        metadata={"dose_photons": 1e3, "a": [1, 2]},
    )


def file_arrays() -> dict[str, Any]:
    """The same as the arrays of a file, to be spoilt."""
    dataset = make_dataset()
    return {
        "diffraction": dataset.diffraction,
        "intensity_scale": np.array(SCALE),
        "probeGuess": dataset.probe_guess,
        "objectGuess": dataset.object_guess,
        "xcoords": dataset.xcoords,
        "ycoords": dataset.ycoords,
        "scan_index": dataset.scan_index,
        "metadata_json": np.array("{}"),
    }


def save(path: Path, arrays: dict[str, Any]) -> Path:
    """Write arrays as numpy does."""
    np.savez(path, **arrays)
    return path


def spoilt(array: AnyArray, value: float) -> AnyArray:
    """A copy with one value replaced."""
    copy = array.copy()
    copy.flat[3] = value
    return copy


def assert_equal(left: PtychoDataset, right: PtychoDataset) -> None:
    """The same arrays, types and facts."""
    for field in dataclasses.fields(PtychoDataset):
        first, second = getattr(left, field.name), getattr(right, field.name)
        assert type(first) is type(second)
        np.testing.assert_array_equal(first, second)
        assert getattr(first, "dtype", None) == getattr(second, "dtype", None)


def test_round_trip(tmp_path: Path) -> None:
    write_dataset(tmp_path / "a.npz", make_dataset())
    assert_equal(read_dataset(tmp_path / "a.npz"), make_dataset())


def test_optional_keys_may_be_absent(tmp_path: Path) -> None:
    bare = dataclasses.replace(make_dataset(), object_guess=None, intensity_scale=None, scan_index=None, metadata={})
    write_dataset(tmp_path / "a.npz", bare)
    assert_equal(read_dataset(tmp_path / "a.npz"), bare)


def test_equal_datasets_give_equal_bytes(tmp_path: Path) -> None:
    reordered = dataclasses.replace(make_dataset(), metadata={"a": [1, 2], "dose_photons": 1e3})
    write_dataset(tmp_path / "a.npz", make_dataset())
    write_dataset(tmp_path / "b.npz", reordered)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_files_load_without_pickle(tmp_path: Path) -> None:
    write_dataset(tmp_path / "a.npz", make_dataset())
    with np.load(tmp_path / "a.npz", allow_pickle=False) as loaded:
        assert json.loads(str(loaded["metadata_json"])) == make_dataset().metadata
        assert loaded["metadata_json"].shape == ()
        assert set(loaded.files) == file_arrays().keys()


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 1e4), st.floats(1e-3, 1e6))
@settings(max_examples=40, deadline=None)
def test_counts_come_back_whole_and_exact(seed: int, mean: float, scale: float) -> None:
    counts = np.random.default_rng(seed).poisson(mean, (3, N, N))
    diffraction = (np.sqrt(counts) / scale).astype(np.float32)
    dataset = dataclasses.replace(make_dataset(), diffraction=diffraction, intensity_scale=scale)
    np.testing.assert_array_equal(dataset.counts(), counts)
    assert dataset.counts().dtype == np.float32


def test_counts_need_a_scale() -> None:
    with pytest.raises(DataContractError, match="no `intensity_scale`"):
        dataclasses.replace(make_dataset(), intensity_scale=None).counts()


@pytest.mark.parametrize("rows", [np.array([3, 0]), np.array([True, False, True, False, False])])
def test_select_keeps_the_rows_together_and_survives_the_file(tmp_path: Path, rows: AnyArray) -> None:
    whole = make_dataset()
    write_dataset(tmp_path / "a.npz", whole.select(rows))
    part = read_dataset(tmp_path / "a.npz")
    np.testing.assert_array_equal(part.diffraction, whole.diffraction[rows])
    np.testing.assert_array_equal(part.positions_yx, whole.positions_yx[rows])
    np.testing.assert_array_equal(part.scan_index, np.arange(N_PATTERNS)[rows])
    np.testing.assert_array_equal(part.probe_guess, whole.probe_guess)


def test_positions_are_rows_first() -> None:
    dataset = make_dataset()
    assert dataset.patch_size_px == N
    np.testing.assert_array_equal(dataset.positions_yx[:, 0], dataset.ycoords)
    np.testing.assert_array_equal(dataset.positions_yx[:, 1], dataset.xcoords)


def test_a_selection_without_scan_index_has_none() -> None:
    assert dataclasses.replace(make_dataset(), scan_index=None).select(np.array([1])).scan_index is None


def test_legacy_name_and_order_are_accepted(tmp_path: Path) -> None:
    arrays = file_arrays()
    arrays["diff3d"] = np.moveaxis(arrays.pop("diffraction"), 0, -1)
    read = read_dataset(save(tmp_path / "a.npz", arrays))
    np.testing.assert_array_equal(read.diffraction, make_dataset().diffraction)
    assert read.diffraction.flags.c_contiguous


def test_legacy_order_under_the_new_name_is_accepted(tmp_path: Path) -> None:
    arrays = file_arrays() | {"diffraction": np.moveaxis(make_dataset().diffraction, 0, -1)}
    np.testing.assert_array_equal(read_dataset(save(tmp_path / "a.npz", arrays)).diffraction, make_dataset().diffraction)


def test_a_cube_under_the_legacy_name_cannot_be_told_apart(tmp_path: Path) -> None:
    arrays = file_arrays()
    arrays["diff3d"] = arrays.pop("diffraction")[:, :5, :5]
    with pytest.raises(DataContractError, match=r"`diff3d` is a cube .* cannot be told apart"):
        read_dataset(save(tmp_path / "a.npz", arrays))


@pytest.mark.parametrize("key", ["diffraction", "probeGuess", "xcoords", "ycoords"])
def test_a_missing_key(tmp_path: Path, key: str) -> None:
    arrays = file_arrays()
    del arrays[key]
    with pytest.raises(DataContractError, match=rf"a\.npz: missing key `{key}`"):
        read_dataset(save(tmp_path / "a.npz", arrays))


@pytest.mark.parametrize(
    ("key", "dtype", "allowed"),
    [
        ("diffraction", np.float64, "float32"), ("diffraction", np.uint16, "float32"), ("diffraction", ">f4", "float32"),
        ("probeGuess", np.complex128, "complex64"), ("probeGuess", np.float32, "complex64"),
        ("objectGuess", np.complex128, "complex64"), ("xcoords", np.int64, "float64"), ("ycoords", np.float32, "float64"),
        ("scan_index", np.int32, "int64"), ("intensity_scale", np.int64, "float64"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
def test_a_wrong_dtype(tmp_path: Path, key: str, dtype: npt.DTypeLike, allowed: str) -> None:
    arrays = file_arrays()
    arrays[key] = arrays[key].astype(dtype)
    with pytest.raises(DataContractError, match=f"`{key}` has dtype {np.dtype(dtype)}; allowed is {allowed}"):
        read_dataset(save(tmp_path / "a.npz", arrays))


@pytest.mark.parametrize(
    ("key", "shape"),
    [
        ("diffraction", (N_PATTERNS, N)), ("diffraction", (N_PATTERNS, N, N + 2)), ("diffraction", (N_PATTERNS, N - 1, N - 1)),
        ("diffraction", (0, N, N)), ("probeGuess", (N, N - 2)), ("probeGuess", (1, N, N)), ("objectGuess", (1, HEIGHT, WIDTH)),
        ("xcoords", (N_PATTERNS, 1)), ("intensity_scale", (1,)), ("scan_index", (1, N_PATTERNS)),
    ],
)  # fmt: skip
def test_a_wrong_shape(tmp_path: Path, key: str, shape: tuple[int, ...]) -> None:
    arrays = file_arrays()
    arrays[key] = np.full(shape, 0.5).astype(arrays[key].dtype)
    with pytest.raises(DataContractError, match=rf"`{key}` has shape \({', '.join(map(str, shape))},?\); allowed"):
        read_dataset(save(tmp_path / "a.npz", arrays))


@pytest.mark.parametrize("key", ["xcoords", "ycoords", "scan_index"])
def test_unequal_lengths(tmp_path: Path, key: str) -> None:
    arrays = file_arrays()
    arrays[key] = arrays[key][:-1]
    with pytest.raises(DataContractError, match=f"`{key}` has 4 entries for 5 patterns"):
        read_dataset(save(tmp_path / "a.npz", arrays))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("key", ["diffraction", "probeGuess", "objectGuess", "xcoords", "ycoords"])
def test_nan_and_infinity(tmp_path: Path, key: str, value: float) -> None:
    arrays = file_arrays()
    arrays[key] = spoilt(arrays[key], value)
    with pytest.raises(DataContractError, match=f"`{key}` holds 1 values that are NaN or infinite"):
        read_dataset(save(tmp_path / "a.npz", arrays))


def test_negative_amplitude(tmp_path: Path) -> None:
    arrays = file_arrays()
    arrays["diffraction"] = spoilt(arrays["diffraction"], -0.25)
    with pytest.raises(DataContractError, match=r"`diffraction` reaches down to -0\.25"):
        read_dataset(save(tmp_path / "a.npz", arrays))


def test_an_empty_detector(tmp_path: Path) -> None:
    arrays = file_arrays() | {"diffraction": np.zeros((N_PATTERNS, N, N), np.float32)}
    with pytest.raises(DataContractError, match="zero everywhere: no photons"):
        read_dataset(save(tmp_path / "a.npz", arrays))


@pytest.mark.parametrize("scale", [None, 1.0, SCALE])
def test_whole_numbers_are_intensity(scale: float | None) -> None:
    counts = np.random.default_rng(0).poisson(2.0, (N_PATTERNS, N, N)).astype(np.float32)
    dataset = dataclasses.replace(make_dataset(), diffraction=counts, intensity_scale=scale)
    with pytest.raises(DataContractError, match="holds whole numbers throughout: that is intensity"):
        check_dataset(dataset, Path("a.npz"))


@pytest.mark.parametrize("scale", [None, SCALE])
def test_zeros_and_ones_are_intensity_too(scale: float | None) -> None:
    counts = np.zeros((N_PATTERNS, N, N), np.float32)
    counts[0, 0, 0] = 1
    with pytest.raises(DataContractError, match="whole numbers throughout"):
        check_dataset(dataclasses.replace(make_dataset(), diffraction=counts, intensity_scale=scale), Path("a.npz"))


def test_zeros_and_ones_with_scale_one_are_both_and_pass() -> None:
    counts = np.random.default_rng(0).integers(0, 2, (N_PATTERNS, N, N)).astype(np.float32)
    dataset = dataclasses.replace(make_dataset(), diffraction=counts, intensity_scale=1.0)
    check_dataset(dataset, Path("a.npz"))
    np.testing.assert_array_equal(dataset.counts(), counts)


def test_large_values_without_a_scale_are_intensity_and_with_one_are_not() -> None:
    large = dataclasses.replace(make_dataset(), diffraction=make_dataset().diffraction * np.float32(20))
    check_dataset(large, Path("a.npz"))
    with pytest.raises(DataContractError, match="without an `intensity_scale`"):
        check_dataset(dataclasses.replace(large, intensity_scale=None), Path("a.npz"))


@pytest.mark.parametrize("scale", [0.0, -1.0])
def test_a_scale_that_is_not_positive(tmp_path: Path, scale: float) -> None:
    with pytest.raises(DataContractError, match=r"`intensity_scale` is .*; allowed is a number above 0"):
        read_dataset(save(tmp_path / "a.npz", file_arrays() | {"intensity_scale": np.array(scale)}))


@pytest.mark.parametrize("scale", [np.nan, np.inf])
def test_a_scale_that_is_not_finite(scale: float) -> None:
    with pytest.raises(DataContractError, match="`intensity_scale` holds 1 values that are NaN or infinite"):
        check_dataset(dataclasses.replace(make_dataset(), intensity_scale=scale), Path("a.npz"))


@given(st.floats(-5, 50, allow_subnormal=False), st.floats(-5, 50, allow_subnormal=False))
@settings(deadline=None)
def test_a_position_is_accepted_exactly_when_its_patch_lies_on_the_object(y: float, x: float) -> None:
    dataset = make_dataset()
    moved = dataclasses.replace(dataset, ycoords=spoilt(dataset.ycoords, y), xcoords=spoilt(dataset.xcoords, x))
    top, left = int(np.floor(y + 0.5)) - N // 2, int(np.floor(x + 0.5)) - N // 2
    if min(top, left) >= 0 and dataset.object_guess is not None and top + N <= HEIGHT and left + N <= WIDTH:
        check_dataset(moved, Path("a.npz"))
    else:
        with pytest.raises(DataContractError, match=r"1 patches leave the object: `[xy]coords`\[3\]"):
            check_dataset(moved, Path("a.npz"))


def test_an_unknown_object_ends_nowhere() -> None:
    far = dataclasses.replace(make_dataset(), object_guess=None, xcoords=np.linspace(N / 2 - 0.5, 1e3, N_PATTERNS))
    check_dataset(far, Path("a.npz"))


@pytest.mark.parametrize("key", ["xcoords", "ycoords"])
def test_an_unknown_object_begins_at_the_origin(tmp_path: Path, key: str) -> None:
    arrays = file_arrays() | {key: np.linspace(N / 2 - 0.6, 1e3, N_PATTERNS)}
    del arrays["objectGuess"]
    with pytest.raises(DataContractError, match=rf"`{key}`\[0\] is .*; allowed is at least {N // 2} for patches of {N}"):
        read_dataset(save(tmp_path / "a.npz", arrays))


@pytest.mark.parametrize(("text", "match"), [("{", "is not JSON"), ("[1]", "holds a JSON list; allowed is an object")])
def test_metadata_that_is_no_object(tmp_path: Path, text: str, match: str) -> None:
    with pytest.raises(DataContractError, match=f"`metadata_json` {match}"):
        read_dataset(save(tmp_path / "a.npz", file_arrays() | {"metadata_json": np.array(text)}))


def test_pickled_metadata(tmp_path: Path) -> None:
    arrays = file_arrays() | {"_metadata": np.array({"a": 1}, dtype=object)}
    with pytest.raises(DataContractError, match="`_metadata` is an array of Python objects"):
        read_dataset(save(tmp_path / "a.npz", arrays))


def test_a_refused_dataset_leaves_the_old_file(tmp_path: Path) -> None:
    write_dataset(tmp_path / "a.npz", make_dataset())
    before = (tmp_path / "a.npz").read_bytes()
    with pytest.raises(DataContractError, match=r"a\.npz: `intensity_scale`"):
        write_dataset(tmp_path / "a.npz", dataclasses.replace(make_dataset(), intensity_scale=-1.0))
    assert (tmp_path / "a.npz").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_every_refusal_says_what_to_do() -> None:
    with pytest.raises(DataContractError) as error:
        check_dataset(dataclasses.replace(make_dataset(), intensity_scale=-1.0), Path("folder/a.npz"))
    assert error.value.hint
    assert str(error.value).startswith("folder/a.npz: ")


@pytest.mark.parametrize(("gridsize", "neighbor_count"), [(1, 1), (2, 4), (3, 9)])
def test_groups_that_can_be_formed(gridsize: int, neighbor_count: int) -> None:
    check_grouping(9, gridsize=gridsize, neighbor_count=neighbor_count, source=Path("a.npz"))


def test_fewer_neighbors_than_a_group() -> None:
    with pytest.raises(DataContractError, match=r"a\.npz: neighbor_count K = 3 is below C = 4"):
        check_grouping(100, gridsize=2, neighbor_count=3, source=Path("a.npz"))


def test_fewer_patterns_than_a_group() -> None:
    with pytest.raises(DataContractError, match="got 3 patterns; groups of gridsize 2 need at least 4"):
        check_grouping(3, gridsize=2, neighbor_count=7, source=Path("a.npz"))
