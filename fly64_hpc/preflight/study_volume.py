"""How much a study will write: datasets from their shapes, jobs from those of earlier ones or from the size of their networks."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fly64_hpc.job_paths import JobPaths
from fly64_hpc.preflight.request import PreflightRequest
from fly64_hpc.study import StudyDesign

BYTES_A_VALUE = 4
BYTES_A_COMPLEX = 8
CHECKPOINTS_KEPT = 3
"""The newest two and the best."""
TENSORS_IN_CHECKPOINT = 4
"""Weights, the best so far, and two moments."""
FILES_A_JOB = 24
JOBS_MEASURED = 5
"""Of those that have ended: to look at the files of all would take long where there are thousands."""
FILES_A_DATASET = 4
GUESSED_NETWORK = 8_000_000
"""Parameters of a network whose size its widths do not tell."""
_SMALL_FILES_BYTES = 1 << 20
"""Logs, records and the reserve of an attempt."""


@dataclass(frozen=True)
class Volume:
    """What is still to be written."""

    size_bytes: int
    files: int
    basis: str
    """Where the numbers come from, in words."""


def patterns_of(design: StudyDesign, view: str) -> int | None:
    """About how many patterns a half of a view has; None for a measured scan, which tells only when it is read."""
    if design.base.measured is not None:
        return None
    return max(1, round(design.scan.positions // 2 * design.design.views[view].image_fraction))


def volume(request: PreflightRequest) -> Volume:
    """What the jobs that have left nothing yet, and the datasets that are missing, will take."""
    missing = [place for record, place in request.data_records.items() if not record.is_file()]
    study = request.loaded
    jobs = [job for job in request.jobs if not request.paths.job(job).bundle.exists()]
    earlier = list(itertools.islice(_earlier_sizes([request.paths.job(job) for job in request.jobs]), JOBS_MEASURED))
    sizes = {job.sweep: estimated_job_bytes(study.of(job).design) for job in ([] if earlier else jobs)}
    all_jobs = len(jobs) * max(earlier) if earlier else sum(sizes[job.sweep] for job in jobs)
    datasets = sum(dataset_bytes(study.of(job).design, view) for job, view in missing)
    basis = "from the job folders that are here" if earlier else "from the shapes of the data and the size of the networks"
    return Volume(datasets + all_jobs, len(missing) * FILES_A_DATASET + len(jobs) * FILES_A_JOB, basis)


def dataset_bytes(design: StudyDesign, view: str | None) -> int:
    """Both halves of Phase C, or of one view; they are stored uncompressed."""
    side = design.design.patch_size_px
    share = 1.0 if view is None else design.design.views[view].image_fraction
    if design.base.measured is not None:
        return round(_file_size(Path(design.base.measured)) * share)
    patterns = math.ceil(design.scan.positions * share) * side**2 * BYTES_A_VALUE
    return patterns + 2 * (object_pixels(design) + side**2) * BYTES_A_COMPLEX


def object_pixels(design: StudyDesign) -> int:
    """Pixels of the object; of one from a file, as many as its bytes could hold."""
    if design.base.procedural is not None:
        height, width = design.base.procedural.size
        return height * width
    return _file_size(Path(design.base_file or "")) // BYTES_A_COMPLEX


def estimated_job_bytes(design: StudyDesign) -> int:
    """Checkpoints, bundle and reconstructions of one job."""
    networks = network_parameters(design)
    copies = CHECKPOINTS_KEPT * TENSORS_IN_CHECKPOINT + 1
    images = 2 * object_pixels(design) * (2 * BYTES_A_COMPLEX + BYTES_A_VALUE)
    return networks * copies * BYTES_A_VALUE + images + _SMALL_FILES_BYTES


def network_parameters(design: StudyDesign) -> int:
    """About how many parameters a job's networks have together."""
    training = design.training
    first = GUESSED_NETWORK if training.architecture == "ptychopinn" else unet_parameters(training.unet_widths)
    return first + (0 if training.refiner is None else unet_parameters(training.refiner.unet_widths))


def unet_parameters(widths: Sequence[int]) -> int:
    """Of 3 × 3 convolutions, two a level on the way down and two on the way up."""
    down = sum(9 * (before * width + width * width) for before, width in zip((8, *widths), widths, strict=False))
    up = sum(9 * ((below + width) * width + width * width) for width, below in itertools.pairwise(widths))
    return down + up


def _earlier_sizes(jobs: Sequence[JobPaths]) -> Iterator[int]:
    for job in jobs:
        if job.bundle.exists():
            yield sum(_file_size(file) for file in job.root.rglob("*") if file.is_file())


def _file_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
