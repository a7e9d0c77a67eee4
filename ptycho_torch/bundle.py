"""The bundle: what a trained network leaves behind.

model.safetensors    the best weights by validation loss; same weights, same bytes
model.json           all that is needed to build the network again and to run it; no times
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch

from ptycho_torch.atomic_files import replacing, sha256_file, write_json
from ptycho_torch.checkpoints import NamedTensors, detached, read_tensors
from ptycho_torch.config import EXECUTION_FIELDS, JobConfig, TrainingConfig
from ptycho_torch.errors import CheckpointError
from ptycho_torch.model import PtychoModel, build_model
from ptycho_torch.precision import Precision

WEIGHTS_NAME = "model.safetensors"
FACTS_NAME = "model.json"
SCHEMA_VERSION = 1
NO_BUNDLE_HINT = (
    f"Name the folder that holds {WEIGHTS_NAME} and {FACTS_NAME}, as outputs/STUDY/phase_e_training/dose_1000/dense/gs2."
)
DAMAGED_HINT = "Copy the whole bundle again from where it was trained, or train again."

CONVENTIONS = {
    "counts": "photons of each pattern, zero frequency at the corner (torch.fft order)",
    "probes": "the probe moved by the fractional part of its position; its summed square modulus is photons of the fed exposure",
    "positions": "the patch of (y, x) has its centre, pixel N/2, at floor(y + 1/2), floor(x + 1/2)",
    "input_normalization": "inside the network: photons and probes are fed as they are, whatever the dose",
    "output": "complex object patches, 1 where the network does not look",
}
"""How a network is fed and what it gives, in words, for whoever finds a bundle alone."""


@dataclass(frozen=True)
class BundleRecord:
    """What a manifest says of a bundle."""

    path: Path
    """The weights' file."""
    sha256: str
    size_bytes: int


def write_bundle(folder: Path, weights: NamedTensors, facts: dict[str, Any]) -> BundleRecord:
    """Write weights, then facts; the facts gain `weights_sha256`.

    Parameters
    ----------
    facts
        JSON values that say how to build and feed the network; nothing that changes from run to run.

    Raises
    ------
    CheckpointError
        The files cannot be written, as on a full disk.
    """
    path = folder / WEIGHTS_NAME
    try:
        with replacing(path) as file:
            # One metadata key at most: several come out in changing order.
            file.write(safetensors.torch.save(detached(weights), metadata={"format": "pt"}))
        record = BundleRecord(path, sha256_file(path), path.stat().st_size)
        write_json(folder / FACTS_NAME, {**facts, "weights_sha256": record.sha256})
    except OSError as error:
        raise CheckpointError(f"{path} cannot be written: {error.strerror}.", hint="Make room and submit again.") from error
    return record


def read_bundle(folder: Path) -> tuple[NamedTensors, dict[str, Any]]:
    """Weights and facts of a bundle whose weights agree with their sha256.

    Raises
    ------
    CheckpointError
        A file is missing, unreadable, or the weights are not those that the facts name.
    """
    path = folder / FACTS_NAME
    try:
        facts: dict[str, Any] = json.loads(path.read_bytes())
        sha256 = facts["weights_sha256"]
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing: {folder} holds no bundle.", hint=NO_BUNDLE_HINT) from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.", hint=NO_BUNDLE_HINT) from error
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is no bundle's record: {error}.", hint=DAMAGED_HINT) from error
    try:
        return read_tensors(folder / WEIGHTS_NAME, sha256), facts
    except CheckpointError as error:
        raise CheckpointError(error.message, hint=DAMAGED_HINT) from error


def bundle_facts(job: JobConfig) -> dict[str, Any]:
    """All that is needed to build and feed the network of a job; no times and no execution settings."""
    return {
        "schema_version": SCHEMA_VERSION,
        "job_id": job.job_id,
        "config_sha256": job.config_sha256(),
        "patch_size_px": job.patch_size_px,
        "gridsize": job.gridsize,
        "dose_photons": job.dose_photons,
        "training_seed": job.training_seed,
        "training": job.training.model_dump(mode="json", exclude=set(EXECUTION_FIELDS)),
        "conventions": CONVENTIONS,
    }


def bundle_job(facts: dict[str, Any]) -> JobConfig:
    """The job of a bundle, as far as running its network asks for it; what only its training asked for is left plain.

    A bundle of an older version does not say its `training_seed`, which decides how a refiner adapts: it is taken for 0.
    """
    gridsize = facts["gridsize"]
    return JobConfig(
        job_id=facts["job_id"],
        dose_photons=facts["dose_photons"],
        view="",
        gridsize=gridsize,
        groups=None,
        patch_size_px=facts["patch_size_px"],
        neighbor_count=gridsize**2,
        grouping_seed=0,
        training_seed=facts.get("training_seed", 0),
        data_recipe_sha256="",
        training=TrainingConfig(**facts["training"]),
    )


def load_model(folder: Path, auto: Precision = "auto") -> tuple[PtychoModel, dict[str, Any]]:
    """The trained network of a bundle, and the bundle's facts.

    Parameters
    ----------
    auto
        What the precision `auto` is to mean in it; otherwise the hardware that it meets decides.

    Raises
    ------
    CheckpointError
        As `read_bundle`; or the facts are not those of a network that this version can build, or the weights are another's.
    """
    weights, facts = read_bundle(folder)
    try:
        job = bundle_job(facts)
        training = job.training
        if training.precision == "auto":
            training = training.model_copy(update={"precision": auto})
        model = build_model(training, job.patch_size_px, job.gridsize)
        model.load_state_dict(weights)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{folder / FACTS_NAME}: no network can be built of it: {type(error).__name__}: {_first_line(error)}.",
            hint="Was it written by another version of this program? Use that one, or train again.",
        ) from error
    return model, facts


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
