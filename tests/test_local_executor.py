"""The room of this machine, and that no more jobs run at a time than it has."""

import itertools
import os
from pathlib import Path

import pytest
from local_study import LocalStudy

from fly64_hpc.executors.local import Slot, slots, visible_gpus
from fly64_hpc.job_record import AttemptRecord


@pytest.fixture(autouse=True)
def _no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.mark.parametrize("threads", [1, 2, 3, 1000])
def test_the_jobs_of_all_slots_together_use_no_more_threads_than_there_are_cores(threads: int) -> None:
    room = slots(threads, "auto")
    assert len(room) == max(1, len(os.sched_getaffinity(0)) // threads)
    assert set(room) == {Slot(None)}


def test_a_slot_for_each_gpu_where_there_are_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert visible_gpus() == [2, 5]
    assert slots(1, "auto") == [Slot(2), Slot(5)]
    assert Slot(None) in slots(1, "cpu")


def test_jobs_follow_each_other_where_there_is_one_slot(prepared: Path, tmp_path: Path) -> None:
    study = LocalStudy(tmp_path, prepared, step_s=0.2)
    answer = study.submit("--dose", "1000", "--wait", "--set", f"training.threads={os.cpu_count()}")
    assert answer.code == 0, answer.err
    results = sorted(study.place.study.rglob("attempts/001/result.json"))
    records = sorted(
        (AttemptRecord.model_validate_json(file.read_bytes()) for file in results), key=lambda record: record.started_utc
    )
    assert len(records) == 3
    for earlier, later in itertools.pairwise(records):
        assert earlier.ended_utc is not None
        assert earlier.ended_utc <= later.started_utc
