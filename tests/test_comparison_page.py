"""The page on the comparison: a line for every dose, view and method of its three studies, made from the CSV."""

import re
import runpy
from pathlib import Path

import pytest
from command import REPOSITORY

from fly64_hpc.comparison import Cell, Measurement
from fly64_hpc.comparison_table import csv_text, table
from fly64_hpc.job_matrix import Condition

PAGE = REPOSITORY / "docs" / "comparison.md"
SCRIPT = runpy.run_path(str(REPOSITORY / "docs" / "comparison_tables.py"))
STUDIES = {"fly64_demo": 9, "siemens_star": 9, "measured_scan": 1, "measured_scan_thinned": 1}
MEASURED = ("measured_scan", "measured_scan_thinned")
METHODS = ("network", "network, refined", "gradient", "lsqml", "lsqml poisson", "rpie", "flat (O = 1)")


def lines_of(study: str) -> list[list[str]]:
    text = PAGE.read_text().partition(SCRIPT["begin"](study))[2].partition(SCRIPT["END"])[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.strip().splitlines()[2:]]


@pytest.mark.parametrize("study", STUDIES)
def test_every_condition_has_every_method_with_its_figures(study: str) -> None:
    lines = lines_of(study)
    conditions = {(dose, view) for dose, view, *_ in lines}
    assert len(conditions) == STUDIES[study]
    for condition in conditions:
        own = {line[2]: line for line in lines if (line[0], line[1]) == condition}
        assert set(own) == (set(METHODS) - {"lsqml"} | {"epie"} if study in MEASURED else set(METHODS))
        for method, line in own.items():
            is_reference = study in MEASURED and method == "gradient"
            assert is_reference or re.match(r"\d", line[3]), (condition, method)


def test_from_a_hundredth_of_the_measured_photons_refined_explains_more_than_network_and_epie() -> None:
    deviance = {line[2]: float(line[8]) for line in lines_of("measured_scan_thinned")}
    assert deviance["network, refined"] < min(deviance["network"], deviance["epie"])


def test_the_table_is_made_from_the_csv(tmp_path: Path) -> None:
    def cell(method: str, half: str, nmse: float, *missing: str) -> Cell:
        figures = {"scores": {"nmse": nmse, "collapse_reason": None}, "held_out_deviance": 0.5, "steps": None, "seconds": 2.0}
        made = () if missing else (Measurement(0, figures, "truth", None, 3.0, "cpu", "c", "a", "b", "w"),)
        return Cell(Condition(1e3, "dense"), 2, method, half, made, missing)

    cells = [
        cell("network", "test", 0.25),
        cell("network", "train", 0.125),
        cell("rpie", "test", 0, "not run"),
        cell("rpie", "train", 0),
    ]
    folder = tmp_path / "mine" / "comparison"
    folder.mkdir(parents=True)
    (folder / "comparison.csv").write_text(csv_text(table("mine", cells)))
    page = tmp_path / "page.md"
    page.write_text(f"before {SCRIPT['begin']('mine')} old {SCRIPT['END']} after")
    SCRIPT["main"](tmp_path / "mine", page)
    text = page.read_text()
    assert "| 1000 | dense | network | 0.25 |" in text
    assert "| 0.12 |" in text
    assert "| 1000 | dense | rpie | not run |" in text
    assert ("old" not in text, text.startswith("before "), text.endswith(" after")) == (True, True, True)
