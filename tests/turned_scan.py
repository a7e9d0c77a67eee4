"""A small scan whose orientation photons can tell, and the same written as if a beamline counted its axes in another way."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from ptycho_torch.position_axes import AS_THEY_ARE, AxisTurn

N = 32
SIDE = 7
PITCH_PX = 4.0
ProbeKind = Literal["curved", "mirrored"]
Kind = Literal["blobs", "stripes"]


@dataclass(frozen=True, eq=False)
class TurnedScan:
    """Counts (n, N, N), zero frequency at the centre, probe (N, N), true positions (n, 2)."""

    counts: npt.NDArray[np.uint32]
    probe: npt.NDArray[np.complex64]
    yx: npt.NDArray[np.float64]

    def write(self, path: Path, turn: AxisTurn = AS_THEY_ARE, scale: float = 1.0) -> Path:
        """As tike would, with positions that `turn` makes right, `scale` times too long."""
        positions = scale * turn.inverse.apply(self.yx - self.yx.mean(axis=0))
        probe = self.probe[np.newaxis, np.newaxis, np.newaxis]
        np.savez(path, data=np.fft.ifftshift(self.counts, axes=(1, 2))[np.newaxis], probe=probe, scan=positions[np.newaxis])
        return path


def make_turned_scan(
    *, dose: float = 2e4, probe: ProbeKind = "curved", kind: Kind = "blobs", is_line: bool = False, n: int = SIDE**2
) -> TurnedScan:
    """Poisson counts of an object, at jittered places of a grid, or of a line along y.

    Parameters
    ----------
    probe
        `curved`: a lopsided spot out of focus; `mirrored`: a flat, round one, its own conjugate mirror image.
    kind
        `blobs`: an object without symmetry; `stripes`: one that is constant along x.
    """
    rng = np.random.default_rng(11)
    size = N + int(PITCH_PX * (SIDE if not is_line else n)) + 8
    noise = rng.standard_normal((size, size))
    smooth = gaussian_filter(np.repeat(noise[:, :1], size, axis=1) if kind == "stripes" else noise, 1.5)
    object_hw = np.exp(0.5j * smooth / smooth.std())
    y, x = np.mgrid[:N, :N] - N / 2
    spot = np.exp(-((y / 5) ** 2) - (x / 5) ** 2)
    if probe == "curved":
        spot = np.exp(-((y / 5) ** 2) - ((x - 1) / 6) ** 2) * np.exp(0.05j * (y**2 + x**2))
    yx = _places(rng, n, is_line=is_line)
    corners = yx.astype(int) - N // 2
    patches = np.stack([object_hw[top : top + N, left : left + N] for top, left in corners])
    waves = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(spot * patches, axes=(1, 2)), norm="ortho"), axes=(1, 2))
    counts = rng.poisson(dose / (np.abs(spot) ** 2).sum() * np.abs(waves) ** 2).astype(np.uint32)
    return TurnedScan(counts, spot.astype(np.complex64), yx)


def _places(rng: np.random.Generator, n: int, *, is_line: bool) -> npt.NDArray[np.float64]:
    if is_line:
        return np.stack([N / 2 + 4 + PITCH_PX * np.arange(n), np.full(n, N / 2 + 6)], axis=1)
    rows = np.arange(n)
    grid = np.stack([rows // SIDE, rows % SIDE], axis=1) * PITCH_PX
    return np.asarray(np.rint(grid + rng.uniform(-1, 1, (n, 2))) + N / 2 + 4)
