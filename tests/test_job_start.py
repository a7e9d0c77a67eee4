"""What a job's process does before its first step: it waits for nothing that training does not need."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_study import tiny_study

from fly64_hpc.job_record import AttemptRecord
from fly64_hpc.train_task import TRAINER_VARIABLE

TRAINER = """
import gc, json, sys
from idle_trainer import Interrupted, TrainingFiles, train_job as idle
first = [stat["collections"] for stat in gc.get_stats()]
pile = [[number] for number in range(200_000)]
collections = [stat["collections"] for stat in gc.get_stats()]
unneeded = sorted({"yaml", "submitit", "fly64_hpc.study_loading", "numpy", "torch"} & set(sys.modules))
def train_job(*arguments, **named):
    passed_over, works = gc.get_freeze_count() > len(pile), gc.isenabled()
    print(json.dumps({"collected": collections != first, "passed_over": passed_over, "works": works, "unneeded": unneeded}))
    return idle(*arguments, **named)
"""
RUNS = """
import sys
from fly64_hpc import slurm_task
from fly64_hpc.train_task import run_job
for job in sys.argv[2:]:
    run_job(sys.argv[1], job)
"""
BROKEN = "raise RuntimeError('a trainer that cannot be imported')"


@pytest.mark.parametrize("is_broken", [False, True])
def test_what_trains_is_imported_once_with_nothing_beside_it_and_without_the_collector_which_works_on(
    tmp_path: Path, is_broken: bool
) -> None:
    study = tiny_study(tmp_path / "study")
    (tmp_path / "its_trainer.py").write_text(BROKEN if is_broken else TRAINER)
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", RUNS + "import gc; print(gc.isenabled())", str(study.paths.root), *study.ids[:2]],
        env=os.environ | {TRAINER_VARIABLE: "its_trainer", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    *told, works = done.stdout.splitlines()
    assert works == "True"
    record = AttemptRecord.model_validate_json(study.job().result(1).read_bytes())
    assert record.state == ("failed" if is_broken else "succeeded")
    meant = {"collected": False, "passed_over": True, "works": True, "unneeded": []}
    assert [json.loads(line) for line in told] == ([] if is_broken else [meant, meant])
