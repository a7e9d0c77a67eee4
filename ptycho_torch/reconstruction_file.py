"""reconstruction.npz as others read it: what is inside the box, aligned, and how far it agrees with the truth.

scipy is imported on use, for this is read through a door that answers within half a second.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ptycho_torch.errors import DataContractError
from ptycho_torch.npz_archive import AnyArray, read_arrays

Image = npt.NDArray[np.complex128]

RECONSTRUCTION_NAME = "reconstruction.npz"
METHODS = {"network": "object", "refined": "refined"}
"""What made an image, and the array that holds it."""


@dataclass(frozen=True, eq=False)
class StoredReconstruction:
    """What a trained model made of a scan: (H, W) images inside the box, without the global phase and ramp left open."""

    images: dict[str, Image]
    """`network`, and `refined` where the model has a refiner: aligned with the truth, or where there is none with one another."""
    truth: Image | None
    seen: npt.NDArray[np.bool_]
    """Where any light fell."""

    def ring_correlation(self, method: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
        """Mean frequency [cycles per px] and correlation with the truth of each Fourier ring; None without a truth."""
        if self.truth is None:
            return None
        from ptycho_torch.fourier_ring import fourier_ring_correlation

        rings = fourier_ring_correlation(self.images[method], self.truth, self.seen)
        return rings.frequencies, rings.correlations


def read_reconstruction(path: Path) -> StoredReconstruction:
    """Read a job's reconstruction.npz.

    Raises
    ------
    DataContractError
        The file is missing or damaged, or lacks an array.
    """
    from ptycho_torch.alignment import align, level

    arrays = read_arrays(path, ("object", "refined", "weight", "box", "truth"))
    for key in ("object", "weight", "box"):
        if key not in arrays:
            raise DataContractError(f"{path}: has no array `{key}`.", hint="Delete it and submit the job again.")
    top, bottom, left, right = (int(edge) for edge in arrays["box"])
    seen: npt.NDArray[np.bool_] = arrays["weight"][top:bottom, left:right] > 0
    mask = seen.astype(np.float64)

    def inside(image: AnyArray) -> Image:
        return np.where(seen, image, 0).astype(np.complex128)

    raw = {method: inside(arrays[key][top:bottom, left:right]) for method, key in METHODS.items() if key in arrays}
    truth = level(inside(arrays["truth"]), mask) if "truth" in arrays else None
    reference = level(raw.get("refined", raw["network"]), mask) if truth is None else truth
    return StoredReconstruction({method: align(image, reference, mask) for method, image in raw.items()}, truth, seen)
