"""NPZ files, bzip2 or not: what they hold, and patterns that are read from them block by block."""

import bz2
import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from ptycho_torch.errors import DataContractError
from ptycho_torch.foreign_scans.pattern_sources import ArrayPatterns, PatternSource, patterns_per_block
from ptycho_torch.npz_archive import AnyArray, array_forms, read_arrays, stream_array


class NpzFile:
    """An NPZ archive, of which single arrays are read."""

    def __init__(self, path: Path) -> None:
        """Read the headers of all its arrays.

        Raises
        ------
        DataContractError
            It is missing, damaged, or holds Python objects.
        """
        self.path = path
        self._content = _decompressed(path)
        self.forms = array_forms(path, content=self._content)

    def read(self, *keys: str) -> dict[str, AnyArray]:
        """Those of the arrays that it has."""
        return read_arrays(self.path, keys, content=self._content)

    def patterns(self, key: str, axes: str) -> PatternSource:
        """An array as patterns: its leading axes of length 1 are dropped, down to three.

        `axes` is the order of number, height and width. Only patterns first can be read block by block.
        """
        shape = self.forms[key][0]
        while len(shape) > 3 and shape[0] == 1:
            shape = shape[1:]
        if axes != "nhw" and len(shape) == 3:
            whole = self.read(key)[key].reshape(shape)
            return ArrayPatterns(np.transpose(whole, [axes.index(axis) for axis in "nhw"]))
        return _NpzPatterns(self.path, key, self._content, shape, self.forms[key][1])


class _NpzPatterns:
    """Patterns in an NPZ archive, read from its first byte on each time."""

    def __init__(self, path: Path, key: str, content: IO[bytes] | None, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._path, self._key, self._content, self.shape, self.dtype = path, key, content, shape, dtype

    def blocks(self) -> Iterator[AnyArray]:
        step = patterns_per_block(self.shape)
        yield from stream_array(self._path, self._key, step, ndim=len(self.shape), content=self._content)


def squeezed(array: AnyArray, ndim: int) -> AnyArray:
    """The array without leading axes of length 1, down to `ndim` axes."""
    while array.ndim > ndim and array.shape[0] == 1:
        array = array[0]
    return array


def _decompressed(source: Path) -> IO[bytes] | None:
    if source.suffix != ".bz2" or not source.is_file():
        return None
    try:
        return io.BytesIO(bz2.decompress(source.read_bytes()))
    except (OSError, ValueError) as error:
        raise DataContractError(f"{source}: not a whole bzip2 file: {error}.", hint="Copy it again.") from error
