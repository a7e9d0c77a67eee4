"""TensorBoard's event files: the scalars of `history.jsonl` once more, for those who watch curves there."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

logger = logging.getLogger("ptycho_torch")

FOLDER_NAME = "tensorboard"
SCALARS = ("train_loss", "val_loss", "learning_rate", "seconds", "samples_per_s")
NOT_WRITTEN = "TensorBoard's event files are not written: %s. Training goes on without them."

Report = Callable[[dict[str, Any]], None]


@contextmanager
def reporting_to(folder: Path, report: Report) -> Iterator[Report]:
    """A `report` that also writes the scalars of each epoch into an event file of this process's own in `folder`.

    The curves of a resumed training go on: what an earlier attempt had written of the epochs that are trained again is purged by
    its first event. Curves are a convenience: where they cannot be written, a warning is logged and training goes on.
    """
    events = _Events(folder)

    def both(event: dict[str, Any]) -> None:
        if event["event"] == "epoch":
            events.write(event)
        report(event)

    try:
        yield both
    finally:
        events.close()


class _Events:
    """An event file, begun at the first epoch that there is."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None
        self._has_failed = False

    def write(self, row: dict[str, Any]) -> None:
        if self._has_failed:
            return
        try:
            self._writer = self._writer or self._begun(row["epoch"])
            for name in SCALARS:
                self._writer.add_scalar(f"{row['lesson']}/{name}", row[name], row["epoch"])
            self._writer.flush()
        except Exception as error:  # noqa: BLE001 - absent, broken or on a full disk: no reason to lose a training
            self._has_failed = True
            logger.warning(NOT_WRITTEN, error)

    def close(self) -> None:
        if self._writer is not None:
            with suppress(Exception):  # as above
                self._writer.close()

    def _begun(self, epoch: int) -> Any:
        from torch.utils.tensorboard import SummaryWriter  # needs the package tensorboard, which is an extra

        return SummaryWriter(str(self._folder), purge_step=epoch)
