"""How long it takes until something happens: a job's first step, and what a person waits for at the terminal."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from alternation import Pairs
from measures import Measure, of_runs

BENCHMARKS = Path(__file__).resolve().parent
REPOSITORY = BENCHMARKS.parent
REQUIRED_OF_TORCH = 1.5
REQUIRED_WORDS_S = 0.5

STUDY = """\
study: starting
base: {{procedural: {{object: siemens_star, size: [232, 232], probe: zone_plate, seed: 7}}}}
scan: {{positions: 1024}}
design:
  doses_photons: [1e4]
  patch_size_px: 64
  views: {{dense: {{gridsize: 2}}}}
training: {{threads: {threads}, device: cpu}}
resources: {{partition: gpu, time: "00:30:00", mem: 4G}}
"""


def measured(folder: Path, threads: int, runs: int) -> list[Measure]:
    """The lines on starting."""
    file = folder / "starting.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(STUDY.format(threads=threads))
    return [_first_step(folder, file, threads, runs), *_words(file, runs)]


def _first_step(folder: Path, file: Path, threads: int, runs: int) -> Measure:
    shutil.rmtree(folder / "starting", ignore_errors=True)
    # A trainer that is not there: the study directory is written and its data made, and nothing learns.
    submit = [sys.executable, "-m", "fly64_hpc.submit", "--study", str(file), "--output-root", str(folder), "--executor", "local"]
    _run([*submit, "--wait", "--yes"], check=False, FLY64_TRAINER="no_such_trainer")
    job = json.loads((folder / "starting" / "training_manifest.json").read_text())["jobs"][0]["job_id"]
    call = f"from fly64_hpc.train_task import run_job; run_job({str(folder / 'starting')!r}, {job!r})"
    archive = next((folder / "starting" / "code").glob("*.zip"))  # what a node runs
    ours, bare = [sys.executable, "-c", call], [sys.executable, str(BENCHMARKS / "first_bare_step.py"), str(threads)]
    wall, cpu = Pairs(), Pairs()
    for counted in (False, *[True] * runs):
        told = [_told(command, archive, FLY64_TRAINER="first_step_trainer") for command in (ours, bare)]
        if counted:
            for pairs, which in ((wall, 0), (cpu, 1)):
                pairs.ours_s.append(told[0][which])
                pairs.reference_s.append(told[1][which])
    details = {"ours_s": _middle(wall.ours_s), "reference_s": _middle(wall.reference_s)}
    details |= {"ours_cpu_s": _middle(cpu.ours_s), "reference_cpu_s": _middle(cpu.reference_s)}
    details["cpu_ratio"] = round(1 / cpu.speed_ratio, 2)
    return of_runs(
        "start",
        "from process start to the first training step",
        [1 / ratio for ratio in wall.speed_ratios],
        unit="x",
        required=REQUIRED_OF_TORCH,
        better="less",
        reference="import torch, then one step by hand",
        details=details,
    )


def _words(file: Path, runs: int) -> list[Measure]:
    asked = {
        "submit --help": ["-m", "fly64_hpc.submit", "--help"],
        "submit --print-only": ["-m", "fly64_hpc.submit", "--study", str(file), "--partition", "gpu", "--print-only"],
    }
    lines = []
    for name, arguments in asked.items():
        taken, cpu = zip(*(_timed([sys.executable, *arguments]) for _ in range(runs + 1)), strict=True)
        lines.append(
            of_runs(
                "start",
                name,
                taken[1:],
                unit="s",
                required=REQUIRED_WORDS_S,
                better="less",
                reference="what a person does not notice",
                details={"cpu_s": _middle(list(cpu[1:]))},
            )
        )
    return lines


def _told(command: list[str], archive: Path, **environment: str) -> list[float]:
    path = os.pathsep.join([str(archive), str(BENCHMARKS)])
    done = _run(command, check=True, PYTHONPATH=path, PYTHONSAFEPATH="1", STARTED_AT=repr(time.time()), **environment)
    return [float(number) for number in done.stdout.split()[-2:]]


def _timed(command: list[str]) -> tuple[float, float]:
    before, started = os.times(), time.perf_counter()
    _run(command, check=True)
    taken, after = time.perf_counter() - started, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return taken, cpu


def _run(command: list[str], *, check: bool, **environment: str) -> Any:
    path = os.pathsep.join([str(BENCHMARKS), str(REPOSITORY)])
    variables = os.environ | {"PYTHONPATH": path} | environment
    return subprocess.run(command, env=variables, cwd=BENCHMARKS, capture_output=True, text=True, check=check)


def _middle(values: list[float]) -> float:
    return round(sorted(values)[len(values) // 2], 2)
