"""The recipe's tables: a line for every condition and variation, made from evaluations."""

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
from command import REPOSITORY

README = REPOSITORY / "README.md"
FIGURES = re.compile(r"\d\.\d{3}( \[.*\])? / \d\.\d{4}( \[.*\])?")


@pytest.fixture(scope="module")
def scripts() -> dict[str, Any]:
    return runpy.run_path(str(REPOSITORY / "docs" / "recipe_tables.py"))


def lines_of(page: Path, name: str) -> list[list[str]]:
    text = page.read_text().partition(f"<!-- table of {name}: ")[2].partition("<!-- end of the table -->")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")][2:]


def test_all_nine_conditions_have_network_and_refined_with_their_spread() -> None:
    lines = lines_of(README, "conditions")
    assert len({(dose, view) for dose, view, *_ in lines}) == 9
    for line in lines:
        alone, refined = line[-2:]
        assert FIGURES.match(alone), line
        assert FIGURES.match(refined), line


def test_the_solvers_stand_beside_the_networks() -> None:
    for line in lines_of(README, "conditions"):
        assert all(FIGURES.match(cell) for cell in line[2:6]), line


def _evaluation(nmse: float, reason: str | None = None) -> dict[str, Any]:
    scores = {"phase_mae_rad": 10 * nmse, "nmse": nmse, "collapse_reason": reason}
    return {"halves": {"test": {"methods": {name: {"scores": scores, "steps": 3} for name in ("network", "refined")}}}}


def test_a_table_has_the_median_and_the_range_of_the_seeds_and_names_what_is_flat(
    tmp_path: Path, scripts: dict[str, Any]
) -> None:
    for seed, (nmse, reason) in enumerate([(0.003, None), (0.001, None), (0.02, "flat")]):
        place = Path("dose_1000") / "dense" / "gs2" / f"seed_{seed}"
        (tmp_path / "evaluation" / place).mkdir(parents=True)
        (tmp_path / "evaluation" / place / "evaluation.json").write_text(json.dumps(_evaluation(nmse, reason)))
        history = tmp_path / "phase_e_training" / place / "history.jsonl"
        history.parent.mkdir(parents=True)
        history.write_text('{"seconds": 2.0}\n{"seconds": 3.0}\n')
    cell = "0.030 [0.010, 0.200] / 0.0030 [0.0010, 0.0200] (1 of 3 flat)"
    assert (
        scripts["variations"]({"mine": tmp_path}).splitlines()[-1] == f"| mine | 1000 | dense |  | {cell} | {cell} | 3 3 3 | 5 |"
    )
    assert scripts["conditions"](tmp_path).splitlines()[-1] == f"| 1000 | dense |  |  |  |  | {cell} | {cell} |"
