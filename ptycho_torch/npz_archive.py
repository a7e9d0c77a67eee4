"""NPZ archives read without pickle and written with the same bytes for the same arrays.

This is `numpy.load` and `numpy.savez` made strict: any damage ends in one `DataContractError` naming file and member, an array of
Python objects is refused wherever it lies in the archive, and members carry a fixed date.
"""

import math
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ptycho_torch.atomic_files import replacing
from ptycho_torch.errors import DataContractError

AnyArray: TypeAlias = npt.NDArray[Any]

_Header: TypeAlias = tuple[tuple[int, ...], bool, np.dtype[Any]]
_HEADER_READERS: dict[tuple[int, int], Callable[[IO[bytes]], _Header]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_FIXED_DATE = (1980, 1, 1, 0, 0, 0)
# What zipfile and numpy.lib.format raise on damaged bytes: a bad record or checksum, a bad deflate stream, an early end, a header
# that is no literal (numpy tokenizes it) or does not fit its data, flags for an encryption or compression that does not exist.
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, SyntaxError, tokenize.TokenError, RuntimeError)


def read_arrays(source: Path, keys: Collection[str], *, content: IO[bytes] | None = None) -> dict[str, AnyArray]:
    """Read those of `keys` that an NPZ archive holds; the others are simply absent from the result.

    Parameters
    ----------
    source
        The file, or the name to give in messages where `content` is passed.
    keys
        Names of arrays, without `.npy`.
    content
        The archive itself, where it does not lie in a file of its own.

    Raises
    ------
    DataContractError
        The file is missing, no zip, truncated or damaged, or holds an array of Python objects.
    """
    with _opened(source, content) as archive:
        members = _members(archive)
        for key in members:
            _check_header(archive, key, source)
        return {key: _read_member(archive, key, source) for key in members if key in keys}


def array_forms(source: Path, *, content: IO[bytes] | None = None) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Shape and dtype of every array of an NPZ archive, of which nothing but the headers is read.

    Raises
    ------
    DataContractError
        As `read_arrays`.
    """
    with _opened(source, content) as archive:
        headers = {key: _check_header(archive, key, source) for key in _members(archive)}
    return {key: (shape, dtype) for key, (shape, dtype, _) in headers.items()}


def stream_array(source: Path, key: str, block_length: int, *, ndim: int, content: IO[bytes] | None = None) -> Iterator[AnyArray]:
    """An array of an NPZ archive in blocks of its first axis, of which one at a time is in memory.

    Its leading axes, which must be of length 1, are dropped, down to `ndim` axes. An array whose last axis varies slowest
    (Fortran's order) is read as a whole.

    Raises
    ------
    DataContractError
        As `read_arrays`.
    """
    with _opened(source, content) as archive:
        full_shape, dtype, is_fortran = _check_header(archive, key, source)
        shape = full_shape[-ndim:]
        if is_fortran:
            whole = _read_member(archive, key, source).reshape(shape)
            yield from (whole[start : start + block_length] for start in range(0, len(whole), block_length))
            return
        with archive.open(f"{key}.npy") as stream:
            _HEADER_READERS[np.lib.format.read_magic(stream)](stream)
            for start in range(0, shape[0], block_length):
                block_shape = (min(block_length, shape[0] - start), *shape[1:])
                try:
                    content_bytes = stream.read(dtype.itemsize * math.prod(block_shape))
                    yield np.frombuffer(content_bytes, dtype).reshape(block_shape)
                except _DAMAGE as error:
                    raise _damaged(source, key, error) from error


def write_arrays(target: Path, arrays: Mapping[str, AnyArray]) -> None:
    """Write an uncompressed NPZ archive as a whole; the same arrays in the same order give the same bytes."""
    with replacing(target) as file, zipfile.ZipFile(file, "w") as archive:
        for key, array in arrays.items():
            member = zipfile.ZipInfo(f"{key}.npy", _FIXED_DATE)
            with archive.open(member, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, array, allow_pickle=False)


def _opened(source: Path, content: IO[bytes] | None) -> zipfile.ZipFile:
    if content is None and not source.is_file():
        raise DataContractError(f"{source}: no such file.", hint="Check the path, or make the dataset first.")
    try:
        return zipfile.ZipFile(content or source)
    except _DAMAGE as error:
        raise DataContractError(
            f"{source}: not a whole NPZ (zip) archive: {error}.", hint="It may be truncated: copy or make it again."
        ) from error


def _members(archive: zipfile.ZipFile) -> list[str]:
    return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


def _check_header(archive: zipfile.ZipFile, key: str, source: Path) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    """Shape, dtype and whether the array is in Fortran's order."""
    try:
        with archive.open(f"{key}.npy") as stream:
            read_header = _HEADER_READERS[np.lib.format.read_magic(stream)]
            shape, is_fortran, dtype = read_header(stream)
            header_bytes = stream.tell()
    except (*_DAMAGE, KeyError) as error:
        raise _damaged(source, key, error) from error
    if dtype.hasobject:
        raise DataContractError(
            f"{source}: `{key}` is an array of Python objects (a pickle); allowed are arrays of numbers and text.",
            hint="Store facts as JSON text in `metadata_json`.",
        )
    # A shape too large would be allocated, and one too small would end the reading before the checksum.
    if header_bytes + dtype.itemsize * math.prod(shape) != archive.getinfo(f"{key}.npy").file_size:
        raise _damaged(source, key, ValueError(f"its header claims shape {shape}, which its bytes do not fill"))
    return shape, dtype, is_fortran


def _read_member(archive: zipfile.ZipFile, key: str, source: Path) -> AnyArray:
    try:
        with archive.open(f"{key}.npy") as stream:
            array: AnyArray = np.lib.format.read_array(stream, allow_pickle=False)
    except _DAMAGE as error:
        raise _damaged(source, key, error) from error
    return array


def _damaged(source: Path, key: str, error: Exception) -> DataContractError:
    return DataContractError(f"{source}: `{key}` is damaged: {error}.", hint="Copy the file again from where it was made.")
