"""How the launcher grows with a study: ten, a thousand and ten thousand jobs that train nothing, at every state.

Each study lies in a directory that was written in a moment. Its scheduler is `squeue` and `sacct` that answer for every task, as
Slurm would; how long Slurm itself takes for that is not in it.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from built_study import build
from machine import peak_bytes
from measures import Measure, of_runs

REPOSITORY = Path(__file__).resolve().parent.parent
JOBS = 10_000
FEW, FEWER = 1_000, 10
RUNS, COLD_RUNS = 7, 5
BUNDLE_BYTES = 20_000
"""So that what is measured is the launcher: of larger ones a cold collect also reads and digests the bytes."""
LOOK_S = 0.005
REST_S = 3.0
"""After which files that were written a moment ago are remembered."""
MOST_GIB = 1.0
MOST_GROWTH = 1.2
EXPAND = (
    "import sys, time; from pathlib import Path; from fly64_hpc.study_loading import load_study; began = time.perf_counter(); "
)
EXPAND += "jobs = load_study(Path(sys.argv[1]), with_base=False).jobs; print(len(jobs), time.perf_counter() - began)"

STUDY = """\
study: large
base: {{procedural: {{object: siemens_star, size: [160, 160], probe: zone_plate, seed: 7}}}}
scan: {{positions: 192}}
design:
  doses_photons: [1e4]
  patch_size_px: 32
  views: {{baseline: {{gridsize: 1}}}}
  seeds: {{training: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]}}
training: {{unet_widths: [4, 8], epochs: 50, threads: 1}}
sweep:
  axes:
    rate: {{training.learning_rate: [{rates}]}}
resources: {{partition: gpu, gpus_per_node: 1, mem: 4G, time: "04:00:00"}}
"""


@dataclass(frozen=True)
class _Process:
    """What a command took."""

    wall_s: float
    cpu_s: float
    peak_bytes: int
    said: str


def measured(folder: Path) -> Iterator[Measure]:
    """The lines on large studies."""
    shutil.rmtree(folder, ignore_errors=True)
    studies = {jobs: _built(folder / str(jobs), jobs) for jobs in (FEWER, FEW, JOBS)}
    try:
        yield _expanded(studies[JOBS])
        cold = {jobs: [_verb(study, "collect", 0, 1)] for jobs, study in studies.items()}
        time.sleep(REST_S)
        for _ in range(COLD_RUNS - 1):  # in turn, so that what else the machine does meets all sizes
            for jobs, study in studies.items():
                cold[jobs].append(_verb(study, "collect", 0, 1))
        warm: dict[int, list[_Process]] = {jobs: [] for jobs in studies}
        for _ in range(RUNS):
            for jobs, study in studies.items():
                warm[jobs].append(_verb(study, "status", 1))
    finally:
        shutil.rmtree(folder)
    yield _line("status of 10,000 jobs, once they were collected", warm[JOBS], 1.0)
    yield _line("collect of 10,000 jobs, everything read and each bundle digested", cold[JOBS], 10.0)
    yield _peak([*warm[JOBS], *cold[JOBS]])
    yield _growth("status", warm)
    yield _growth("collect", cold)


def _built(folder: Path, jobs: int) -> Path:
    folder.mkdir(parents=True)
    study = folder / "large.yaml"
    study.write_text(STUDY.format(rates=", ".join(f"{number + 1}e-6" for number in range(jobs // 10))))
    build(folder, study, bundle_bytes=BUNDLE_BYTES)
    return study


def _expanded(study: Path) -> Measure:
    runs = []
    for _ in range(RUNS):
        number, seconds = _run(study, [sys.executable, "-c", EXPAND, str(study)], 0).said.split()
        assert int(number) == JOBS
        runs.append(float(seconds))
    return of_runs(
        "studies", "10,000 jobs of a sweep, from the YAML", runs, unit="s", required=1.0, better="less", reference="read, checked"
    )


def _verb(study: Path, verb: str, *codes: int) -> _Process:
    command = [sys.executable, "-m", f"fly64_hpc.{verb}", "--study-dir", str(study.parent / "outputs" / "large")]
    return _run(study, command, *codes)


def _run(study: Path, command: Sequence[str], *codes: int) -> _Process:
    environment = os.environ | {"PATH": f"{study.parent / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(REPOSITORY)}
    said, complaints = study.with_suffix(".out"), study.with_suffix(".err")
    began = time.perf_counter()
    with said.open("w") as out, complaints.open("w") as err:
        process = subprocess.Popen(command, env=environment, cwd=study.parent, stdout=out, stderr=err)
        peak, ended = 0, 0
        while not ended:
            time.sleep(LOOK_S)
            peak = max(peak, peak_bytes(process.pid))
            ended, status, used = os.wait4(process.pid, os.WNOHANG)
    wall_s = time.perf_counter() - began
    code = process.returncode = os.waitstatus_to_exitcode(status)
    if code not in codes:
        raise RuntimeError(f"{' '.join(command)} ended with {code}: {complaints.read_text()}")
    return _Process(wall_s, used.ru_utime + used.ru_stime, peak, said.read_text())


def _line(name: str, runs: Sequence[_Process], required_s: float) -> Measure:
    details = {"cpu_s": round(median(run.cpu_s for run in runs), 2)}
    return of_runs(
        "studies",
        name,
        [run.wall_s for run in runs],
        unit="s",
        required=required_s,
        better="less",
        reference="a process, its start and a scheduler that answers at once included",
        details=details,
    )


def _peak(runs: Sequence[_Process]) -> Measure:
    peak_gib = max(run.peak_bytes for run in runs) / 2**30
    return Measure(
        section="studies",
        name="peak memory of both",
        value=round(peak_gib, 3),
        unit="GiB",
        required=MOST_GIB,
        better="less",
        reference="resident",
    )


def _growth(verb: str, runs: dict[int, list[_Process]]) -> Measure:
    """CPU seconds a job from 1,000 to 10,000 jobs, beside those from 10 to 1,000."""
    few, many = (_cpu_of_a_job(runs, *pair) for pair in ((FEWER, FEW), (FEW, JOBS)))
    return Measure(
        section="studies",
        name=f"growth of {verb}: CPU of a job among 10,000",
        value=round(many / few, 3),
        unit="x",
        required=MOST_GROWTH,
        better="less",
        reference="among 1,000: 1 is linear",
        details={"cpu_us_a_job": round(1e6 * many)},
    )


def _cpu_of_a_job(runs: dict[int, list[_Process]], fewer: int, more: int) -> float:
    taken = {jobs: min(run.cpu_s for run in runs[jobs]) for jobs in (fewer, more)}  # whatever else happens only adds to it
    return (taken[more] - taken[fewer]) / (more - fewer)
