"""A scan as tensors, the strip that validates it, and the batches of an epoch.

Nothing random here has a state: every draw starts from (seed, epoch), so a resumed training sees what an uninterrupted one would.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ptycho_torch import params
from ptycho_torch.config import JobConfig
from ptycho_torch.errors import DataContractError, GroupingError
from ptycho_torch.grouping import draw_groups
from ptycho_torch.legacy_bridge import require_bridged
from ptycho_torch.npz_contract import PtychoDataset, check_grouping, read_dataset
from ptycho_torch.physics import Illumination, illuminate, split_positions

CHUNK_PATTERNS = 128

Object: TypeAlias = npt.NDArray[np.complex64]
"""(H, W), the truth of a scan."""


@dataclass(frozen=True, eq=False)
class ScanTensors:
    """The patterns of a scan, ready for the forward model of `physics`."""

    positions_yx: npt.NDArray[np.float64]
    """(n, 2) scan positions [px]."""
    counts: Tensor
    """(n, N, N) float32 photons, zero frequency at the corner."""
    centers: Tensor
    """(n, 2) int64 whole pixels about which the patches lie on the object, (y, x)."""
    shifts: Tensor
    """(n, 2) float32 what is left of the positions, in [-1/2, 1/2) px; not float64, which Apple's GPUs lack."""
    probe: Tensor
    """(N, N) complex64, Σ|P|² in photons."""

    def __len__(self) -> int:
        return len(self.counts)

    def take(self, rows: Tensor) -> "ScanTensors":
        """Some patterns (m,) of the scan as a scan of their own."""
        return ScanTensors(
            positions_yx=self.positions_yx[rows.cpu().numpy()],
            counts=self.counts[rows],
            centers=self.centers[rows],
            shifts=self.shifts[rows],
            probe=self.probe,
        )

    def chunks(self) -> Sequence[Tensor]:
        """All rows in order, so many at a time that the memory of a pass over the patterns is bounded."""
        return list(torch.arange(len(self), device=self.counts.device).split(CHUNK_PATTERNS))

    def flat_object(self, object_shape: tuple[int, int]) -> Tensor:
        """O = 1, (H, W) complex64, beside the scan's tensors."""
        return torch.ones(object_shape, dtype=torch.complex64, device=self.counts.device)

    def probes_of(self, rows: Tensor) -> Tensor:
        """The probe where it stood for each of `rows` (...): (..., N, N)."""
        return self.illumination_of(rows).probes

    def illumination_of(self, rows: Tensor, share: float = 1.0) -> Illumination:
        """The same in both planes, with a share of the light."""
        moved = illuminate(self.probe * sqrt(share), self.shifts[rows].reshape(-1, 2))
        return Illumination(*(plane.reshape(*rows.shape, *self.probe.shape) for plane in moved))


def load_half(path: Path, job: JobConfig, device: torch.device) -> tuple[ScanTensors, Object | None]:
    """Read a DATA-001 file for a job whose values are in the legacy dictionary (CONFIG-001): scan and object, where known.

    The file is read once, and its patterns become counts where they lie: there are never two of them. A file without
    `intensity_scale` gets the one that makes its mean exposure the job's dose.

    Raises
    ------
    BridgeError
        The dictionary does not hold this job's values.
    DataContractError
        The file is refused, or its patterns are of another size or too few for the job.
    GroupingError
        The job asks for oversampling with gridsize 1.
    """
    require_bridged(params.cfg, job)
    dataset = read_dataset(path)
    require_patch_size(dataset, job.patch_size_px, path)
    _require_groups(dataset, job, path)
    return _as_tensors(_with_scale(dataset, job.dose_photons), device, in_place=True), dataset.object_guess


def require_patch_size(dataset: PtychoDataset, patch_size_px: int, source: Path) -> None:
    """Refuse patterns of another size than the job's N."""
    if dataset.patch_size_px != patch_size_px:
        raise DataContractError(
            f"{source}: got patterns of {dataset.patch_size_px} px; allowed are those of the job's patch_size_px, "
            f"{patch_size_px}.",
            hint=f"Set patch_size_px to {dataset.patch_size_px}, or bring the patterns to {patch_size_px} px.",
        )


def _require_groups(dataset: PtychoDataset, job: JobConfig, source: Path) -> None:
    n_patterns = len(dataset.diffraction)
    check_grouping(n_patterns, gridsize=job.gridsize, neighbor_count=job.neighbor_count, source=source)
    if job.gridsize == 1 and job.groups is not None and job.groups > n_patterns:
        raise GroupingError(
            f"{source}: {job.groups} groups of {n_patterns} patterns were asked for; gridsize 1 cannot oversample.",
            hint=f"Lower `groups` to {n_patterns} or less.",
        )


def _scale_of_dose(dataset: PtychoDataset, dose_photons: float) -> float:
    energy = np.square(dataset.diffraction, dtype=np.float64).sum() / len(dataset.diffraction)
    return float(np.sqrt(dose_photons / energy))


def scan_tensors(dataset: PtychoDataset, dose_photons: float, device: torch.device) -> ScanTensors:
    """A dataset as tensors; one without `intensity_scale` gets the one that makes its mean exposure `dose_photons`."""
    return _as_tensors(_with_scale(dataset, dose_photons), device, in_place=False)


def _with_scale(dataset: PtychoDataset, dose_photons: float) -> PtychoDataset:
    scale = dataset.intensity_scale
    return replace(dataset, intensity_scale=_scale_of_dose(dataset, dose_photons) if scale is None else scale)


def _as_tensors(dataset: PtychoDataset, device: torch.device, *, in_place: bool) -> ScanTensors:
    centers, shifts = split_positions(torch.from_numpy(dataset.positions_yx))
    probe = torch.from_numpy(dataset.probe_guess * np.complex64(dataset.intensity_scale))
    return ScanTensors(
        positions_yx=dataset.positions_yx,
        counts=torch.from_numpy(_corner_counts(dataset, in_place=in_place)).to(device),
        centers=centers.to(device),
        shifts=shifts.float().to(device),
        probe=probe.to(device),
    )


def _corner_counts(dataset: PtychoDataset, *, in_place: bool) -> npt.NDArray[np.float32]:
    """The counts (n, N, N), zero frequency at the corner, a few patterns at a time; `in_place` they take the amplitudes' room."""
    counts = dataset.diffraction if in_place else np.empty_like(dataset.diffraction)
    for first in range(0, len(counts), CHUNK_PATTERNS):
        rows = slice(first, first + CHUNK_PATTERNS)
        counts[rows] = np.fft.ifftshift(dataset.counts(rows), axes=(-2, -1))
    return counts


def validation_strip(positions_yx: npt.NDArray[np.float64], fraction: float, at_least: int) -> tuple[Tensor, Tensor]:
    """Keep the strip of a scan that lies furthest along x for validation.

    Patches of the strip's first patterns overlap those of the last training patterns, so both share object pixels. Their photons
    are independent nonetheless, and the strip only chooses among epochs: the test half, which scores, is untouched.

    Parameters
    ----------
    positions_yx
        (n, 2) scan positions [px].
    fraction
        Share of the positions that the strip should hold.
    at_least
        Neither part gets fewer rows than this.

    Returns
    -------
    Training rows and validation rows, int64, each ascending.

    Raises
    ------
    GroupingError
        There are fewer than 2 · `at_least` positions.
    """
    n = len(positions_yx)
    if n < 2 * at_least:
        raise GroupingError(
            f"{n} patterns can't be parted into training and validation with {at_least} or more each.",
            hint="Keep more patterns in the view (image_fraction), or lower its gridsize.",
        )
    held = min(max(round(fraction * n), at_least), n - at_least)
    by_x = np.argsort(positions_yx[:, 1], kind="stable")
    return torch.from_numpy(np.sort(by_x[:-held])), torch.from_numpy(np.sort(by_x[-held:]))


def epoch_batches(scan: ScanTensors, rows: Tensor, job: JobConfig, epoch: int, batch_size: int) -> Sequence[Tensor]:
    """The batches of an epoch, the same number in each epoch, of nearly equal size.

    Parameters
    ----------
    scan
        The whole scan.
    rows
        (m,) int64 rows that may be used.
    job
        Says how groups are drawn and seeded.
    epoch
        Groups are drawn and shuffled anew in each.
    batch_size
        Patterns in a batch.

    Returns
    -------
    Tensors (b, C) int64 of rows of `scan`, on its device; b · C is at most the batch size, but b at least 1.
    """
    groups = draw_groups(
        scan.positions_yx[rows.cpu().numpy()],
        gridsize=job.gridsize,
        neighbor_count=job.neighbor_count,
        n_groups=_groups_an_epoch(job, len(rows)),
        seed=counter_seed(job.grouping_seed, epoch),
    )
    np.random.default_rng((job.training_seed, epoch)).shuffle(groups)
    most = max(1, batch_size // job.group_size)
    batches = torch.from_numpy(groups).tensor_split(-(-len(groups) // most))
    return [rows[batch.to(rows.device)].to(scan.counts.device) for batch in batches]


def _groups_an_epoch(job: JobConfig, n_rows: int) -> int | None:
    """The job's number; no more than there are rows where OVERSAMPLING-001 forbids to draw anchors again.

    This is for the rows lost to validation: `load_half` has refused a number above that of a scan's patterns.
    """
    may_oversample = job.gridsize > 1 and job.neighbor_count > job.group_size
    return job.groups if job.groups is None or may_oversample else min(job.groups, n_rows)


def counter_seed(*counters: int) -> int:
    """A 63-bit seed that depends on every counter, such as (seed, epoch, step), and on their order."""
    return int(np.random.SeedSequence(counters).generate_state(1, np.uint64)[0] >> np.uint64(1))
