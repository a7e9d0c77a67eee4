"""Files such as a reader brings along: an object with its probe, and a measured scan, of the shapes that the pages speak of."""

import bz2
from pathlib import Path

import numpy as np


def write_object_and_probe(folder: Path) -> None:
    """`object_and_probe.npz`: an object of 230 pixels a side, and a probe of 64."""
    rng = np.random.default_rng(0)
    radius = np.hypot(*np.mgrid[-32:32, -32:32])
    probe = np.exp(-((radius / 8) ** 2) + 0.02j * radius**2).astype(np.complex64)
    np.savez(folder / "object_and_probe.npz", obj=np.exp(1j * rng.normal(0, 0.3, (230, 230))).astype(np.complex64), probe=probe)


def write_scan(folder: Path) -> None:
    """`scan.npz.bz2`: 160 patterns of photon counts, in the layout of tike."""
    rng = np.random.default_rng(1)
    with np.load(folder / "object_and_probe.npz") as arrays:
        probe = arrays["probe"]
    expected = 1e3 * np.abs(np.fft.fft2(probe)) ** 2
    plain = folder / "scan.npz"
    np.savez(
        plain,
        data=rng.poisson(expected, (1, 160, 64, 64)).astype(np.float32),
        probe=probe[None],
        scan=rng.uniform(-60, 60, (1, 160, 2)),
    )
    (folder / "scan.npz.bz2").write_bytes(bz2.compress(plain.read_bytes()))
    plain.unlink()
