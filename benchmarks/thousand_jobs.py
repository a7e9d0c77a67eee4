"""A study of 1,000 jobs that train nothing, on the tests' own Slurm: what the launcher costs beside a plain `sbatch --array`.

Run as root on Debian 12 by `make bench-slurm`; brings the cluster up where it is not, and takes down what it brought up. Prints
seconds to submit beside one plain array of the same size in the same run, scheduler calls, files written, seconds to run, and
seconds for a cold `collect`. How the same grows with ten times the jobs, without a cluster: `large_studies`.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "batch" / "test_cluster"))
from cluster import Cluster

REPOSITORY = Path(__file__).resolve().parent.parent

LIMIT_S = 1200.0

STUDY = """\
study: thousand
base: {{procedural: {{object: siemens_star, size: [160, 160], probe: zone_plate, seed: 7}}}}
scan: {{positions: 192}}
design:
  doses_photons: [1e4]
  patch_size_px: 32
  views: {{baseline: {{gridsize: 1}}}}
  seeds: {{training: [{seeds}]}}
training: {{unet_widths: [4, 8], epochs: 1, threads: 1}}
resources:
  partition: gpu
  cpu_partition: cpu
  gpus_per_node: 0
  cpus_per_task: 1
  mem: 200M
  cpu_mem: 1G
  time: 10
  array_parallelism: 64
  env: {{FLY64_TRAINER: idle_trainer, PYTHONPATH: {tests}}}
"""


def main() -> None:
    """Measure, and print a line for each figure."""
    parser = argparse.ArgumentParser(description="What a 1,000-job study costs on Slurm.")
    parser.add_argument("--jobs", type=int, default=1000)
    jobs = parser.parse_args().jobs
    cluster = Cluster(say=lambda _: None)
    was_up = any(cluster.states().values())
    try:
        cluster.up(max_array_size=max(jobs, 8))
        with tempfile.TemporaryDirectory() as folder:
            _measure(cluster, Path(folder), jobs)
    finally:
        cluster.cancel_all()
        cluster.wait_idle()
        if not was_up:
            cluster.down()


def _measure(cluster: Cluster, folder: Path, jobs: int) -> None:
    study = _write_study(folder, jobs)
    environment = os.environ | cluster.environment()
    plain_s = statistics.median(_plain_array(cluster, folder, environment, jobs) for _ in range(3))
    _run(folder, environment, "prepare", "--study", str(study))
    files_before = _files(folder)
    submit_s, said = _run(folder, environment, "submit", "--study", str(study))
    _print("submit", f"{submit_s:.2f} s; one plain sbatch --array of {jobs}: {plain_s:.3f} s; {_calls(said)}")
    _print("files written by submit", _files(folder) - files_before)
    started = time.monotonic()
    manifest = folder / "outputs" / "thousand" / "training_manifest.json"
    while f'"succeeded": {jobs},' not in manifest.read_text():
        if time.monotonic() - started > LIMIT_S:
            raise SystemExit(f"not within {LIMIT_S:.0f} s: {manifest.read_text()[:1000]}")
        time.sleep(1)
    _print("run, to the collector job's manifest", f"{time.monotonic() - started:.0f} s")
    _print("files written in all", _files(folder) - files_before)
    for verb in ("collect", "status"):
        seconds, said = _run(folder, environment, verb, "--study", str(study))
        _print(f"cold {verb}", f"{seconds:.2f} s; {_calls(said)}")


def _write_study(folder: Path, jobs: int) -> Path:
    study = folder / "thousand.yaml"
    study.write_text(STUDY.format(seeds=", ".join(map(str, range(jobs))), tests=REPOSITORY / "tests"))
    return study


def _plain_array(cluster: Cluster, folder: Path, environment: dict[str, str], jobs: int) -> float:
    script = folder / "plain.sh"
    script.write_text("#!/bin/sh\ntrue\n")
    command = ["sbatch", "--parsable", f"--array=0-{jobs - 1}%1", "--partition=cpu", "--output=/dev/null", "--hold", str(script)]
    started = time.monotonic()
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    seconds = time.monotonic() - started
    cluster.call("scancel", answer.stdout.strip())
    return seconds


def _run(
    folder: Path, environment: dict[str, str], verb: str, *arguments: str, codes: tuple[int, ...] = (0,)
) -> tuple[float, str]:
    started = time.monotonic()
    command = [sys.executable, "-m", f"fly64_hpc.{verb}", *arguments]
    answer = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if answer.returncode not in codes:
        raise SystemExit(f"{verb} ended with {answer.returncode}: {answer.stderr}")
    return time.monotonic() - started, answer.stdout


def _calls(said: str) -> str:
    match = re.search(r"calls of Slurm: .*", said)
    return match[0] if match else "no calls of Slurm"


def _files(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*"))


def _print(what: str, value: object) -> None:
    sys.stdout.write(f"{what}: {value}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
