"""CONFIG-001 and CONFIG-002: the legacy dictionary is filled from this very job, and only with what it may know."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ptycho_torch import legacy_bridge, params
from ptycho_torch.config import EXECUTION_FIELDS, JobConfig, TrainingConfig
from ptycho_torch.errors import BridgeError

EXECUTION_WORDS = {*EXECUTION_FIELDS, "partition", "account", "accelerator", "num_workers", "deterministic", "learning_rate"}


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    legacy_bridge.reset()
    yield
    legacy_bridge.reset()


def make_job(dose: float = 1e3, view: str = "dense", gridsize: int = 2, groups: int | None = 512) -> JobConfig:
    """A job of fly64, N = 64."""
    return JobConfig(
        job_id=f"dose_{dose:.0f}-{view}-gs{gridsize}", dose_photons=dose, view=view, gridsize=gridsize, groups=groups,
        patch_size_px=64, neighbor_count=7, grouping_seed=123, training_seed=0, data_recipe_sha256="0" * 64,
        training=TrainingConfig(epochs=3, batch_size=8, device="cpu", threads=1),
    )  # fmt: skip


def fill(job: JobConfig) -> None:
    """Run the bridge for one job."""
    config = legacy_bridge.legacy_config(job, train_npz=Path("a/train.npz"), test_npz=Path("a/test.npz"), output_dir=Path("out"))
    legacy_bridge.update_legacy_dict(params.cfg, config)


def test_the_job_s_values_arrive_under_legacy_names() -> None:
    fill(make_job())
    expected = {
        "N": 64, "gridsize": 2, "neighbor_count": 7, "nphotons": 1e3, "n_groups": 512, "nepochs": 3, "batch_size": 8,
        "object.big": True, "probe.big": True, "probe.mask": False, "probe.trainable": False, "intensity_scale.trainable": True,
        "positions.provided": True, "output_prefix": "out", "train_data_file_path": "a/train.npz",
        "test_data_file_path": "a/test.npz",
    }  # fmt: skip
    assert {key: params.cfg[key] for key in expected} == expected


def test_no_field_keeps_a_renamed_name_and_paths_are_text() -> None:
    fill(make_job())
    assert not params.cfg.keys() & (legacy_bridge.LEGACY_NAMES.keys() | {"model", "owner"})
    assert len(legacy_bridge.LEGACY_NAMES) == 9
    assert not any(isinstance(value, Path) for value in params.cfg.values())


def test_execution_settings_never_appear() -> None:
    fill(make_job())
    assert not params.cfg.keys() & EXECUTION_WORDS
    fields = legacy_bridge.LegacyTrainingConfig.model_fields.keys() | legacy_bridge.LegacyModelConfig.model_fields.keys()
    assert not fields & EXECUTION_WORDS


@pytest.mark.parametrize("name", sorted(EXECUTION_WORDS))
def test_a_legacy_configuration_refuses_execution_settings(name: str) -> None:
    values = {"owner": "0" * 64, "train_data_file": "a.npz", name: 1}
    with pytest.raises(ValueError, match=name):
        legacy_bridge.LegacyTrainingConfig.model_validate(values)


def test_a_missing_value_leaves_the_old_one() -> None:
    params.cfg["n_groups"] = 33
    fill(make_job(groups=None))
    assert params.cfg["n_groups"] == 33


def test_a_skipped_bridge_fails_loudly() -> None:
    with pytest.raises(BridgeError, match="before job dose_1000-dense-gs2 filled it") as error:
        legacy_bridge.require_bridged(params.cfg, make_job())
    assert "update_legacy_dict" in error.value.hint


def test_another_dictionary_fails_loudly() -> None:
    fill(make_job())
    with pytest.raises(BridgeError, match="filled it"):
        legacy_bridge.require_bridged(dict(params.cfg), make_job())


def test_another_job_s_values_fail_loudly() -> None:
    fill(make_job(dose=1e4))
    with pytest.raises(BridgeError, match="another job's values, not those of dose_1000-dense-gs2"):
        legacy_bridge.require_bridged(params.cfg, make_job(dose=1e3))


@pytest.mark.parametrize("key", ["N", "gridsize", "neighbor_count", "nphotons", "n_groups", "batch_size", "nepochs"])
def test_a_value_changed_after_the_bridge_fails_loudly(key: str) -> None:
    fill(make_job())
    params.cfg[key] = 5
    with pytest.raises(BridgeError, match=f"{key} is 5, not"):
        legacy_bridge.require_bridged(params.cfg, make_job())


def test_groups_left_behind_by_the_job_before_fail_loudly() -> None:
    fill(make_job(groups=512))
    fill(make_job(groups=None))
    with pytest.raises(BridgeError, match="n_groups is 512, not None"):
        legacy_bridge.require_bridged(params.cfg, make_job(groups=None))


def test_a_reset_dictionary_belongs_to_no_job() -> None:
    fill(make_job())
    legacy_bridge.reset()
    with pytest.raises(BridgeError, match="filled it"):
        legacy_bridge.require_bridged(params.cfg, make_job())


def test_nine_jobs_in_a_row_leave_no_key_behind() -> None:
    for dose in (1e3, 1e4, 1e5):
        for view, gridsize, groups in (("baseline", 1, None), ("dense", 2, None), ("sparse", 2, 256)):
            job = make_job(dose, view, gridsize, groups)
            fill(job)
            legacy_bridge.require_bridged(params.cfg, job)
            legacy_bridge.reset()
            assert params.cfg == params.legacy_defaults()


def test_the_same_job_run_elsewhere_owns_the_same_values() -> None:
    job = make_job()
    fill(job)
    moved = job.model_copy(update={"training": job.training.model_copy(update={"device": "cuda", "threads": 8})})
    legacy_bridge.require_bridged(params.cfg, moved)
