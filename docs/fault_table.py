"""Writes the table of `docs/reliability.md` from what the fault tests saw on the real Slurm: `make fault-table`."""

import json
import re
import sys
from pathlib import Path
from typing import Any

from marked_tables import filled

BEGIN, END = "<!-- table: made by docs/fault_table.py from `make test-slurm` -->", "<!-- end of the table -->"


def table(folder: Path) -> str:
    """The table in Markdown: a row for each test that left a witness."""
    facts = [json.loads(file.read_text()) for file in folder.glob("*.json")]
    rows = [_row(fact) for fact in sorted(facts, key=lambda fact: fact["id"])]
    return "\n".join(["| NN | fault | Slurm said | we said |", "| --- | --- | --- | --- |", *rows])


def _row(fact: dict[str, Any]) -> str:
    _, _, number, *words = fact["test"].split("_")
    variant = fact["id"].partition("[")[2].rstrip("]").removeprefix("real").strip("-")
    fault = " ".join(words) + (f" ({variant})" if variant else "")
    said = "<br>then ".join(f"**{outcome['state']}**: {_short(outcome['reason'])}" for outcome in fact["said"])
    return f"| {number} | {fault} | {_escaped(fact['slurm'])} | {said} |"


def _short(reason: str) -> str:
    reason = re.sub(r"/\S*/outputs/", "outputs/", reason)  # the tests' own folders mean nothing to a reader
    return _escaped(reason if len(reason) < 220 else reason[:217] + "...")


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def main(folder: Path, page: Path) -> None:
    """Put the table between its two marks in the page."""
    page.write_text(filled(page.read_text(), BEGIN, END, table(folder)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
