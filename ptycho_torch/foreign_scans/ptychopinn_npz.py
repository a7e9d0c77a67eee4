"""PtychoPINN's NPZ: `diff3d`, `xcoords`, `ycoords`, `probeGuess`, `objectGuess`.

As ptychodus' `save_ptychopinn_training_data` writes it, `diff3d` (n, H, W) is intensity, `probeGuess` (modes, H, W), and
positions count from the centre of the object's first pixel, half a pixel below DATA-001.
"""

from pathlib import Path

import numpy as np

from ptycho_torch.errors import DataContractError
from ptycho_torch.foreign_scans.checked_arrays import as_coordinates, as_mask, as_modes, as_object
from ptycho_torch.foreign_scans.foreign_scan import ForeignScan, Positions
from ptycho_torch.foreign_scans.ingest_options import IngestOptions
from ptycho_torch.foreign_scans.npz_reading import NpzFile

PTYCHODUS_HALF_PIXEL = 0.5
"""What ptychodus' positions in object pixels lack: an array's centre is at (S - 1) / 2 there, and at S / 2 in DATA-001."""


def read_ptychopinn_npz(source: Path, options: IngestOptions) -> ForeignScan:
    """The scan in an NPZ file with `diff3d`.

    Raises
    ------
    DataContractError
        The file is damaged, lacks a key, or holds another kind of numbers.
    """
    file = NpzFile(source)
    needed = ("diff3d", "xcoords", "ycoords")
    missing = [f"`{key}`" for key in needed if key not in file.forms]
    if missing:
        raise DataContractError(
            f"{source}: missing key {', '.join(missing)}; needed are {', '.join(needed)}.", hint="Export anew."
        )
    arrays = file.read("xcoords", "ycoords", "probeGuess", "objectGuess", "scan_index", "bad_pixels")
    axes = "nhw" if options.pattern_axes == "auto" else options.pattern_axes
    is_ptychodus = "bad_pixels" in arrays
    yx = np.stack([as_coordinates(arrays[key], key, source) for key in ("ycoords", "xcoords")], axis=1)
    return ForeignScan(
        format="PtychoPINN's NPZ" + (", as ptychodus writes it" if is_ptychodus else ""),
        patterns=file.patterns("diff3d", axes),
        patterns_name="diff3d",
        positions=Positions(yx + (PTYCHODUS_HALF_PIXEL if is_ptychodus else 0.0), "px"),
        probe=as_modes(arrays["probeGuess"], "probeGuess", source) if "probeGuess" in arrays else None,
        object_hw=as_object(arrays["objectGuess"], "objectGuess", source) if "objectGuess" in arrays else None,
        bad_pixels=as_mask(arrays.get("bad_pixels")),
        quantity="intensity" if is_ptychodus else None,
        dc="center" if is_ptychodus else None,
        found=("positions of ptychodus, half a pixel below DATA-001: 0.5 px added",) if is_ptychodus else (),
        assumed=() if is_ptychodus else ("positions count as in DATA-001: no half pixel added",),
    )
