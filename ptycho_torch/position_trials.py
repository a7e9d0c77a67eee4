"""How well readings of a scan's positions explain held-out photons: a short reconstruction of a few patterns for each.

The probe stays as it is given: refined along with the object it would adapt to wrong positions.
"""

from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from ptycho_torch.data_consistency import descend
from ptycho_torch.dataset import ScanTensors, counter_seed, scan_tensors
from ptycho_torch.dense_neighbourhood import dense_neighbourhood, probe_diameter_px
from ptycho_torch.held_out import part_scan
from ptycho_torch.losses import poisson_deviance
from ptycho_torch.network_object import bounding_shape
from ptycho_torch.npz_contract import PtychoDataset
from ptycho_torch.physics import cut_patches, diffraction_intensity, split_positions
from ptycho_torch.position_axes import AS_THEY_ARE, AxisTurn
from ptycho_torch.position_contest import Deviances

FED_SHARE = 0.75
DEAL_SEED = 6
MOST_PATTERNS, FEWEST_PATTERNS = 64, 12
"""Fewer say nothing of chance."""
_MOST_PIXELS = MOST_PATTERNS * 128**2
"""Of all patterns of a trial: larger patterns are fewer, but twice the fewest at least."""


@dataclass(frozen=True, eq=False)
class Fit:
    """Where held-out photons liked a descent best."""

    deviances: Deviances
    """(m,)."""
    steps: int
    """0: the empty field of view, from which it begins."""


class PositionTrials:
    """Trials on the densest neighbourhood of a scan.

    Parameters
    ----------
    dataset
        With an intensity scale, and |object| about 1.
    """

    def __init__(self, dataset: PtychoDataset) -> None:
        rows = np.flatnonzero(dataset.diffraction.any(axis=(1, 2)))
        size_px = dataset.patch_size_px
        most = min(MOST_PATTERNS, max(2 * FEWEST_PATTERNS, _MOST_PIXELS // size_px**2))
        diameter_px = probe_diameter_px(dataset.probe_guess)
        if len(rows):
            rows = rows[dense_neighbourhood(dataset.positions_yx[rows], diameter_px, most)]
        self._scan = scan_tensors(dataset.select(rows), 1.0, torch.device("cpu"))
        self._exposures = part_scan(self._scan, FED_SHARE, counter_seed(DEAL_SEED))

    def __len__(self) -> int:
        return len(self._scan)

    @property
    def held_photons(self) -> float:
        """How many photons judge."""
        return float(self._exposures.held.counts.sum(dtype=torch.float64))

    @torch.no_grad()
    def empty(self) -> Deviances:
        """Deviances (m,) of an empty field of view: positions do not matter."""
        held = self._read(self._exposures.held, AS_THEY_ARE, 1.0)
        return _deviances(held.flat_object(bounding_shape(held)), held)

    @torch.no_grad()
    def fitted(self, turn: AxisTurn, scale: float, most_steps: int) -> Fit:
        """A descent from a flat object, with positions so turned and scaled."""
        fed, held = (self._read(part, turn, scale) for part in (self._exposures.fed, self._exposures.held))
        steps = islice(descend(fed, fed.flat_object(bounding_shape(fed))), most_steps + 1)
        curve = [_deviances(object_hw, held) for object_hw in steps]
        best = int(np.nan_to_num([each.sum() for each in curve], nan=np.inf).argmin())
        return Fit(curve[best], best)

    def _read(self, part: ScanTensors, turn: AxisTurn, scale: float) -> ScanTensors:
        yx = scale * turn.apply(part.positions_yx)
        yx = yx - yx.min(axis=0) + part.counts.shape[-1] / 2
        centers, shifts = split_positions(torch.from_numpy(yx))
        return replace(part, positions_yx=yx, centers=centers, shifts=shifts.float())


def _deviances(object_hw: Tensor, held: ScanTensors) -> Deviances:
    """Half the Poisson deviance (m,) of each pattern, not divided by its photons; 0 where it has none."""
    totals = []
    for rows in held.chunks():
        patches = cut_patches(object_hw, held.centers[rows], held.counts.shape[-1])
        expected = diffraction_intensity(patches, held.probes_of(rows))
        photons = held.counts[rows].sum(dim=(1, 2))
        each = torch.vmap(poisson_deviance)(expected, held.counts[rows]) * photons
        totals.append(torch.where(photons > 0, each, 0.0))
    return np.asarray(torch.cat(totals).double().numpy())
