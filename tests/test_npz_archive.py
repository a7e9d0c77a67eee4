"""NPZ archives: the same arrays give the same bytes, and damage ends in one error that names file and member."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ptycho_torch.errors import DataContractError
from ptycho_torch.npz_archive import read_arrays, write_arrays

ARRAYS = {"first": np.arange(60, dtype=np.float32).reshape(3, 4, 5), "second": np.array("text"), "third": np.array(2.5)}


def archive_bytes(folder: Path) -> bytes:
    """A sound archive of `ARRAYS`."""
    path = folder / "sound.npz"
    write_arrays(path, ARRAYS)
    return path.read_bytes()


def test_round_trip(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a.npz", ARRAYS)
    read = read_arrays(tmp_path / "a.npz", ARRAYS)
    assert read.keys() == ARRAYS.keys()
    assert all(np.array_equal(read[key], ARRAYS[key]) and read[key].dtype == ARRAYS[key].dtype for key in ARRAYS)


def test_numpy_reads_it(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a.npz", ARRAYS)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as loaded:
        np.testing.assert_array_equal(loaded["first"], ARRAYS["first"])


def test_only_the_keys_asked_for(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a.npz", ARRAYS)
    assert read_arrays(tmp_path / "a.npz", {"third", "absent"}).keys() == {"third"}


def test_no_member_carries_the_time(tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(archive_bytes(tmp_path))) as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_the_same_arrays_give_the_same_bytes(tmp_path: Path) -> None:
    write_arrays(tmp_path / "again.npz", {key: array.copy() for key, array in ARRAYS.items()})
    assert (tmp_path / "again.npz").read_bytes() == archive_bytes(tmp_path)


def test_compressed_archives_are_read(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", first=ARRAYS["first"])
    np.testing.assert_array_equal(read_arrays(tmp_path / "a.npz", {"first"})["first"], ARRAYS["first"])


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataContractError, match=r"nowhere\.npz: no such file"):
        read_arrays(tmp_path / "nowhere.npz", {"first"})


@pytest.mark.parametrize("content", [b"", b"not a zip", b"\x93NUMPY\x01\x00"], ids=["empty", "text", "npy"])
def test_not_a_zip(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataContractError, match=r"a\.npz: not a whole NPZ"):
        read_arrays(tmp_path / "a.npz", {"first"})


@pytest.mark.parametrize("share", [0.2, 0.5, 0.95])
def test_a_truncated_zip(tmp_path: Path, share: float) -> None:
    sound = archive_bytes(tmp_path)
    (tmp_path / "a.npz").write_bytes(sound[: int(share * len(sound))])
    with pytest.raises(DataContractError, match="not a whole NPZ"):
        read_arrays(tmp_path / "a.npz", ARRAYS)


def test_a_flipped_byte_of_data_fails_the_checksum(tmp_path: Path) -> None:
    damaged = bytearray(archive_bytes(tmp_path))
    place = damaged.find(ARRAYS["first"].tobytes()) + 100
    damaged[place] ^= 1
    (tmp_path / "a.npz").write_bytes(damaged)
    with pytest.raises(DataContractError, match="`first` is damaged: Bad CRC-32"):
        read_arrays(tmp_path / "a.npz", ARRAYS)


@pytest.mark.parametrize("asked_for", ["first", "facts"])
def test_objects_are_refused_even_where_nobody_asks(tmp_path: Path, asked_for: str) -> None:
    np.savez(tmp_path / "a.npz", first=ARRAYS["first"], facts=np.array({"a": 1}, dtype=object))
    with pytest.raises(DataContractError, match="`facts` is an array of Python objects"):
        read_arrays(tmp_path / "a.npz", {asked_for})


@pytest.mark.parametrize("shape", [(1 << 40, 1 << 20), (9_999,)], ids=["too large to allocate", "short of the checksum"])
def test_a_header_whose_shape_does_not_fit_its_bytes(tmp_path: Path, shape: tuple[int, ...]) -> None:
    header: dict[str, Any] = {"descr": "<f8", "fortran_order": False, "shape": shape}
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, header)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("first.npy", stream.getvalue() + np.zeros(10_000).tobytes())
    with pytest.raises(DataContractError, match="its bytes do not fill"):
        read_arrays(tmp_path / "a.npz", {"first"})


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_damage_is_one_error_or_changes_nothing(tmp_path: Path, data: st.DataObject) -> None:
    damaged = bytearray(archive_bytes(tmp_path))
    damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = read_arrays(tmp_path / "sound.npz", ARRAYS, content=io.BytesIO(damaged))
    except DataContractError:
        return
    assert all(np.array_equal(read[key], ARRAYS[key]) for key in read)


@given(st.binary(max_size=80))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_of_a_header_is_one_error(tmp_path: Path, text: bytes) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("first.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
    with pytest.raises(DataContractError, match="`first`"):
        read_arrays(tmp_path / "a.npz", {"first"}, content=stream)
