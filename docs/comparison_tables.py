"""Writes the tables of `docs/comparison.md` from what `compare` found: `make comparison-tables`."""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

from marked_tables import filled

METHODS = {"network": "network", "refined": "network, refined", "flat": "flat (O = 1)"}
HEADINGS = (
    "photons", "view", "method", "NMSE", "phase MAE [rad]", "phase SSIM", "FRC crossing", "phase PSNR [dB]",
    "held-out deviance", "steps", "training half: NMSE", "phase MAE", "reconstruction [s]", "training [s]",
)  # fmt: skip


def begin(study: str) -> str:
    """The mark before a study's table."""
    return f"<!-- table of {study}: made by docs/comparison_tables.py -->"


END = "<!-- end of the table -->"


def table(file: Path) -> str:
    """The table in Markdown: a line for each dose, view and method, the unseen half first."""
    rows = list(csv.DictReader(file.read_text().splitlines()))
    training = {_key(row): row for row in rows if row["half"] == "training"}
    lines = [_line(row, training[_key(row)]) for row in rows if row["half"] == "unseen"]
    return "\n".join(["| " + " | ".join(HEADINGS) + " |", "|" + " --- |" * len(HEADINGS), *lines])


def _key(row: dict[str, str]) -> tuple[str, ...]:
    return row["dose_photons"], row["view"], row["method"]


def _line(unseen: dict[str, str], training: dict[str, str]) -> str:
    method = METHODS.get(unseen["method"], unseen["method"].replace("_", " "))
    cells = [unseen["dose_photons"], unseen["view"], method, *_figures(unseen, training)]
    return "| " + " | ".join(cells) + " |"


def _figures(unseen: dict[str, str], training: dict[str, str]) -> Iterator[str]:
    if unseen["state"] == "missing":
        yield unseen["missing"]
        return
    collapsed = " (flat)" if unseen["collapsed_seeds"] not in ("", "0") and unseen["method"] != "flat" else ""
    yield _shown(unseen, "nmse", ".2g") + collapsed
    yield _shown(unseen, "phase_mae_rad", ".3f")
    yield _shown(unseen, "phase_ssim", ".3f")
    yield _shown(unseen, "frc_crossing_cycles_per_px", ".2f")
    yield _shown(unseen, "phase_psnr_db", ".1f")
    yield _shown(unseen, "held_out_deviance", ".5g")
    yield _shown(unseen, "steps", ".0f")
    yield _shown(training, "nmse", ".2g")
    yield _shown(training, "phase_mae_rad", ".3f")
    yield _shown(unseen, "reconstruction_s", ".1f") if unseen["method"] != "flat" else ""
    yield _shown(unseen, "training_s", ".0f")


def _shown(row: dict[str, str], name: str, form: str) -> str:
    """A mean, with its 95 % interval where there are several seeds."""
    if not row[name]:
        return ""
    interval = f" ± {float(row[f'{name}_ci95']):.1g}" if row[f"{name}_ci95"] else ""
    return f"{float(row[name]):{form}}{interval}"


def main(study_dir: Path, page: Path) -> None:
    """Put the study's table between its marks in the page."""
    mark = begin(study_dir.name)
    assert mark in page.read_text(), f"{page} has no place for {study_dir.name}"
    page.write_text(filled(page.read_text(), mark, END, table(study_dir / "comparison" / "comparison.csv")))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
