"""HDF5 files that are whole or absent, and the same bytes for the same content."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ptycho_torch.atomic_files import replacing


@contextmanager
def new_hdf5(path: Path) -> Iterator[Any]:
    """An HDF5 file to fill, as `h5py.File`; it is written to `path` as a whole once it is filled."""
    import h5py  # takes a sixth of a second, which only who exports should pay

    stream = io.BytesIO()
    with h5py.File(stream, "w", libver=("earliest", "v110")) as file:
        yield file
    with replacing(path) as target:
        target.write(stream.getbuffer())
