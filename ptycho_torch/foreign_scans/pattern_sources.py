"""Patterns (n, H, W) that are read block by block, from the first to the last, so that a scan may be larger than memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ptycho_torch.errors import DataContractError
from ptycho_torch.foreign_scans.hdf5_reading import opened, translated
from ptycho_torch.npz_archive import AnyArray

BLOCK_BYTES = 32 << 20
"""A block holds at most so many bytes, counted as float64, but at least one pattern."""

_LARGEST_CHUNK = 4
"""A block becomes so many times as large where a chunk of its file is."""


class PatternSource(Protocol):
    """Patterns (n, H, W) of real numbers, in one order."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, H, W), or what the file has in its place."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the numbers in the file."""
        ...

    def blocks(self) -> Iterator[AnyArray]:
        """All patterns, a block (k, H, W) at a time."""
        ...


def patterns_per_block(shape: tuple[int, ...]) -> int:
    """How many patterns (n, H, W) of this shape a block may hold."""
    return max(1, BLOCK_BYTES // (8 * max(1, shape[-1] * shape[-2])))


@dataclass(frozen=True, eq=False)
class ArrayPatterns:
    """Patterns in memory, or mapped into it."""

    array: AnyArray

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, H, W)."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the array."""
        return self.array.dtype

    def blocks(self) -> Iterator[AnyArray]:
        """Views of the array."""
        step = patterns_per_block(self.shape)
        for start in range(0, len(self.array), step):
            yield self.array[start : start + step]


class Hdf5Patterns:
    """A dataset of an HDF5 file, which is open only while blocks are read."""

    def __init__(self, path: Path, key: str, axes: str = "nhw") -> None:
        """`axes`: the order of the dataset's axes, number, height and width."""
        self._path, self._key = path, key
        self._order = tuple(axes.index(axis) for axis in "nhw")
        with opened(path) as file:
            self._dtype: np.dtype[Any] = file[key].dtype
            shape: tuple[int, ...] = file[key].shape
        self._shape = tuple(shape[axis] for axis in self._order) if len(shape) == 3 else shape

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, H, W)."""
        return self._shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the dataset."""
        return self._dtype

    def blocks(self) -> Iterator[AnyArray]:
        """Blocks, each read as it is asked for."""
        number_axis = self._order[0]
        with opened(self._path) as file:
            step = _whole_chunks(patterns_per_block(self._shape), file[self._key].chunks, number_axis)
            for start in range(0, self._shape[0], step):
                window = [slice(None)] * 3
                window[number_axis] = slice(start, start + step)
                with translated(self._path, f"`{self._key}`"):
                    block: AnyArray = file[self._key][tuple(window)]
                yield np.transpose(block, self._order)


def _whole_chunks(step: int, chunks: tuple[int, ...] | None, axis: int) -> int:
    """As many patterns as fill whole chunks of the file, which are decompressed as a whole, where that is not many more."""
    length = 1 if chunks is None else chunks[axis]
    return length if step < length <= _LARGEST_CHUNK * step else max(step // length * length, min(step, length))


@dataclass(frozen=True, eq=False)
class JoinedPatterns:
    """Several sources, one after another."""

    parts: Sequence[PatternSource]

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, H, W) of all."""
        return (sum(part.shape[0] for part in self.parts), *self.parts[0].shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the first."""
        return self.parts[0].dtype

    def blocks(self) -> Iterator[AnyArray]:
        """The blocks of each."""
        for part in self.parts:
            yield from part.blocks()


@dataclass(frozen=True, eq=False)
class SelectedPatterns:
    """Some patterns of a source, in its own order."""

    source: PatternSource
    rows: npt.NDArray[np.int64]
    """Ascending."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, H, W) of those that are selected."""
        return (len(self.rows), *self.source.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the source."""
        return self.source.dtype

    def blocks(self) -> Iterator[AnyArray]:
        """The source's blocks without what is not selected."""
        start = 0
        for block in self.source.blocks():
            first, last = np.searchsorted(self.rows, [start, start + len(block)])
            if last > first:
                yield block if last - first == len(block) else block[self.rows[first:last] - start]
            start += len(block)


def check_pattern_shape(patterns: PatternSource, name: str, n_positions: int | None, source: Path) -> None:
    """Refuse what is not (n, H, W), and above all (H, W, n).

    Raises
    ------
    DataContractError
        The shape is no (n, H, W), or n is not the number of positions but the last axis is.
    """
    shape = patterns.shape
    if len(shape) != 3 or 0 in shape:
        raise DataContractError(
            f"{source}: `{name}` has shape {shape}; allowed is an array of 3 axes (n, H, W), n at least 1: one scan.",
            hint="Crop or complete it in the source file.",
        )
    if n_positions is not None and shape[0] != n_positions == shape[2]:
        raise DataContractError(
            f"{source}: `{name}` has shape {shape} for {n_positions} positions, so its axes are (H, W, n); needed is (n, H, W).",
            hint="Say how rows and columns lie with --pattern-axes hwn, or whn where MATLAB wrote them.",
        )
