"""Where the time of an epoch goes, by kind of work: the program's own steps, validation and checkpoint."""

import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from scenes import job, scan_of
from training_throughput import Cell

from ptycho_torch.checkpoints import Progress, TrainingState, detached, save_checkpoint
from ptycho_torch.dataset import counter_seed
from ptycho_torch.devices import make_repeatable
from ptycho_torch.learning import Place, learn, lesson_optimizer
from ptycho_torch.lessons import STEP_PURPOSE, PatchLesson, lessons
from ptycho_torch.model import seeded_model

STEPS = 4
KINDS = {
    "convolution": ("convolution", "conv2d"),
    "activation and pooling": ("gelu", "threshold", "clamp_min", "relu", "pool", "upsample", "tanh", "sigmoid"),
    "Fourier transform": ("fft",),
    "optimizer and clipping": ("fused_adamw", "vector_norm", "foreach"),
    "canvases laid and cut": ("scatter_add", "gather"),
    "photons parted": ("binomial", "random_", "bitwise", "index_select", "scatter_"),
}
"""Which operators count as what: the first kind one of whose words is in the operator's name."""
OTHERS = "the rest: copies, sums, products"


def kind_of(operator: str) -> str:
    """What an operator of PyTorch counts as."""
    return next((kind for kind, words in KINDS.items() if any(word in operator for word in words)), OTHERS)


def profile(cell: Cell, train_file: Path, threads: int) -> dict[str, Any]:
    """Shares of an epoch on the CPU: of its steps by kind, and of validation and the checkpoint beside them."""
    scan = scan_of(train_file, "cpu")
    of = job(
        cell.architecture, cell.gridsize, threads=threads, batch_size=cell.batch_size, precision=cell.precision, device="cpu"
    )
    make_repeatable(deterministic=True, threads=threads)
    model = seeded_model(of)
    lesson = lessons(model, scan, of)[0]
    optimizer = lesson_optimizer(lesson, of.training)
    drawn, batches = _timed(lambda: lesson.batches(0))
    steps = of.training.epochs * len(batches)

    def step(number: int) -> None:
        learn(lesson, optimizer, batches[number], counter_seed(0, STEP_PURPOSE, 0, number), Place(number, steps, number), of)

    step(0)
    steps_s, _ = _timed(lambda: list(map(step, range(1, 1 + STEPS))))
    with torch.profiler.profile() as seen:
        for number in range(1 + STEPS, 1 + 2 * STEPS):
            step(number)
    validation_s, _ = _timed(lesson.validation_loss)
    with tempfile.TemporaryDirectory() as folder:
        weights, best = detached(model.state_dict()), detached(model.state_dict())
        state = TrainingState(weights=weights, best_weights=best, moments=detached(optimizer.moments()))
        checkpoint_s, _ = _timed(lambda: save_checkpoint(Path(folder), Progress(), state, config_sha256="0" * 64, attempt=1))
    assert isinstance(lesson, PatchLesson)
    training_s = steps_s / STEPS * len(batches)
    whole = training_s + drawn + validation_s + checkpoint_s
    shares = {kind: share * training_s / whole for kind, share in _by_kind(seen).items()}
    shares |= {"groups drawn": drawn / whole, "validation": validation_s / whole, "checkpoint": checkpoint_s / whole}
    return {"cell": cell.name, "epoch_s": round(whole, 2), "shares": {kind: round(share, 4) for kind, share in shares.items()}}


def _by_kind(seen: Any) -> dict[str, float]:
    taken = dict.fromkeys((*KINDS, OTHERS), 0.0)
    for event in seen.key_averages():
        taken[kind_of(event.key)] += event.self_cpu_time_total
    whole = sum(taken.values())
    return {kind: part / whole for kind, part in taken.items()}


def _timed(work: Any) -> tuple[float, Any]:
    started = time.perf_counter()
    made = work()
    return time.perf_counter() - started, made
