"""Arrays that a command line names as `FILE` or `FILE:KEY`: NPZ, NPY, HDF5, and CSV for positions."""

from pathlib import Path

import numpy as np

from ptycho_torch.errors import DataContractError
from ptycho_torch.foreign_scans.hdf5_reading import names_of, need, opened
from ptycho_torch.foreign_scans.npz_reading import NpzFile
from ptycho_torch.foreign_scans.pattern_sources import ArrayPatterns, Hdf5Patterns, PatternSource
from ptycho_torch.npz_archive import AnyArray

HDF5_SIGNATURE, ZIP_SIGNATURE, NPY_SIGNATURE = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b"\x93NUMPY"


def split_place(place: str) -> tuple[Path, str | None]:
    """`FILE:KEY` as file and key; a colon that belongs to the file's name stays there."""
    if Path(place).is_file() or ":" not in place:
        return Path(place), None
    colons = [number for number, letter in enumerate(place) if letter == ":"]
    colon = next((number for number in colons if Path(place[:number]).is_file()), colons[-1])
    return Path(place[:colon]), place[colon + 1 :]


def first_bytes(path: Path) -> bytes:
    """What a file begins with.

    Raises
    ------
    DataContractError
        There is no such file.
    """
    if not path.is_file():
        raise DataContractError(f"{path}: no such file.", hint="Check the path.")
    with path.open("rb") as file:
        return file.read(8)


def read_named(place: str) -> AnyArray:
    """A whole array; `FILE:KEY,KEY` stacks two arrays of one axis as columns.

    Raises
    ------
    DataContractError
        It is missing or damaged, or the file is of no kind that is known.
    """
    path, key = split_place(place)
    begin = first_bytes(path)
    if begin == HDF5_SIGNATURE:
        with opened(path) as file:
            return _columns([need(file, one, path) for one in _keys(key, path, names_of(file))], path)
    if begin.startswith(ZIP_SIGNATURE):
        archive = NpzFile(path)
        names = _keys(key, path, sorted(archive.forms))
        arrays = archive.read(*names)
        missing = [name for name in names if name not in arrays]
        if missing:
            raise _no_array(path, missing[0], sorted(archive.forms))
        return _columns([arrays[name] for name in names], path)
    if begin.startswith(NPY_SIGNATURE):
        return np.asarray(_npy(path))
    return _read_csv(path)


def named_patterns(place: str, axes: str) -> PatternSource:
    """An array of patterns, read block by block; `axes` is the order of number, height and width.

    Raises
    ------
    DataContractError
        As `read_named`.
    """
    path, key = split_place(place)
    begin = first_bytes(path)
    if begin == HDF5_SIGNATURE:
        with opened(path) as file:
            (name,) = _keys(key, path, names_of(file))[:1]
            if name not in file or not hasattr(file[name], "shape"):
                raise _no_array(path, name, names_of(file))
        return Hdf5Patterns(path, name, axes)
    if begin.startswith(ZIP_SIGNATURE) or path.suffix == ".bz2":
        archive = NpzFile(path)
        (name,) = _keys(key, path, sorted(archive.forms))[:1]
        if name not in archive.forms:
            raise _no_array(path, name, sorted(archive.forms))
        return archive.patterns(name, axes)
    if begin.startswith(NPY_SIGNATURE):
        array = _npy(path)
        return ArrayPatterns(np.transpose(array, [axes.index(axis) for axis in "nhw"]) if array.ndim == 3 else array)
    raise DataContractError(
        f"{path}: neither HDF5 nor NPZ nor NPY, by its first bytes; allowed are these for patterns.", hint="Convert it first."
    )


def _keys(key: str | None, path: Path, names: list[str]) -> list[str]:
    if key is not None:
        return key.split(",")
    if len(names) == 1:
        return names
    raise DataContractError(
        f"{path}: holds {len(names)} arrays or groups ({', '.join(names)}), so one must be named.", hint=f"Write {path}:KEY."
    )


def _no_array(path: Path, key: str, names: list[str]) -> DataContractError:
    return DataContractError(f"{path}: missing array `{key}`; it holds {', '.join(names) or 'none'}.", hint="Check the key.")


def _columns(arrays: list[AnyArray], path: Path) -> AnyArray:
    if len(arrays) == 1:
        return arrays[0]
    shapes = {array.shape for array in arrays}
    if len(shapes) != 1 or arrays[0].ndim != 1:
        raise DataContractError(
            f"{path}: several keys were named, of shapes {', '.join(map(str, sorted(shapes)))}; allowed are equal ones (n,).",
            hint="Name the two coordinates of the positions.",
        )
    return np.stack(arrays, axis=1)


def _npy(path: Path) -> AnyArray:
    try:
        array: AnyArray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataContractError(f"{path}: not a whole NPY file: {error}.", hint="Copy or make it again.") from error
    return array


def _read_csv(path: Path) -> AnyArray:
    """Numbers in columns, between commas or spaces; lines of words before the first number are skipped."""
    rows: list[list[float]] = []
    for number, line in enumerate(_text(path).splitlines(), start=1):
        words = line.partition("#")[0].replace(",", " ").replace(";", " ").split()
        try:
            row = [float(word) for word in words]
        except ValueError as error:
            if not rows:
                continue
            raise DataContractError(f"{path}: line {number} holds no numbers: {line[:60]!r}.", hint="Mend the line.") from error
        if row and rows and len(row) != len(rows[0]):
            raise DataContractError(
                f"{path}: line {number} holds {len(row)} numbers where earlier ones hold {len(rows[0])}; it may be cut off.",
                hint="Copy or make it again.",
            )
        if row:
            rows.append(row)
    if not rows:
        raise DataContractError(f"{path}: holds no line of numbers.", hint="Give an NPZ, NPY, HDF5 or CSV file.")
    return np.array(rows, dtype=np.float64)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataContractError(
            f"{path}: neither HDF5, NPZ nor NPY, by its first bytes, nor text.", hint="It may be damaged: copy or make it again."
        ) from error
