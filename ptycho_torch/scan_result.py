"""What a trained network makes of a new scan, with all that a reader of it needs: where, in which light, and how it was made."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho_torch.npz_archive import AnyArray, write_arrays
from ptycho_torch.reconstruction import Reconstruction
from ptycho_torch.scan_geometry import ScanGeometry


@dataclass(frozen=True, eq=False)
class ScanReconstruction:
    """The object of a scan, and what its photons and, where it is known, its truth say of it."""

    made: Reconstruction
    positions_yx: npt.NDArray[np.float64]
    """(n, 2) scan positions [px of the object]."""
    probe: npt.NDArray[np.complex64]
    """(N, N), Σ|P|² in photons."""
    truth: npt.NDArray[np.complex64] | None
    """(H, W) the scan's `objectGuess`, where it has one."""
    geometry: ScanGeometry
    held_out_deviance: dict[str, float]
    """Half the Poisson deviance per held-out photon of `flat` (O = 1), `network` and, where it was asked for, `refined`; and
    `noise`, what the network's object would get if it were the true one."""
    scores: dict[str, dict[str, Any]] | None
    """The same objects against the truth, the fields of `evaluation.ImageScores`; None without a truth."""
    provenance: dict[str, Any]
    """What it was made of, by what, how and how fast, as JSON values; nothing but its seconds changes from run to run."""
    warnings: tuple[str, ...]
    """Sentences: why the object may be wrong."""

    @property
    def object_yx(self) -> npt.NDArray[np.complex64]:
        """(H, W) the refined object where refinement was asked for, else the network's; 1 where no pattern looked."""
        return self.made.object_yx if self.made.refined_yx is None else self.made.refined_yx

    @property
    def network_yx(self) -> npt.NDArray[np.complex64]:
        """(H, W) the object by the network alone."""
        return self.made.object_yx

    @property
    def light_yx(self) -> npt.NDArray[np.float32]:
        """(H, W) Σ|P|² of all positions [photons per pixel]."""
        return self.made.weight

    @property
    def pixel_size_m(self) -> float | None:
        """The side of a pixel of the object; None where the scan's geometry does not say."""
        return self.geometry.pixel_size_m(self.probe.shape[-1])

    def save(self, path: Path | str) -> None:
        """Write an NPZ as a whole: what a job's reconstruction.npz holds, and `ycoords`, `xcoords`, `probe`, `metadata_json`."""
        metadata = self.geometry.as_metadata() | {
            "pixel_size_m": self.pixel_size_m,
            "held_out_deviance": self.held_out_deviance,
            "warnings": list(self.warnings),
            "provenance": self.provenance,
        }
        more: dict[str, AnyArray] = {
            "ycoords": self.positions_yx[:, 0],
            "xcoords": self.positions_yx[:, 1],
            "probe": self.probe,
            "metadata_json": np.array(json.dumps(metadata, sort_keys=True, allow_nan=False)),
        }
        write_arrays(Path(path), self.made.arrays(self.truth) | more)
