"""A history is read while it is written, and whatever somebody did to it: what a line does not say is not known."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fly64_hpc.history import HistoryEnd, LastEpoch, history_end
from fly64_hpc.job_paths import JobPaths

ROWS = [
    {"lesson": "network", "epoch": 1, "train_loss": 1, "val_loss": 0.5, "samples_per_s": 9.0, "seconds": 3.0},
    {"lesson": "refiner", "epoch": 2, "train_loss": 0.25, "seconds": 2.0},
    {"lesson": "refiner", "epoch": 3, "train_loss": 0.125, "seconds": 1.5},
]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
ANYTHING = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5)
KEYS = st.sampled_from(("lesson", "epoch", "epochs", "train_loss", "val_loss", "samples_per_s", "seconds"))


def end_of(text: str) -> HistoryEnd:
    with TemporaryDirectory() as folder:
        paths = JobPaths(Path(folder))
        paths.history.write_text(text)
        return history_end(paths)


def lines(rows: list[Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_the_last_line_tells_the_epoch_and_the_later_lessons_their_seconds() -> None:
    assert end_of(lines(ROWS)) == HistoryEnd(LastEpoch(epoch=3, lesson="refiner", train_loss=0.125), 3.5)
    assert end_of(lines(ROWS[:1])) == HistoryEnd(LastEpoch(1, None, "network", 1.0, 0.5, 9.0), None)


def test_a_line_that_is_being_written_is_none_yet() -> None:
    assert end_of(lines(ROWS)[:-20]) == end_of(lines(ROWS[:2]))


def test_no_line_tells_nothing(tmp_path: Path) -> None:
    assert end_of("") == history_end(JobPaths(tmp_path)) == HistoryEnd()


@given(st.lists(st.dictionaries(KEYS, ANYTHING)))
def test_a_line_of_anything_tells_what_it_has_of_the_right_kind(rows: list[dict[str, Any]]) -> None:
    last, later_s = end_of(lines(rows))
    assert isinstance(last.epoch, int)
    assert last.epochs is None or isinstance(last.epochs, int)
    assert last.lesson is None or isinstance(last.lesson, str)
    assert all(figure is None or isinstance(figure, float) for figure in (*last[3:], later_s))
