"""HDF5 files read so that any damage and any lack ends in one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ptycho_torch.errors import DataContractError
from ptycho_torch.npz_archive import AnyArray


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The file, open for reading.

    Raises
    ------
    DataContractError
        It is missing, no HDF5, or cut off.
    """
    if not path.is_file():
        raise DataContractError(f"{path}: no such file.", hint="Check the path.")
    with translated(path, "something in it"), h5py.File(path, "r") as file:  # a damaged name fails wherever it is looked up
        yield file


@contextmanager
def translated(path: Path, what: str) -> Iterator[None]:
    """Whatever HDF5 says of damage, as an error of ours."""
    try:
        yield
    except (OSError, RuntimeError, KeyError, ValueError, MemoryError) as error:
        if "filter" in str(error) or "plugin" in str(error):
            hint = "Its compression needs a plugin: install hdf5plugin and set HDF5_PLUGIN_PATH to hdf5plugin.PLUGINS_PATH."
        else:
            hint = "It may be cut off: copy or make it again."
        raise DataContractError(f"{path}: not a whole HDF5 file, {what} cannot be read: {error}.", hint=hint) from error


def top_keys(path: Path) -> set[str]:
    """The names at the file's root."""
    with opened(path) as file:
        return set(names_of(file))


def names_of(group: Any) -> list[str]:
    """What a group holds, sorted; a damaged name comes as bytes."""
    return sorted(str(name) for name in group)


def read_dataset_of(file: Any, key: str, path: Path) -> AnyArray | None:
    """A whole dataset; None where there is none of this name."""
    with translated(path, f"`{key}`"):
        if not isinstance(file.get(key), h5py.Dataset):
            return None
        array: AnyArray = np.asarray(file[key][()])
    return array


def need(file: Any, key: str, path: Path) -> AnyArray:
    """A whole dataset that must be there.

    Raises
    ------
    DataContractError
        It is not.
    """
    array = read_dataset_of(file, key, path)
    if array is None:
        raise DataContractError(
            f"{path}: missing dataset `{key}`; it holds {', '.join(names_of(file)) or 'nothing'}.", hint=_NAMED
        )
    return array


def need_complex(file: Any, key: str, path: Path) -> AnyArray:
    """A whole complex dataset that must be there.

    Raises
    ------
    DataContractError
        It is not there, or real.
    """
    array = need(file, key, path)
    if array.dtype.kind != "c":
        raise DataContractError(
            f"{path}: `{key}` has dtype {array.dtype}; allowed are complex numbers.", hint="Convert it first."
        )
    return array


def number(file: Any, key: str, path: Path) -> float | None:
    """A dataset of one number; None where there is none, or where it is 0 or no number, which means that nobody knew it."""
    array = read_dataset_of(file, key, path)
    return None if array is None or array.size != 1 else known(array.reshape(-1)[0])


def attribute(item: Any, key: str) -> float | None:
    """An attribute that is one number, as `number`."""
    return known(item.attrs[key]) if key in item.attrs else None


def known(value: Any) -> float | None:
    """A number above 0; None for any other value."""
    try:
        as_float = float(value)
    except (TypeError, ValueError):
        return None
    return as_float if np.isfinite(as_float) and as_float > 0 else None


_NAMED = "Name each array yourself with --patterns, --positions and --probe."
