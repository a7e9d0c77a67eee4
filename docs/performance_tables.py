"""Writes the tables of docs/performance.md from the JSON files of the benchmarks: `make performance-tables`."""

import json
import sys
from pathlib import Path
from typing import Any

from marked_tables import filled

END = "<!-- end of the table -->"
SECTIONS = ("training", "inference", "data", "start", "studies")


def machine(run: dict[str, Any]) -> str:
    """What it was measured on."""
    facts = run["machine"]
    bfloat16 = "multiplies bfloat16" if facts["cpu_has_bfloat16"] else "has no bfloat16"
    lines = {
        "processor": f"{facts['cpu']}; {facts['instructions']}, {bfloat16}",
        "cores": f"{facts['threads']} of {facts['cores']}",
        "GPU": facts["gpu"] or "none",
        "memory": f"{facts['memory_gib']} GiB",
        "system": facts["system"],
        "versions": f"Python {facts['python']}, PyTorch {facts['torch']}, NumPy {facts['numpy']}",
    }
    return _table(("", ""), list(lines.items()))


def measures(run: dict[str, Any], section: str) -> str:
    """The lines of a section: value, what is required, beside what, and the spread of the runs."""
    rows = [
        (one["name"], _value(one), _required(one), one["verdict"] or "-", one["note"] or one["reference"], _figures(one))
        for one in run["measures"]
        if one["section"] == section
    ]
    return _table(("what", "median [least, most]", "required", "", "beside", "figures"), rows)


def profiles(run: dict[str, Any]) -> str:
    """Where an epoch's time goes: a column a cell."""
    cells = run["profiles"]
    kinds = sorted(cells[0]["shares"], key=lambda kind: -cells[0]["shares"][kind]) if cells else []
    headings = ("work", *(f"{cell['cell']}, {cell['epoch_s']:g} s" for cell in cells))
    return _table(headings, [(kind, *(f"{100 * cell['shares'][kind]:.1f} %" for cell in cells)) for kind in kinds])


def quality(run: dict[str, Any]) -> str:
    """When each contestant was good enough, and the best that it was seen to be until then."""
    rows = [
        (
            one["name"],
            f"not reached in {run['limit_s']:.0f} s" if one["seconds"] is None else f"{one['seconds']:.1f} s",
            f"{one['best']['phase_mae_rad']:.3f} after {one['best']['passes']} passes, {one['best']['seconds']:.1f} s",
        )
        for one in run["rows"]
    ]
    return _table(("what", f"phase error of {run['target_phase_mae_rad']:.2f} rad after", "the best that was seen [rad]"), rows)


def _value(one: dict[str, Any]) -> str:
    if one["value"] is None:
        return "not measured"
    spread = f" [{min(one['runs']):.3g}, {max(one['runs']):.3g}]" if one["runs"] else ""
    return f"{one['value']:.3g}{spread} {_unit(one)}".strip()


def _required(one: dict[str, Any]) -> str:
    if one["required"] is None:
        return "-"
    return f"{'at least' if one['better'] == 'more' else 'at most'} {one['required']:g} {_unit(one)}".strip()


def _unit(one: dict[str, Any]) -> str:
    return "" if one["unit"] == "x" else str(one["unit"])


def _figures(one: dict[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in one["details"].items())


def _table(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [headings, ("---",) * len(headings), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def main(file: Path, page: Path) -> None:
    """Put every table between its marks in the page."""
    run = json.loads(file.read_text())
    tables = {"machine": machine(run), "epoch": profiles(run)} | {section: measures(run, section) for section in SECTIONS}
    timed = file.with_name("time_to_quality.json")
    if timed.exists():
        tables["quality"] = quality(json.loads(timed.read_text()))
    text = page.read_text()
    for name, table in tables.items():
        text = filled(text, f"<!-- table of {name}: made by docs/performance_tables.py -->", END, table)
    page.write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
