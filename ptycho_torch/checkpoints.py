"""Checkpoints: all that training needs to go on as if it had never stopped.

One checkpoint is two files:

    step_00000120.safetensors    weights, best weights so far, optimizer moments: flat named tensors
    step_00000120.json           the facts: where training stood, and the sha256 of the tensors

The JSON is written last. Tensors without it do not exist, so a process that dies while writing costs nothing but that one
checkpoint. No random state is kept: everything drawn is a function of seed, epoch and step.

Each attempt at a job writes and prunes a folder of its own: an older attempt may still be alive and do the same. What a new one
goes on from it adopts, so that its folder alone is enough.
"""

import hashlib
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import safetensors.torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from torch import Tensor

from ptycho_torch.atomic_files import link_file, replacing, sha256_file, write_json
from ptycho_torch.errors import CheckpointError

Warn = Callable[[str], None]
NamedTensors = dict[str, Tensor]
_PREFIXES = ("weights", "best_weights", "moments")


class Record(BaseModel):
    """Frozen facts that refuse keys they do not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class HistoryRow(Record):
    """One epoch, as `history.jsonl` has it."""

    lesson: str
    """What learned: `network` or `refiner`. Their losses are of different splits and can't be compared."""
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
    lesson: str | None
    """Whose that is: losses of different lessons can't be compared."""
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
    with _refusing(path):
        facts = CheckpointFacts(
            **dict(progress),
            val_loss=progress.history[-1].val_loss if progress.history else None,
            lesson=progress.history[-1].lesson if progress.history else None,
            attempt=attempt,
            created_utc=datetime.now(UTC).isoformat(timespec="seconds"),
            config_sha256=config_sha256,
            **_write_tensors(path, state),
        )
        write_json(path.with_suffix(".json"), facts.model_dump(mode="json"))
    return path


def tensors_path(folder: Path, step: int) -> Path:
    """Where the tensors of a step lie."""
    return folder / f"step_{step:08d}.safetensors"


def list_checkpoints(folder: Path) -> list[CheckpointFacts]:
    """The facts of every checkpoint that has readable ones, by step; the tensors are not looked at."""
    return sorted(_readable(folder), key=lambda facts: facts.step)


def newest_valid(folders: Sequence[Path], config_sha256: str, warn: Warn) -> Checkpoint | None:
    """The newest checkpoint of this very job whose tensors are intact; of the same step, the one in the first folder.

    Parameters
    ----------
    folders
        An attempt's own folder, then those of the attempts before, the newest first; they need not exist.
    config_sha256
        The job's identity: checkpoints of another are passed over.
    warn
        Told, in a sentence, of each checkpoint that was passed over.
    """
    passed_over: set[Path] = set()
    # Looked up anew each time: an older attempt that is still alive writes and prunes meanwhile.
    while (path := _newest_facts(folders, passed_over)) is not None:
        try:
            return _load(path, config_sha256)
        except CheckpointError as error:
            warn(f"{error} The checkpoint was passed over.")
            passed_over.add(path)
    return None


def adopt(checkpoint: Checkpoint, folders: Sequence[Path]) -> None:
    """Give the first folder, an attempt's own, this checkpoint and that of the best step so far, where there is a valid one.

    Parameters
    ----------
    checkpoint
        The one that training goes on from.
    folders
        As for `newest_valid`; the first is written to, the others are only read.

    Raises
    ------
    CheckpointError
        The files cannot be written, as on a full disk.
    """
    for needed in (_best_until(checkpoint, folders), checkpoint):
        if needed is not None and needed.path.parent != folders[0]:
            _copy(needed, tensors_path(folders[0], needed.facts.step))


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
    unwanted = [path for path in _listed(folder, "step_*") if path.stem not in kept_stems]
    for path in (*unwanted, *_listed(folder, ".step_*.tmp")):
        path.unlink(missing_ok=True)


def _listed(folder: Path, pattern: str) -> list[Path]:
    try:
        return list(folder.glob(pattern))
    except FileNotFoundError:  # removed while it was read: a newer attempt has succeeded and needs it no longer
        return []


def _newest_facts(folders: Sequence[Path], passed_over: Container[Path]) -> Path | None:
    """The JSON of the highest step; of several, the first."""
    paths = (path for folder in folders for path in _listed(folder, "step_*.json"))
    return max((path for path in paths if path not in passed_over), key=lambda path: path.stem, default=None)


def _best_until(checkpoint: Checkpoint, folders: Sequence[Path]) -> Checkpoint | None:
    """The checkpoint of the best step that another one names, where it is valid; None where the two are one."""
    facts = checkpoint.facts
    if facts.best_step is None or facts.best_step == facts.step:
        return None
    for folder in folders:
        with suppress(CheckpointError):
            best = _load(tensors_path(folder, facts.best_step).with_suffix(".json"), facts.config_sha256)
            if best.facts.val_loss == facts.best_val_loss:  # another attempt, on another machine, may have rounded differently
                return best
    return None


def _copy(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint at another place, as a hard link where that can be."""
    with _refusing(path):
        facts = checkpoint.facts
        try:
            link_file(checkpoint.path, path)
        except OSError:  # no hard links here, or the older attempt has pruned it since it was read
            facts = facts.model_copy(update=_write_tensors(path, checkpoint.state))
        write_json(path.with_suffix(".json"), facts.model_dump(mode="json"))


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Say of a checkpoint that cannot be written what that means."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be written: {error.strerror}.",
            hint="The checkpoint before it is intact: make room and submit again, training goes on from there.",
        ) from error


def _write_tensors(path: Path, state: TrainingState) -> dict[str, Any]:
    """Write the tensors' file; what the facts say of it."""
    with replacing(path) as file:
        file.write(safetensors.torch.save(_flat(state)))
    return {"sha256": sha256_file(path), "size_bytes": path.stat().st_size}


def _readable(folder: Path) -> Iterator[CheckpointFacts]:
    for path in _listed(folder, "step_*.json"):
        with suppress(CheckpointError):
            yield _read_facts(path)


def _read_facts(path: Path) -> CheckpointFacts:
    try:
        return CheckpointFacts.model_validate_json(_read(path))
    except ValidationError as error:
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
        The file is missing, unreadable, or not the one that was written.
    """
    content = _read(path)
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise CheckpointError(f"{path} is damaged: its sha256 is {found[:12]}..., {sha256[:12]}... was written.")
    try:
        return safetensors.torch.load(content)
    except SafetensorError as error:
        raise CheckpointError(f"{path} is no safetensors file: {error}.") from error


def _read(path: Path) -> bytes:
    """A file's bytes, read once: what is verified is what is used, whatever happens to the file meanwhile."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing.") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from error


def detached(tensors: Mapping[str, Tensor]) -> NamedTensors:
    """Copies on the CPU, contiguous, that later steps do not change."""
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}


def _flat(state: TrainingState) -> NamedTensors:
    return {f"{prefix}/{name}": tensor for prefix in _PREFIXES for name, tensor in getattr(state, prefix).items()}


def _grouped(tensors: NamedTensors) -> TrainingState:
    groups: dict[str, NamedTensors] = {prefix: {} for prefix in _PREFIXES}
    for key, tensor in tensors.items():
        prefix, _, name = key.partition("/")
        groups[prefix][name] = tensor
    return TrainingState(**groups)
