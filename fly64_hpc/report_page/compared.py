"""The comparison with iterative solvers (Phase G), where `compare` has made it."""

import csv
import json
from collections.abc import Sequence

from fly64_hpc.report_page import words
from fly64_hpc.report_page.facts import StudyFacts, shown
from fly64_hpc.report_page.markup import Markup, paragraph, section, tag
from fly64_hpc.report_page.tables import Column, download_links, sortable

Row = dict[str, str]

MOST_ROWS = 400
SWEPT = "sweep_"
"""What the columns of a sweep's axes begin with."""
FIGURES = {
    "phase_mae_rad": "phase error [rad]",
    "nmse": "NMSE",
    "phase_ssim": "phase SSIM",
    "frc_crossing_cycles_per_px": "FRC crossing [1/px]",
    "held_out_deviance": "held-out deviance",
    "steps": "steps",
    "reconstruction_s": "seconds",
}


def compared_section(facts: StudyFacts) -> Markup | None:
    """The unseen half of comparison.csv as a table; the whole file to be saved."""
    file = facts.paths.comparison / "comparison.csv"
    try:
        text = file.read_text()
    except OSError:
        return None
    rows = list(csv.DictReader(text.splitlines()))
    unseen, more = shown([row for row in rows if row.get("half") == "unseen"], MOST_ROWS, "cells")
    if not unseen:
        return None
    lead = (
        "Networks and iterative solvers on the same patterns of the unseen half, as compare scored them. Here “refined” "
        "includes the data-consistency steps that held-out photons asked for. The saved files have the training half, too."
    )
    return section(
        "comparison",
        "Comparison with iterative solvers",
        paragraph(lead, class_="lead"),
        paragraph(more) if more else None,
        sortable("comparison", "Every method on the unseen half", _columns(unseen), unseen),
        download_links(f"{facts.design.study}-comparison", {"csv": text, "json": json.dumps(rows, indent=1)}),
    )


def _columns(rows: Sequence[Row]) -> list[Column[Row]]:
    several = any(row.get("n_seeds", "1") not in ("0", "1") for row in rows)
    return [
        Column("method", "method", lambda row: row.get("method", "").replace("_", " ")),
        Column("view", "view", lambda row: row.get("view", "")),
        *(_sweep_column(key) for key in rows[0] if key.startswith(SWEPT)),
        Column("dose_photons", "photons", lambda row: _number(row, "dose_photons"), _dose),
        Column("n_seeds", "seeds", lambda row: row.get("n_seeds", ""), is_shown=several),
        *(_figure_column(rows, key, heading) for key, heading in FIGURES.items()),
        Column(
            "missing", "missing", lambda row: row.get("missing", ""), _missing, is_shown=any(row.get("missing") for row in rows)
        ),
    ]


def _sweep_column(key: str) -> Column[Row]:
    return Column(key, key.removeprefix(SWEPT).replace("_", " "), lambda row: row.get(key) or "")


def _missing(row: Row) -> Markup:
    return tag("span", row.get("missing") or words.MISSING, class_="prose")


def _dose(row: Row) -> str:
    value = _number(row, "dose_photons")
    return words.MISSING if value is None else words.dose(value)


def _figure_column(rows: Sequence[Row], key: str, heading: str) -> Column[Row]:
    def said(row: Row) -> str:
        width = _number(row, f"{key}_ci95")
        value = _number(row, key)
        mean = f"{value:g}" if key == "steps" and value is not None else words.number(value)
        return mean + (f" ± {words.number(width, 2)}" if width is not None else "")

    return Column(key, heading, lambda row: _number(row, key), said, is_shown=any(row.get(key) for row in rows))


def _number(row: Row, key: str) -> float | None:
    try:
        return float(row.get(key, ""))
    except ValueError:
        return None
