"""Object, probe and positions as a plain NPZ, for a script of one's own."""

from pathlib import Path

import numpy as np

from ptycho_torch.exporting.content import ExportContent
from ptycho_torch.npz_archive import AnyArray, write_arrays


def write_npz(content: ExportContent, path: Path) -> None:
    """Write `object` (H, W), `probe` (N, N), `x_px`, `y_px` (n,), `scan_index`, `box`, `origin`, and `pixel_size_m` and
    `intensity_scale` where they are known."""
    arrays: dict[str, AnyArray] = {
        "object": content.object_yx,
        "probe": content.probe,
        "x_px": content.scan.xcoords,
        "y_px": content.scan.ycoords,
        "scan_index": content.scan_index,
        "box": np.array(list(content.box.as_dict().values())),
        "origin": np.array(content.origin),
    }
    known = {"pixel_size_m": content.pixel_size_m, "intensity_scale": content.scan.intensity_scale}
    write_arrays(path, arrays | {key: np.array(value) for key, value in known.items() if value is not None})
