"""Checkpoints: all that training needs to go on as if it had never stopped.

One checkpoint is two files:

    step_00000120.safetensors    weights, best weights so far, optimizer moments: flat named tensors
    step_00000120.json           the facts: where training stood, and the sha256 of the tensors

The JSON is written last. Tensors without it do not exist, so a process that dies while writing costs nothing but that one
checkpoint. No random state is kept: everything drawn is a function of seed, epoch and step.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from torch import Tensor

from ptycho_torch.atomic_files import replacing, sha256_file, write_json
from ptycho_torch.errors import CheckpointError

Warn = Callable[[str], None]
NamedTensors = dict[str, Tensor]
_PREFIXES = ("weights", "best_weights", "moments")


class Record(BaseModel):
    """Frozen facts that refuse keys they do not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class HistoryRow(Record):
    """One epoch, as `history.jsonl` has it."""

    epoch: int
    step: int
    train_loss: float
    val_loss: float
    learning_rate: float
    seconds: float
    samples_per_s: float


class Progress(Record):
    """Where training stands after a step."""

    step: int = 0
    """Steps done, over all epochs."""
    epoch: int = 0
    """Epochs completed."""
    epoch_loss_sum: float = 0.0
    """Sum of the losses of the steps of the epoch under way."""
    epoch_seconds: float = 0.0
    best_step: int | None = None
    best_val_loss: float | None = None
    history: tuple[HistoryRow, ...] = ()


class CheckpointFacts(Progress):
    """The JSON half of a checkpoint: where training stood, and which tensors belong to it."""

    val_loss: float | None
    """The newest validation loss."""
    attempt: int
    created_utc: str
    config_sha256: str
    sha256: str
    """Of the tensors' file."""
    size_bytes: int


@dataclass(frozen=True, eq=False)
class TrainingState:
    """The tensors of a checkpoint, on the CPU."""

    weights: NamedTensors
    best_weights: NamedTensors
    """Empty until the first validation."""
    moments: NamedTensors
    """The optimizer's state, `<parameter>.<quantity>`."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A checkpoint whose tensors agree with their sha256."""

    path: Path
    facts: CheckpointFacts
    state: TrainingState


def save_checkpoint(folder: Path, progress: Progress, state: TrainingState, *, config_sha256: str, attempt: int) -> Path:
    """Write one checkpoint; those that exist are untouched until it is complete.

    Raises
    ------
    CheckpointError
        The files cannot be written, as on a full disk.
    """
    path = tensors_path(folder, progress.step)
    try:
        with replacing(path) as file:
            file.write(safetensors.torch.save(_flat(state)))
        facts = CheckpointFacts(
            **dict(progress),
            val_loss=progress.history[-1].val_loss if progress.history else None,
            attempt=attempt,
            created_utc=datetime.now(UTC).isoformat(timespec="seconds"),
            config_sha256=config_sha256,
            sha256=sha256_file(path),
            size_bytes=path.stat().st_size,
        )
        write_json(path.with_suffix(".json"), facts.model_dump(mode="json"))
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be written: {error.strerror}.",
            hint="The checkpoint before it is intact: make room and submit again, training goes on from there.",
        ) from error
    return path


def tensors_path(folder: Path, step: int) -> Path:
    """Where the tensors of a step lie."""
    return folder / f"step_{step:08d}.safetensors"


def list_checkpoints(folder: Path) -> list[CheckpointFacts]:
    """The facts of every checkpoint that has readable ones, by step; the tensors are not looked at."""
    return sorted((facts for _, facts in _readable(folder)), key=lambda facts: facts.step)


def newest_valid(folder: Path, config_sha256: str, warn: Warn) -> Checkpoint | None:
    """The newest checkpoint of this very job whose tensors are intact.

    Parameters
    ----------
    folder
        The job's `checkpoints` folder; it need not exist.
    config_sha256
        The job's identity: checkpoints of another are passed over.
    warn
        Told, in a sentence, of each checkpoint that was passed over.
    """
    for path in sorted(folder.glob("step_*.json"), reverse=True):
        try:
            return _load(path, config_sha256)
        except CheckpointError as error:
            warn(f"{error} The checkpoint was passed over.")
    return None


def prune(folder: Path, config_sha256: str, *, keep_newest: int = 2) -> None:
    """Remove all checkpoints but the newest and the best of this very job, and what a killed process left half written.

    Another configuration's are removed whatever their step: they would otherwise pass for the newest. Where this job has none,
    nothing is removed.
    """
    own = [facts for facts in list_checkpoints(folder) if facts.config_sha256 == config_sha256]
    if not own:
        return
    kept = {facts.step for facts in own[-keep_newest:]} | {own[-1].best_step}
    kept_stems = {tensors_path(folder, step).stem for step in kept if step is not None}
    for path in folder.glob("step_*"):
        if path.stem not in kept_stems:
            path.unlink()
    for path in folder.glob(".step_*.tmp"):
        path.unlink()


def _readable(folder: Path) -> Iterator[tuple[Path, CheckpointFacts]]:
    for path in folder.glob("step_*.json"):
        try:
            yield path, _read_facts(path)
        except CheckpointError:
            continue


def _read_facts(path: Path) -> CheckpointFacts:
    try:
        return CheckpointFacts.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise CheckpointError(f"{path} is not a checkpoint's record.") from error


def _load(path: Path, config_sha256: str) -> Checkpoint:
    facts = _read_facts(path)
    if facts.config_sha256 != config_sha256:
        raise CheckpointError(f"{path} belongs to another configuration of this job.")
    tensors = read_tensors(path.with_suffix(".safetensors"), facts.sha256)
    return Checkpoint(path.with_suffix(".safetensors"), facts, _grouped(tensors))


def read_tensors(path: Path, sha256: str) -> NamedTensors:
    """The tensors of a safetensors file, once its sha256 is the expected one.

    Raises
    ------
    CheckpointError
        The file is missing, or not the one that was written.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} is missing.")
    found = sha256_file(path)
    if found != sha256:
        raise CheckpointError(f"{path} is damaged: its sha256 is {found[:12]}..., {sha256[:12]}... was written.")
    try:
        return safetensors.torch.load(path.read_bytes())
    except SafetensorError as error:
        raise CheckpointError(f"{path} is no safetensors file: {error}.") from error


def detached(tensors: Mapping[str, Tensor]) -> NamedTensors:
    """Copies on the CPU, contiguous, that later steps do not change."""
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}


def optimizer_moments(optimizer: torch.optim.Optimizer, model: torch.nn.Module) -> NamedTensors:
    """The optimizer's state by parameter name: `<parameter>.<quantity>`."""
    states = ((name, optimizer.state[parameter]) for name, parameter in model.named_parameters() if parameter in optimizer.state)
    return detached({f"{name}.{quantity}": value for name, state in states for quantity, value in state.items()})


def restore_moments(optimizer: torch.optim.Optimizer, model: torch.nn.Module, moments: Mapping[str, Tensor]) -> None:
    """Give the optimizer back what `optimizer_moments` took."""
    names = [name for name, _ in model.named_parameters()]
    states: dict[int, dict[str, Any]] = {}
    for key, value in moments.items():
        name, _, quantity = key.rpartition(".")
        states.setdefault(names.index(name), {})[quantity] = value
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})


def _flat(state: TrainingState) -> NamedTensors:
    return {f"{prefix}/{name}": tensor for prefix in _PREFIXES for name, tensor in getattr(state, prefix).items()}


def _grouped(tensors: NamedTensors) -> TrainingState:
    groups: dict[str, NamedTensors] = {prefix: {} for prefix in _PREFIXES}
    for key, tensor in tensors.items():
        prefix, _, name = key.partition("/")
        groups[prefix][name] = tensor
    return TrainingState(**groups)
