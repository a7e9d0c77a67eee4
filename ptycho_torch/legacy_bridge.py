"""CONFIG-001: a job's typed configuration, written one way into the dictionary that legacy readers share.

    legacy_config(job, ...)  ->  update_legacy_dict(params.cfg, config)  ->  require_bridged(params.cfg, job)

What says how to run and not what to learn (device, threads, scheduler) has no field here and so cannot reach the dictionary
(CONFIG-002).
"""

from pathlib import Path
from typing import Any

from pydantic import Field

from ptycho_torch import params
from ptycho_torch.config import JobConfig, Strict
from ptycho_torch.errors import BridgeError

__all__ = ["LegacyModelConfig", "LegacyTrainingConfig", "legacy_config", "require_bridged", "reset", "update_legacy_dict"]

LEGACY_NAMES = {
    "object_big": "object.big",
    "probe_big": "probe.big",
    "probe_mask": "probe.mask",
    "probe_trainable": "probe.trainable",
    "intensity_scale_trainable": "intensity_scale.trainable",
    "positions_provided": "positions.provided",
    "output_dir": "output_prefix",
    "train_data_file": "train_data_file_path",
    "test_data_file": "test_data_file_path",
}
"""The fields whose key in the dictionary is another word; every other field keeps its name."""


class LegacyModelConfig(Strict):
    """What the network is, in legacy words."""

    N: int = 64
    """Side of a pattern [px]."""
    gridsize: int = 1
    n_filters_scale: int = 2
    model_type: str = "pinn"
    architecture: str = "cnn"
    amp_activation: str = "sigmoid"
    object_big: bool = True
    probe_big: bool = True
    probe_mask: bool = False
    pad_object: bool = True
    probe_scale: float = 4.0
    gaussian_smoothing_sigma: float = 0.0


class LegacyTrainingConfig(Strict):
    """How a network learns and from what, in legacy words."""

    owner: str = Field(exclude=True)
    """The digest of the job that this was made from. It stays outside the dictionary: legacy readers see legacy keys only."""
    model: LegacyModelConfig = LegacyModelConfig()
    train_data_file: Path
    test_data_file: Path | None = None
    output_dir: Path = Path("training_outputs")
    batch_size: int = 16
    nepochs: int = 50
    mae_weight: float = 0.0
    nll_weight: float = 1.0
    realspace_mae_weight: float = 0.0
    realspace_weight: float = 0.0
    nphotons: float = 1e9
    """Mean photons per frame."""
    n_groups: int | None = None
    n_subsample: int | None = None
    subsample_seed: int | None = None
    neighbor_count: int = 4
    positions_provided: bool = True
    probe_trainable: bool = False
    intensity_scale_trainable: bool = True
    sequential_sampling: bool = False
    backend: str = "pytorch"


_filled: tuple[dict[str, Any], str] | None = None
"""The dictionary that was filled last, and the digest of the job whose values it got."""


def legacy_config(job: JobConfig, *, train_npz: Path, test_npz: Path, output_dir: Path) -> LegacyTrainingConfig:
    """A job in legacy words."""
    return LegacyTrainingConfig(
        owner=job.config_sha256(),
        model=LegacyModelConfig(
            N=job.patch_size_px,
            gridsize=job.gridsize,
            n_filters_scale=job.training.n_filters_scale,
            architecture=job.training.architecture,
        ),
        train_data_file=train_npz,
        test_data_file=test_npz,
        output_dir=output_dir,
        batch_size=job.training.batch_size,
        nepochs=job.training.epochs,
        nphotons=job.dose_photons,
        n_groups=job.groups,
        neighbor_count=job.neighbor_count,
    )


def update_legacy_dict(cfg: dict[str, Any], config: LegacyTrainingConfig) -> None:
    """Write every field of `config` into `cfg`: the model's among the others, paths as text.

    A field that is None is skipped, so that a value already there survives; `reset` between jobs leaves none behind.
    """
    global _filled
    fields = config.model_dump(mode="json")
    fields |= fields.pop("model")
    cfg.update({LEGACY_NAMES.get(name, name): value for name, value in fields.items() if value is not None})
    _filled = cfg, config.owner


def require_bridged(cfg: dict[str, Any], job: JobConfig) -> None:
    """Refuse a dictionary that was not filled from this very job.

    Raises
    ------
    BridgeError
        The bridge was skipped, ran for another job, or the values were changed since.
    """
    hint = "Call reset() and update_legacy_dict() with this job's configuration before anything reads the dictionary."
    if _filled is None or _filled[0] is not cfg:
        raise BridgeError(f"The legacy dictionary was read before job {job.job_id} filled it (CONFIG-001).", hint=hint)
    if _filled[1] != job.config_sha256():
        raise BridgeError(f"The legacy dictionary holds another job's values, not those of {job.job_id} (CONFIG-001).", hint=hint)
    expected = _expected_values(job)
    differing = [f"{key} is {cfg.get(key)!r}, not {value!r}" for key, value in expected.items() if cfg.get(key) != value]
    if differing:
        raise BridgeError(f"The legacy dictionary does not fit job {job.job_id}: {'; '.join(differing)} (CONFIG-001).", hint=hint)


def require_clear(cfg: dict[str, Any]) -> None:
    """Refuse a dictionary in which a job has left something.

    Raises
    ------
    BridgeError
        Naming the keys.
    """
    defaults = params.legacy_defaults()
    left = sorted(
        key for key in cfg.keys() | defaults.keys() if (key in cfg, cfg.get(key)) != (key in defaults, defaults.get(key))
    )
    if left or _filled is not None:
        raise BridgeError(
            f"A job has left its values in the legacy dictionary: {', '.join(left) or 'its name'} (CONFIG-001).",
            hint="Call reset() after each job of a process.",
        )


def reset() -> None:
    """Forget the last job: `params.cfg` gets its defaults again and belongs to no job."""
    global _filled
    params.reset()
    _filled = None


def _expected_values(job: JobConfig) -> dict[str, Any]:
    """The keys that decide shapes, grouping and dose. `n_groups` None: the key must be absent, not another job's."""
    return {
        "N": job.patch_size_px,
        "gridsize": job.gridsize,
        "neighbor_count": job.neighbor_count,
        "nphotons": job.dose_photons,
        "n_groups": job.groups,
        "n_filters_scale": job.training.n_filters_scale,
        "architecture": job.training.architecture,
        "batch_size": job.training.batch_size,
        "nepochs": job.training.epochs,
    }
