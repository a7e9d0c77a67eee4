"""A scan of a few patterns and a reconstruction of it, made in a moment; nothing in it was trained."""

from pathlib import Path
from typing import Any

import numpy as np

from ptycho_torch.exporting.content import ExportSource
from ptycho_torch.npz_archive import write_arrays
from ptycho_torch.npz_contract import PtychoDataset, write_dataset
from ptycho_torch.scan_geometry import ScanGeometry

N, SHAPE, BOX = 32, (71, 90), (20, 52, 18, 70)
GEOMETRY = ScanGeometry(photon_energy_eV=8800.0, detector_distance_m=1.9, detector_pixel_size_m=75e-6)


def small_scan(n: int = 12, geometry: ScanGeometry | None = GEOMETRY, **changes: Any) -> PtychoDataset:
    """Poisson counts of a Gaussian probe at fractional positions."""
    rng = np.random.default_rng(3)
    rows, columns = np.mgrid[-N / 2 : N / 2, -N / 2 : N / 2]
    probe = np.exp(-(rows**2 + columns**2) / 60 + 0.02j * rows**2 + 0.01j * columns**2)
    counts = rng.poisson(np.abs(np.fft.fftshift(np.fft.fft2(probe))) ** 2, (n, N, N))
    fields: dict[str, Any] = {
        "diffraction": np.sqrt(counts / 4).astype(np.float32),
        "intensity_scale": 2.0,
        "probe_guess": probe.astype(np.complex64),
        "object_guess": None,
        "xcoords": rng.uniform(N / 2, SHAPE[1] - N / 2 - 1, n),
        "ycoords": rng.uniform(N / 2, SHAPE[0] - N / 2 - 1, n),
        "scan_index": rng.permutation(n).astype(np.int64) * 3,
        "metadata": {} if geometry is None else geometry.as_metadata(),
    }
    return PtychoDataset(**fields | changes)


def small_object(seed: int = 5) -> Any:
    """(H, W) complex64."""
    rng = np.random.default_rng(seed)
    image = rng.uniform(0.7, 1.1, SHAPE) * np.exp(1j * rng.uniform(-3, 3, SHAPE))
    return image.astype(np.complex64)


def write_reconstruction(path: Path, **changes: Any) -> None:
    """A job's reconstruction.npz; an array that is changed to None is left out."""
    arrays = {"object": small_object(), "refined": small_object(6), "weight": np.ones(SHAPE, np.float32), "box": np.array(BOX)}
    write_arrays(path, {key: array for key, array in (arrays | changes).items() if array is not None})


def small_source(folder: Path, scan: PtychoDataset | None = None, **fields: Any) -> ExportSource:
    """Both files, written, and what is said of them."""
    write_reconstruction(folder / "reconstruction.npz")
    write_dataset(folder / "scan.npz", small_scan() if scan is None else scan)
    return ExportSource(folder / "reconstruction.npz", folder / "scan.npz", **({"name": "small"} | fields))
