"""The recipe's tables: a line for every condition and variation, made from evaluations."""

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
from command import REPOSITORY

README = REPOSITORY / "README.md"
PAGE = REPOSITORY / "docs" / "recipe.md"
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


def test_every_part_is_left_out_once(scripts: dict[str, Any]) -> None:
    assert [line[0] for line in lines_of(PAGE, "ablation")] == list(scripts["ABLATION"])


def test_other_objects_stand_beside_the_gradient_at_two_doses(scripts: dict[str, Any]) -> None:
    lines = lines_of(PAGE, "objects")
    assert [line[0] for line in lines] == [words for words in scripts["OBJECTS"].values() for _ in range(2)]
    assert all(FIGURES.match(line[3]) for line in lines)


def test_a_wrong_probe_stands_beside_the_right_one_and_the_gradient(scripts: dict[str, Any]) -> None:
    lines = lines_of(PAGE, "probes")
    assert [line[0] for line in lines] == list(scripts["PROBES"].values())
    assert all(FIGURES.match(line[3]) for line in lines)


def test_the_canvas_network_is_tabled_for_dense_and_sparse() -> None:
    assert [line[1:3] for line in lines_of(PAGE, "canvas")] == [["1000", "dense"], ["1000", "sparse"]]


@pytest.mark.parametrize("patch_size_px", [64, 128])
def test_ptychopinn_has_not_collapsed_in_any_of_five_seeds(patch_size_px: int) -> None:
    lines = {line[0]: line for line in lines_of(PAGE, "others")}
    alone = lines[f"ptychopinn, N = {patch_size_px}"][4]
    assert "[" in alone  # the range of several seeds
    assert "flat" not in alone


@pytest.mark.parametrize("table", ["ablation", "objects", "probes", "canvas", "others"])
def test_every_line_has_the_network_alone_beside_refined(table: str) -> None:
    for line in lines_of(PAGE, table):
        alone, refined = line[4:]
        assert FIGURES.match(alone), line
        assert FIGURES.match(refined) or "ptychopinn, " in line[0], line


def _job(nmse: float, reason: str | None = None) -> dict[str, Any]:
    scores = {"phase_mae_rad": 10 * nmse, "nmse": nmse, "collapse_reason": reason}
    return {"dose": 1e3, "view": "dense", "state": "succeeded", "result": {"metrics": {**scores, "refined": scores}}}


def _manifest(file: Path, *jobs: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"jobs": jobs}))


def test_a_table_has_the_median_and_the_range_of_the_seeds_and_names_what_is_flat(
    tmp_path: Path, scripts: dict[str, Any]
) -> None:
    failed = {"dose": 1e4, "view": "dense", "state": "failed", "result": None}
    _manifest(tmp_path / "training_manifest.json", _job(0.003), failed, _job(0.001), _job(0.02, "flat"))
    cell = "0.030 [0.010, 0.200] / 0.0030 [0.0010, 0.0200] (1 of 3 flat)"
    assert scripts["variations"]({"mine": tmp_path}).splitlines()[2:] == [f"| mine | 1000 | dense |  | {cell} | {cell} |"]
    assert scripts["conditions"](tmp_path).splitlines()[2:] == [f"| 1000 | dense |  |  |  |  | {cell} | {cell} |"]


def test_without_a_refiner_the_steps_alone_are_those_of_the_evaluation(tmp_path: Path, scripts: dict[str, Any]) -> None:
    job = _job(0.003)
    del job["result"]["metrics"]["refined"]
    _manifest(tmp_path / "training_manifest.json", job)
    assert scripts["conditions"](tmp_path).endswith("| 0.030 / 0.0030 |  |")
    scores = {"phase_mae_rad": 0.25, "nmse": 0.125, "collapse_reason": None}
    evaluation = tmp_path / "evaluation" / "dose_1000" / "dense" / "gs2" / "evaluation.json"
    evaluation.parent.mkdir(parents=True)
    evaluation.write_text(json.dumps({"halves": {"test": {"methods": {"refined": {"scores": scores}}}}}))
    assert scripts["conditions"](tmp_path).endswith("| 0.030 / 0.0030 | 0.250 / 0.1250 |")


def test_the_gradient_stands_in_its_column(tmp_path: Path, scripts: dict[str, Any]) -> None:
    test_a_table_has_the_median_and_the_range_of_the_seeds_and_names_what_is_flat(tmp_path, scripts)
    scores = {"phase_mae_rad": 0.5, "nmse": 0.25, "collapse_reason": None}
    solved = {"metrics": {"halves": {"test": {"methods": {"solver": {"scores": scores}}}}}}
    gradient = {"dose": 1e3, "view": "dense", "state": "succeeded", "result": solved}
    _manifest(tmp_path / "phase_f_iterative" / "iterative_manifest.json", gradient)
    assert "| mine | 1000 | dense | 0.500 / 0.2500 |" in scripts["variations"]({"mine": tmp_path})
