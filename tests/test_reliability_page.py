"""The page on reliability: a row for every fault, as it was seen on the real Slurm."""

import json
import re
import runpy
from pathlib import Path

from command import REPOSITORY

PAGE = REPOSITORY / "docs" / "reliability.md"


def test_every_fault_has_a_row_with_what_both_said() -> None:
    rows = re.findall(r"^\| (\d\d) \| ([^|]+) \| ([^|]+) \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
    assert {int(number) for number, *_ in rows} == set(range(1, 22))
    assert all(slurm.strip() and "**" in said for _, _, slurm, said in rows)


def test_the_table_is_made_from_what_the_tests_saw(tmp_path: Path) -> None:
    script = runpy.run_path(str(REPOSITORY / "docs" / "fault_table.py"))
    fact = {"test": "test_fault_07_memory_runs_out", "id": "test_fault_07_memory_runs_out[real-x]", "slurm": "FAILED 9:0"}
    said = [{"state": "out_of_memory", "reason": "a|b"}, {"state": "succeeded", "reason": "c"}]
    (tmp_path / "one.json").write_text(json.dumps(fact | {"said": said}))
    page = tmp_path / "page.md"
    page.write_text(f"before {script['BEGIN']} old {script['END']} after")
    script["main"](tmp_path, page)
    text = page.read_text()
    assert "| 07 | memory runs out (x) | FAILED 9:0 | **out_of_memory**: a\\|b<br>then **succeeded**: c |" in text
    assert ("old" not in text, text.startswith("before "), text.endswith(" after")) == (True, True, True)
