"""Seconds from the start of a process to a phase error of 0.10 rad on the unseen half: networks beside iterative solvers.

Each contestant is a process of its own, timed from before Python starts; imports, reading and stitching count, scoring does not.
A network is trained on one half and looks at the other; its weights are kept after every epoch and scored when all is over. A
solver works on that other half itself, and is run anew for every number of steps that is tried, to find the fewest. Every time is
of whoever knew when to stop. Prints a line for each, and writes build/bench/time_to_quality.json.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
TARGET_PHASE_MAE_RAD = 0.10
LIMIT_S = 300.0
DOSE_PHOTONS, VIEW = 1e4, "dense"
MOST_PASSES = 1024

STUDY = f"""\
study: time_to_quality
base: {{procedural: {{object: siemens_star, size: [400, 400], probe: zone_plate, seed: 7}}}}
scan: {{positions: 2048}}
design:
  doses_photons: [{DOSE_PHOTONS:g}]
  patch_size_px: 64
  views: {{{VIEW}: {{gridsize: 2, nominal_overlap: 0.7}}}}
training: {{epochs: 24, learning_rate: 2.5e-3, precision: auto, refiner: null}}
"""


@dataclass(frozen=True)
class Contestant:
    """Who is timed."""

    name: str
    training: tuple[str, ...] = ()
    """What a network's study sets, as `--set` takes it; empty for a solver."""
    solver: str = ""
    """A `SolverConfig` as JSON, but for its epochs; empty for a network."""


PTYCHOPINN = ("training.architecture=ptychopinn", "training.learning_rate=1e-3")
"""At the rate that it learns best with."""
CONTESTANTS = (
    Contestant("default network, 24 epochs", ("training.epochs=24",)),
    Contestant("default network, 6 epochs", ("training.epochs=6",)),
    Contestant("ptychopinn, 24 epochs", (*PTYCHOPINN, "training.epochs=24")),
    Contestant("gradient", solver='{"method": "gradient"}'),
    Contestant("LSQML", solver='{"method": "lsqml"}'),
    Contestant("LSQML, Poisson", solver='{"method": "lsqml", "noise_model": "poisson", "batch_size": 1024}'),
)


@dataclass(frozen=True)
class Reached:
    """When a contestant had which error."""

    seconds: float
    phase_mae_rad: float
    passes: int
    """Epochs or steps until then."""

    @property
    def is_there(self) -> bool:
        """Whether that is good enough."""
        return self.phase_mae_rad <= TARGET_PHASE_MAE_RAD


def main() -> None:
    """Time every contestant; with --of, be the process of one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=1, help="processes for each contestant; the median counts")
    parser.add_argument("--of", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.of is not None:
        _be(**arguments.of)
        return
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder) / "study.yaml"
        study.write_text(STUDY)
        _prepare(study)
        rows = [_row(one, study, arguments.repeats) for one in CONTESTANTS]
    target = REPOSITORY / "build" / "bench" / "time_to_quality.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(
        json.dumps({"target_phase_mae_rad": TARGET_PHASE_MAE_RAD, "limit_s": LIMIT_S, "rows": rows}, indent=2) + "\n"
    )


def _prepare(study: Path) -> None:
    command = [sys.executable, "-m", "fly64_hpc.prepare", "--study", str(study), "--output-root", str(study.parent)]
    subprocess.run(command, check=True, capture_output=True, cwd=REPOSITORY)


def _row(contestant: Contestant, study: Path, repeats: int) -> dict[str, Any]:
    runs = [_time(contestant, study) for _ in range(repeats)]
    there = sorted(run[-1].seconds for run in runs if run and run[-1].is_there)
    seconds = there[len(there) // 2] if len(there) == repeats else None
    best = min((one for run in runs for one in run), key=lambda one: one.phase_mae_rad)
    said = f"{seconds:.1f} s" if seconds is not None else f"not reached in {LIMIT_S:.0f} s, or at its end"
    sys.stdout.write(
        f"{contestant.name}: {said} (best: {best.phase_mae_rad:.3f} rad, pass {best.passes}, {best.seconds:.1f} s)\n"
    )
    sys.stdout.flush()
    return {"name": contestant.name, "seconds": seconds, "best": asdict(best), "runs": [list(map(asdict, run)) for run in runs]}


def _time(contestant: Contestant, study: Path) -> list[Reached]:
    """What was reached, as far as the target."""
    if contestant.training:
        return _as_far_as_target(_process({"training": contestant.training, "study": str(study)}))
    return _fewest_passes({"solver": json.loads(contestant.solver), "study": str(study)})


def _as_far_as_target(reached: list[Reached]) -> list[Reached]:
    first = next((index for index, one in enumerate(reached) if one.is_there), len(reached))
    return reached[: first + 1]


def _fewest_passes(told: dict[str, Any]) -> list[Reached]:
    """Twice as many passes until the target is reached, then halfway between too few and enough; the last is the fewest."""
    tries: list[Reached] = []
    too_few, passes = 0, 1
    while passes <= MOST_PASSES and (not tries or tries[-1].seconds <= LIMIT_S):
        tries += _process(told | {"passes": passes})
        if tries[-1].is_there:
            break
        too_few, passes = passes, 2 * passes
    enough = tries[-1]
    while enough.is_there and enough.passes - too_few > 1:
        tries += _process(told | {"passes": (too_few + enough.passes) // 2})
        if tries[-1].is_there:
            enough = tries[-1]
        else:
            too_few = tries[-1].passes
    return [*(one for one in tries if one is not enough), enough]


def _process(told: dict[str, Any]) -> list[Reached]:
    command = [sys.executable, __file__, "--of", json.dumps(told | {"started": time.monotonic()})]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False)
    if answer.returncode != 0:
        raise SystemExit(f"{told} ended with {answer.returncode}: {answer.stderr}")
    return [Reached(**json.loads(line)) for line in answer.stdout.splitlines() if line.startswith("{")]


def _be(
    study: str, started: float, training: list[str] | None = None, solver: dict[str, Any] | None = None, passes: int = 0
) -> None:
    """The process of one contestant: a line of JSON for each moment at which there was something to look at."""
    if training is not None:
        _learn(Path(study), training, started)
    else:
        _solve(Path(study), dict(solver or {}), passes, started)


def _say(reached: Reached) -> None:
    sys.stdout.write(json.dumps(asdict(reached)) + "\n")


def _learn(study: Path, training: list[str], started: float) -> None:
    from fly64_hpc.dataset_job import job_spec
    from fly64_hpc.datasets import JobData
    from fly64_hpc.job_paths import StudyPaths
    from fly64_hpc.job_record import DataFile
    from fly64_hpc.study_loading import load_study, parse_set

    loaded = load_study(study, [parse_set(one) for one in training])
    paths = StudyPaths(study.parent / loaded.design.study)
    train, test = (DataFile(path=str(file), sha256="0" * 64) for file in _halves(paths))
    job = job_spec(loaded, loaded.jobs[0], JobData(train, test, "0" * 64)).config
    _train(job, _halves(paths), started)


def _halves(paths: Any) -> tuple[Path, Path]:
    folder = paths.phase_d(DOSE_PHOTONS, VIEW)
    return folder / f"{VIEW}_train.npz", folder / f"{VIEW}_test.npz"


def _train(job: Any, halves: tuple[Path, Path], started: float) -> None:
    from ptycho_torch import pipeline

    kept: list[tuple[float, int, bytes]] = []
    epochs = 0

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoints = folder / "checkpoints" / "001"

        def hear(event: dict[str, Any]) -> None:
            nonlocal epochs
            epochs += event["event"] == "epoch"

        def keep() -> bool:
            if epochs > len(kept):  # the checkpoint of the epoch is written before the next step is asked for
                newest = max(checkpoints.glob("*.safetensors"))
                kept.append((time.monotonic() - started, epochs, newest.read_bytes()))
            return time.monotonic() - started > LIMIT_S

        files = pipeline.TrainingFiles(*halves, folder, checkpoints, folder / "train.log")
        try:
            pipeline.train_job(job, files, attempt=1, report=hear, should_stop=keep)
            keep()
        except pipeline.Interrupted:
            pass
    _score(job, halves[1], kept)


def _score(job: Any, npz: Path, kept: list[tuple[float, int, bytes]]) -> None:
    import safetensors.torch
    import torch

    from ptycho_torch.model import seeded_model
    from ptycho_torch.network_evaluation import by_network
    from ptycho_torch.network_object import in_larger_batches
    from ptycho_torch.yardstick import yardstick

    half = yardstick(npz, patch_size_px=job.patch_size_px, dose_photons=job.dose_photons, device=torch.device("cpu"))
    model = seeded_model(job)
    for seconds, epoch, tensors in kept:
        weights = safetensors.torch.load(tensors)
        model.load_state_dict(
            {key.removeprefix("weights/"): value for key, value in weights.items() if key.startswith("weights/")}
        )
        made = by_network(model, in_larger_batches(job), half)
        _say(Reached(seconds + made.seconds, half.scores(made.object_hw.numpy())["phase_mae_rad"], epoch))


def _solve(study: Path, solver: dict[str, Any], passes: int, started: float) -> None:
    import torch

    from fly64_hpc.job_paths import StudyPaths
    from ptycho_torch.config import SolverConfig
    from ptycho_torch.data_consistency import take_steps
    from ptycho_torch.devices import make_repeatable
    from ptycho_torch.ptychi_solver import solve
    from ptycho_torch.yardstick import yardstick

    make_repeatable(deterministic=True, threads=torch.get_num_threads())
    npz = _halves(StudyPaths(study.parent / "time_to_quality"))[1]
    half = yardstick(npz, patch_size_px=64, dose_photons=DOSE_PHOTONS, device=torch.device("cpu"))
    scan, config = half.exposures.whole, SolverConfig(epochs=passes, **solver)
    if config.method == "gradient":
        object_hw = take_steps(scan, scan.flat_object(half.object_shape), passes)
    else:
        object_hw = solve(scan, half.object_shape, config, seed=0, tick=lambda: None)
    seconds = time.monotonic() - started
    _say(Reached(seconds, half.scores(object_hw.numpy())["phase_mae_rad"], passes))


if __name__ == "__main__":
    main()
