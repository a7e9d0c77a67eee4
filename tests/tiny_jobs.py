"""Jobs and scans small enough to train in a second."""

import numpy as np
import torch

from ptycho_torch.config import JobConfig, TrainingConfig
from ptycho_torch.dataset import ScanTensors
from ptycho_torch.npz_contract import PtychoDataset
from ptycho_torch.physics import cut_patches, diffraction_intensity

N = 32
OBJECT_SHAPE = (80, 96)


def tiny_job(*, gridsize: int = 1, **training: object) -> JobConfig:
    """A job of N = 32 with the smallest U-Net; `training` overrides its settings."""
    settings = {"unet_widths": (4, 8), "epochs": 3, "batch_size": 8, "device": "cpu", "threads": 1, "refiner": None} | training
    return JobConfig(
        job_id="tiny",
        dose_photons=1e4,
        view="baseline",
        gridsize=gridsize,
        groups=None,
        patch_size_px=N,
        neighbor_count=7,
        grouping_seed=123,
        training_seed=0,
        data_recipe_sha256="0" * 64,
        training=TrainingConfig.model_validate(settings),
    )


def tiny_object() -> torch.Tensor:
    """(H, W) complex64: a phase of stripes 0.6 rad high, amplitude 1."""
    rows, columns = torch.meshgrid(*map(torch.arange, OBJECT_SHAPE), indexing="ij")
    return torch.polar(torch.ones(OBJECT_SHAPE), 0.6 * torch.sin(0.5 * rows + 0.2 * columns))


def tiny_scan(n: int = 24) -> ScanTensors:
    """Poisson counts of `tiny_object` under a curved Gaussian probe of 10⁴ photons, at random whole positions."""
    rng = np.random.default_rng(0)
    offsets = torch.arange(N) - N / 2
    radius = offsets[:, None] ** 2 + offsets**2
    probe = torch.polar(torch.exp(-radius / 50), radius / 30)
    probe = probe * (1e4 / probe.abs().square().sum()).sqrt()
    centers = torch.from_numpy(rng.integers(N // 2, np.array(OBJECT_SHAPE) - N // 2, (n, 2)))
    intensity = diffraction_intensity(cut_patches(tiny_object(), centers, N), probe)
    counts = torch.from_numpy(rng.poisson(intensity.numpy()).astype(np.float32))
    return ScanTensors(centers.double().numpy(), counts, centers, torch.zeros(n, 2), probe)


def tiny_dataset(*, with_truth: bool, n: int = 40) -> PtychoDataset:
    """`tiny_scan` as a file would hold it."""
    scan = tiny_scan(n)
    scale = 100.0  # √(10⁴ photons), so that the probe's power is 1
    return PtychoDataset(
        diffraction=(np.fft.fftshift(np.sqrt(scan.counts.numpy()), axes=(1, 2)) / scale).astype(np.float32),
        intensity_scale=scale,
        probe_guess=(scan.probe / scale).numpy(),
        object_guess=tiny_object().numpy() if with_truth else None,
        xcoords=scan.positions_yx[:, 1].copy(),
        ycoords=scan.positions_yx[:, 0].copy(),
        scan_index=np.arange(n),
    )
