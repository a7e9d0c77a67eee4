"""What the benchmarks train on: the siemens_star of `configs/fly64_demo.yaml` at 10⁴ photons, N = 64, more positions of it."""

from pathlib import Path

from ptycho_torch.config import BaseConfig, DatasetRecipe, JobConfig, ProceduralBase, ScanConfig, SplitConfig, TrainingConfig
from ptycho_torch.dataset import ScanTensors, scan_tensors
from ptycho_torch.devices import choose_device
from ptycho_torch.npz_contract import read_dataset
from ptycho_torch.simulation import make_dataset

DOSE_PHOTONS = 1e4
PATCH_SIZE_PX = 64
POSITIONS = 2400
"""Both halves together: an epoch is 66 steps of 16 patterns, 17 of 64."""
LEARNING_RATE = 2e-3


def dataset_files(folder: Path, positions: int = POSITIONS) -> tuple[Path, Path]:
    """The training and the test half, made where they are not there."""
    folder = folder / f"positions_{positions}"
    files = folder / "patched_train.npz", folder / "patched_test.npz"
    if not all(file.exists() for file in files):
        make_dataset(
            DatasetRecipe(
                base=BaseConfig(procedural=ProceduralBase(size=(232, 232))),
                base_sha256=None,
                scan=ScanConfig(positions=positions),
                split=SplitConfig(),
                dose_photons=DOSE_PHOTONS,
                patch_size_px=PATCH_SIZE_PX,
                simulation_seed=42,
            ),
            folder,
        )
    return files


def job(architecture: str, gridsize: int, *, threads: int, **training: object) -> JobConfig:
    """A job of the benchmark; `training` overrides its settings."""
    settings = {"architecture": architecture, "learning_rate": LEARNING_RATE, "refiner": None, "threads": threads} | training
    return JobConfig(
        job_id="bench",
        dose_photons=DOSE_PHOTONS,
        view="bench",
        gridsize=gridsize,
        groups=None,
        patch_size_px=PATCH_SIZE_PX,
        neighbor_count=7,
        grouping_seed=123,
        training_seed=0,
        data_recipe_sha256="0" * 64,
        training=TrainingConfig.model_validate(settings),
    )


def scan_of(file: Path, device_name: str) -> ScanTensors:
    """A half of the scan, on a device."""
    return scan_tensors(read_dataset(file), DOSE_PHOTONS, choose_device(device_name)[0])
