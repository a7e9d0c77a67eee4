"""GPU-hours: what was used is all attempts' time, what was lost are the steps that nobody could go on from."""

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_study import TinyStudy, tiny_study

from fly64_hpc.collector import JobView
from fly64_hpc.gpu_hours import asked_gpu_h, gpus_of, spent_on
from fly64_hpc.heartbeat import Heartbeat
from fly64_hpc.job_on_disk import JobOnDisk
from fly64_hpc.job_record import AttemptRecord, SchedulerIds
from fly64_hpc.job_state import JobState
from fly64_hpc.outcome import Outcome
from fly64_hpc.resources import Resources
from fly64_hpc.submissions import Part

START = "2026-11-28T10:00:00.000Z"
HOUR_LATER = "2026-11-28T11:00:00.000Z"


@pytest.fixture
def study(tmp_path: Path) -> TinyStudy:
    return tiny_study(tmp_path / "fly64_smoke")


def attempt(study: TinyStudy, number: int, state: Any, **fields: Any) -> AttemptRecord:
    """An attempt of one hour on two GPUs."""
    record = study.attempt(number, state).model_copy(
        update={"started_utc": START, "ended_utc": HOUR_LATER, "scheduler": SchedulerIds(executor="slurm", gpus=2)} | fields
    )
    record.write(study.job().result(number))
    return record


def beat(study: TinyStudy, number: int, **fields: Any) -> None:
    Heartbeat(attempt=number, phase="training", **({"time_utc": HOUR_LATER} | fields)).write(study.job().heartbeat(number))


def checkpoint(study: TinyStudy, number: int, step: int) -> None:
    keys = ("epoch", "sha256", "size_bytes", "config_sha256", "attempt", "lesson", "val_loss", "created_utc")
    file = study.job().own_checkpoints(number) / f"step_{step:08d}.json"
    file.parent.mkdir(parents=True)
    file.with_suffix(".safetensors").write_bytes(b"")
    file.write_text(json.dumps(dict.fromkeys(keys) | {"step": step}))


def view(study: TinyStudy, outcome: Outcome | None = None) -> JobView:
    """The job with the attempts that it has."""
    known = outcome or Outcome(JobState.FAILED, "")
    return JobView(JobOnDisk(study.jobs[0], str(study.job().root)), None, known)


def test_a_success_has_lost_nothing(study: TinyStudy) -> None:
    attempt(study, 1, "succeeded")
    spent = spent_on(view(study))
    assert (spent.hours, spent.gpu_h, spent.lost_gpu_h) == (1, 2, 0)


def test_an_attempt_that_left_no_checkpoint_is_lost(study: TinyStudy) -> None:
    attempt(study, 1, "failed")
    assert spent_on(view(study)).lost_gpu_h == 2


def test_what_was_saved_before_an_interruption_is_kept(study: TinyStudy) -> None:
    attempt(study, 1, "interrupted", first_step=0, step=80)
    attempt(study, 2, "succeeded", first_step=80)
    spent = spent_on(view(study))
    assert (spent.gpu_h, spent.lost_gpu_h) == (4, 0)


def test_the_steps_after_the_one_that_the_next_began_at_are_lost(study: TinyStudy) -> None:
    attempt(study, 1, "running", ended_utc=None)
    beat(study, 1, step=100)
    attempt(study, 2, "succeeded", first_step=75)
    spent = spent_on(view(study))
    assert spent.lost_gpu_h == pytest.approx(0.25 * 2)
    assert spent.gpu_h == 4


def test_where_nobody_went_on_yet_the_last_checkpoint_counts(study: TinyStudy) -> None:
    attempt(study, 1, "running", ended_utc=None)
    beat(study, 1, step=100)
    checkpoint(study, 1, 60)
    assert spent_on(view(study)).lost_gpu_h == pytest.approx(0.4 * 2)


def test_an_attempt_at_work_counts_until_its_heartbeat_and_has_lost_nothing(study: TinyStudy) -> None:
    attempt(study, 1, "running", ended_utc=None)
    beat(study, 1, step=100, time_utc="2026-11-28T10:30:00.000Z")
    spent = spent_on(view(study, Outcome(JobState.RUNNING, "", is_live=True)))
    assert (spent.gpu_h, spent.lost_gpu_h) == (1, 0)


def test_an_attempt_that_began_again_from_the_start_has_cost_the_one_before(study: TinyStudy) -> None:
    attempt(study, 1, "interrupted", first_step=0, step=80)
    attempt(study, 2, "succeeded", first_step=0)
    assert spent_on(view(study)).lost_gpu_h == 2


@pytest.mark.parametrize(
    ("fields", "gpus"),
    [
        ({"gpus_per_node": 3}, 3),
        ({"gpus_per_node": 0}, 0),
        ({"gres": "gpu:a100:2"}, 2),
        ({"gres": "gpu:4"}, 4),
        ({"gres": "gpu"}, 1),
        ({"gres": "gpu:a100"}, 1),
        ({"gres": "gpu:a100:2,shard:7"}, 2),
        ({"gres": "license:3"}, 0),
    ],
)
def test_gpus_are_counted_in_the_site_s_words_too(fields: dict[str, Any], gpus: int) -> None:
    assert gpus_of(Resources(**fields)) == gpus


def test_asked_is_what_slurm_took(study: TinyStudy) -> None:
    resources = Resources(gpus_per_node=2, time="3:00:00")
    parts = [
        Part(kind="train", tag=f"t{number}", state=state, jobs=tuple(study.ids[:2]), resources=resources)
        for number, state in enumerate(("submitted", "refused"))
    ]
    data = Part(kind="data", tag="d", state="submitted", jobs=(), resources=resources)
    assert asked_gpu_h(study.submission(parts=(data, *parts))) == 2 * 2 * 3
