"""A file that is wrong in one respect is refused or found out, in the sentence that the page shows."""

import importlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import REPOSITORY

from ptycho_torch.measured_scan import IngestOptions, ingest

SCRIPT = importlib.import_module("wrong_scans")  # of docs/, which is no package that mypy checks
WRONG = SCRIPT.WRONG
PAGE = REPOSITORY / "docs" / "your-own-scan.md"
KINDS = {
    "swapped axes",
    "wrong unit",
    "wrong quantity",
    "shifted zero frequency",
    "missing energy",
    "near field",
    "cut off",
}


@pytest.fixture(scope="module")
def good() -> Any:
    return SCRIPT.good_scan()


def rows_of_the_page() -> list[str]:
    table = PAGE.read_text().partition(SCRIPT.BEGIN)[2].partition(SCRIPT.END)[0].strip()
    return table.splitlines()[2:]


def without_numbers(text: str) -> str:
    """Margins and photons are not the same to the last digit on every machine."""
    return re.sub(r"\d[\d.e+-]*", "0", text)


@pytest.mark.parametrize("name", SCRIPT.GOOD)
def test_the_file_without_its_change_is_taken(good: Any, tmp_path: Path, name: str) -> None:
    np.save(tmp_path / "probe.npy", good.scan.probe)
    SCRIPT.GOOD[name](tmp_path / name, good)
    probe = str(tmp_path / "probe.npy") if name == "scan.ptyd" else None
    report = ingest(tmp_path / name, tmp_path / "out.npz", options=IngestOptions(probe=probe))
    changes = [wrong.shows for wrong in WRONG if wrong.shows and wrong.file == name]
    assert not [line for line in report.found for shown in changes if shown in line]


@pytest.mark.parametrize(
    ("place", "wrong"), list(enumerate(WRONG)), ids=[f"{wrong.kind}, {wrong.change}, {wrong.file}" for wrong in WRONG]
)
def test_a_wrong_file_is_found_out_in_the_words_of_the_page(good: Any, place: int, wrong: Any) -> None:
    is_refused, sentence = SCRIPT.answer(wrong, good)
    assert sentence, "accepted in silence"
    assert is_refused == (not wrong.shows)
    assert without_numbers(SCRIPT.row(wrong, is_refused, sentence)) == without_numbers(rows_of_the_page()[place]), (
        "make wrong-scans"
    )


def test_the_page_has_every_kind_and_nothing_else() -> None:
    assert {wrong.kind for wrong in WRONG} == KINDS
    assert len(rows_of_the_page()) == len(WRONG)
