"""One scan, known by heart, written as each program would write it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from ptycho_torch.foreign_scans.cxi import ELEMENTARY_CHARGE_C
from ptycho_torch.npz_archive import AnyArray
from ptycho_torch.scan_geometry import ScanGeometry

N, N_PATTERNS, S = 32, 9, 96
"""Sides of a pattern and of the object, and the number of patterns."""
GEOMETRY = ScanGeometry(photon_energy_eV=8800.0, detector_distance_m=1.9, detector_pixel_size_m=172e-6)
PIXEL_M = GEOMETRY.pixel_size_m(N) or 0.0
CENTER_YX_M = np.array([3e-6, -8e-6])
"""Where ptychodus' stage has the middle of the object."""


@dataclass(frozen=True, eq=False)
class KnownScan:
    """Counts (n, N, N), zero frequency at the centre, probe (N, N), object (S, S), positions (n, 2) as DATA-001 counts them."""

    counts: npt.NDArray[np.uint32]
    probe: npt.NDArray[np.complex64]
    object_hw: npt.NDArray[np.complex64]
    yx: npt.NDArray[np.float64]

    @property
    def yx_m(self) -> npt.NDArray[np.float64]:
        """From the middle of the object."""
        return PIXEL_M * (self.yx - S / 2)


def known_scan(n_patterns: int = N_PATTERNS) -> KnownScan:
    """A lopsided probe over an object without symmetry, whole positions."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:N, :N] - N / 2
    probe = np.exp(-((y / 3) ** 2) - ((x - 1) / 4) ** 2) * np.exp(1j * (0.02 * y * y + 0.03 * x * y))
    object_hw = np.exp(1j * 0.3 * rng.random((S, S)))
    yx = rng.integers(N // 2 + 2, S - N // 2 - 2, (n_patterns, 2)).astype(np.float64)
    corners = yx.astype(int) - N // 2
    patches = np.stack([object_hw[top : top + N, left : left + N] for top, left in corners])
    waves = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(probe * patches, axes=(1, 2))), axes=(1, 2))
    expected = np.abs(waves) ** 2
    counts = rng.poisson(3e4 * expected / expected[0].sum()).astype(np.uint32)
    return KnownScan(counts, probe.astype(np.complex64), object_hw.astype(np.complex64), yx)


def write_training(path: Path, scan: KnownScan, /, **changed: Any) -> Path:
    """ptychodus' `save_training_data`; `changed` replaces datasets, None leaves one out."""
    datasets: dict[str, Any] = {
        "patterns": scan.counts,
        "bad_pixels": np.zeros((N, N), dtype=bool),
        "probe": scan.probe[np.newaxis],
        "object": scan.object_hw,
        "probe_position_x_px": scan.yx[:, 1] - 0.5,
        "probe_position_y_px": scan.yx[:, 0] - 0.5,
        "object_pixel_width_m": PIXEL_M,
        "object_pixel_height_m": PIXEL_M,
        "detector_object_distance_m": GEOMETRY.detector_distance_m,
        "photon_energy_eV": GEOMETRY.photon_energy_eV,
    }
    with h5py.File(path, "w") as file:
        for key, value in (datasets | changed).items():
            if value is not None:
                file[key] = value
    return path


def write_product(path: Path, scan: KnownScan, *, order: AnyArray | None = None, far_field: bool = True) -> Path:
    """ptychodus' `save_product` and, beside it, `save_diffraction_data`; `order` shuffles the positions."""
    order = np.arange(len(scan.yx)) if order is None else order
    with h5py.File(path.with_name("diffraction.h5"), "w") as file:
        file["patterns"] = scan.counts
        for side in ("width", "height"):
            file["patterns"].attrs[f"detector_pixel_{side}_m"] = GEOMETRY.detector_pixel_size_m
        file["indexes"] = np.arange(len(scan.yx)) + 100
        file["bad_pixels"] = np.zeros((N, N), dtype=bool)
    with h5py.File(path, "w") as file:
        file.attrs["photon_energy_eV"] = GEOMETRY.photon_energy_eV
        file.attrs["detector_object_distance_m"] = GEOMETRY.detector_distance_m
        file.attrs["far_field"] = far_field
        file["probe_position_indexes"] = order + 100
        file["probe_position_y_m"], file["probe_position_x_m"] = (scan.yx_m + CENTER_YX_M)[order % len(scan.yx)].T
        file["probe"] = scan.probe[np.newaxis, np.newaxis]
        file["object"] = scan.object_hw[np.newaxis]
        for side in ("width", "height"):
            file["object"].attrs[f"pixel_{side}_m"] = PIXEL_M
        file["object"].attrs["center_y_m"], file["object"].attrs["center_x_m"] = CENTER_YX_M
    return path


def write_ptychopinn(path: Path, scan: KnownScan, /, **changed: Any) -> Path:
    """ptychodus' `save_ptychopinn_training_data`."""
    x, y = scan.yx[:, 1] - 0.5, scan.yx[:, 0] - 0.5
    arrays: dict[str, Any] = {
        "xcoords": x,
        "ycoords": y,
        "xcoords_start": x,
        "ycoords_start": y,
        "diff3d": scan.counts,
        "bad_pixels": np.zeros((N, N), dtype=bool),
        "probeGuess": scan.probe[np.newaxis],
        "objectGuess": scan.object_hw,
        "scan_index": np.arange(len(x)),
    }
    np.savez(path, **{key: value for key, value in (arrays | changed).items() if value is not None})
    return path


def write_cxi(path: Path, scan: KnownScan, /, **changed: Any) -> Path:
    """CXI as cdtools writes it: joule, metres, basis vectors, soft links; `changed` by the last part of a path."""
    detector, source = "entry_1/instrument_1/detector_1", "entry_1/instrument_1/source_1"
    side = GEOMETRY.detector_pixel_size_m or 0.0
    datasets: dict[str, Any] = {
        f"{detector}/data": scan.counts,
        f"{detector}/distance": GEOMETRY.detector_distance_m,
        f"{detector}/x_pixel_size": side,
        f"{detector}/y_pixel_size": side,
        f"{detector}/basis_vectors": np.array([[0, -side], [-side, 0], [0, 0]]),
        f"{detector}/mask": np.full((N, N), 0x1000, dtype=np.uint32),
        f"{detector}/corner_position": np.array([side * N / 2, side * N / 2, GEOMETRY.detector_distance_m]),
        f"{source}/energy": (GEOMETRY.photon_energy_eV or 0.0) * ELEMENTARY_CHARGE_C,
        f"{source}/wavelength": None,
        f"{source}/illumination": scan.probe,
        "entry_1/sample_1/geometry_1/translation": np.column_stack([scan.yx_m[:, ::-1], np.zeros(len(scan.yx))]),
    }
    with h5py.File(path, "w") as file:
        file["cxi_version"] = 160
        for place, value in datasets.items():
            stored = changed.get(place.rpartition("/")[2], value)
            if stored is not None:
                file[place] = stored
        if f"{detector}/data" in file:
            file[f"{detector}/data"].attrs["axes"] = "translation:y:x"
            file["entry_1/data_1/data"] = h5py.SoftLink(f"/{detector}/data")
    return path


def write_tike(path: Path, scan: KnownScan, /, **changed: Any) -> Path:
    """tike's NPZ: zero frequency at the corner, positions about their middle."""
    arrays: dict[str, Any] = {
        "data": np.fft.ifftshift(scan.counts, axes=(1, 2))[np.newaxis],
        "probe": scan.probe[np.newaxis, np.newaxis, np.newaxis, np.newaxis],
        "scan": (scan.yx - scan.yx.mean(axis=0))[np.newaxis],
    }
    np.savez(path, **(arrays | changed))
    return path


def write_ptyd(path: Path, scan: KnownScan, /, **changed: Any) -> Path:
    """ptypy's .ptyd in two chunks; its probe is a file of its own."""
    meta: dict[str, Any] = {
        "energy": (GEOMETRY.photon_energy_eV or 0.0) / 1e3,
        "distance": GEOMETRY.detector_distance_m,
        "psize": np.full(2, GEOMETRY.detector_pixel_size_m),
    }
    with h5py.File(path, "w") as file:
        for key, value in (meta | changed).items():
            file[f"meta/{key}"] = value
        for number, rows in enumerate((slice(0, 4), slice(4, None))):
            file[f"chunks/{number}/data"] = scan.counts[rows]
            file[f"chunks/{number}/positions"] = scan.yx_m[rows]
            file[f"chunks/{number}/weights"] = np.ones((N, N))
    return path
