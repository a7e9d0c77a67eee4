"""Grouping of a large scan, how often a file is read, and the memory of a job."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from measures import Measure, of_runs
from scenes import dataset_files

from ptycho_torch.grouping import draw_groups

POSITIONS = 100_000
FEW_POSITIONS = 256
"""Of the scan of a job: each step needs the same memory."""
REQUIRED_GROUPING_S = 1.0
ALLOWED_BESIDE = 2**30
"""Bytes beside dataset and model."""
PEAK = """\
import sys, tempfile
from pathlib import Path
from machine import peak_bytes
from scenes import job
from ptycho_torch.pipeline import TrainingFiles, train_job
of = job("{architecture}", {gridsize}, threads={threads}, epochs=1, batch_size=16, device="cpu", refiner={refiner})
with tempfile.TemporaryDirectory() as place:
    folder = Path(place) / "attempt"
    folder.mkdir()
    files = TrainingFiles(Path(sys.argv[1]), Path(sys.argv[2]), folder, Path(place) / "checkpoints", Path(place) / "train.log")
    result = train_job(of, files, attempt=1, report=lambda event: None, should_stop=lambda: False)
print(result["bundle_size_bytes"], peak_bytes("self"))
"""


def measured(folder: Path, threads: int, runs: int) -> list[Measure]:
    """The lines on grouping and data."""
    few = dataset_files(folder, FEW_POSITIONS)
    default = _peak("the default network and its refiner, gridsize 2", few, "backprojection_unet", 2, threads, '{"epochs": 1}')
    return [_grouping(runs), default, _peak("ptychopinn, gridsize 1", few, "ptychopinn", 1, threads, "None")]


def _grouping(runs: int) -> Measure:
    positions = np.random.default_rng(0).uniform(0, 3000, (POSITIONS, 2))
    wall, cpu = [], []
    for _ in range(runs + 1):
        started, used = time.perf_counter(), time.process_time()
        draw_groups(positions, gridsize=2, neighbor_count=7, n_groups=POSITIONS, seed=0)
        wall.append(time.perf_counter() - started)
        cpu.append(time.process_time() - used)
    return of_runs(
        "data",
        "100,000 positions grouped, K = 7, C = 4",
        wall[1:],
        unit="s",
        required=REQUIRED_GROUPING_S,
        better="less",
        reference="a group for each position",
        details={"cpu_s": round(sorted(cpu[1:])[runs // 2], 2)},
    )


def _peak(what: str, files: tuple[Path, Path], architecture: str, gridsize: int, threads: int, refiner: str) -> Measure:
    program = PEAK.format(architecture=architecture, gridsize=gridsize, threads=threads, refiner=refiner)
    paths = "import sys; sys.path.insert(0, " + repr(str(Path(__file__).resolve().parent)) + ")\n"
    done = subprocess.run([sys.executable, "-c", paths + program, *map(str, files)], capture_output=True, text=True, check=True)
    model, peak = map(int, done.stdout.split()[-2:])
    dataset = sum(_diffraction_bytes(file) for file in files)
    return Measure(
        section="data",
        name=f"peak memory of a job, batch 16: {what}",
        value=round((peak - dataset - model) / 2**30, 3),
        unit="GiB",
        required=ALLOWED_BESIDE / 2**30,
        better="less",
        reference="beside both halves of the dataset and the model",
        runs=[],
        details={"peak_bytes": peak, "dataset_bytes": dataset, "model_bytes": model},
    )


def _diffraction_bytes(file: Path) -> int:
    with np.load(file) as archive:
        return int(archive["diffraction"].nbytes)
