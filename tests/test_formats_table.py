"""The table of formats in docs/reference.md is true: every format is there, and its clients and tests exist."""

import ast
import re
from pathlib import Path

import pytest
from command import REPOSITORY

from fly64_hpc import export, ingest

TESTS = REPOSITORY / "tests"
PINNED = TESTS / "clients" / "requirements.txt"
SECTION = (REPOSITORY / "docs" / "reference.md").read_text().partition("### Formats, and what checks them\n")[2]
ROWS = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in SECTION.splitlines() if line.startswith("| ")][
    1:
]
ROWS = [row for row in ROWS if not row[0].startswith("---")]


def named_tests(row: list[str]) -> list[tuple[str, str]]:
    """File and name of each test that a row names."""
    return re.findall(r"`(test_\w+\.py)::(test_\w+)`", row[4])


def marks(file: str, name: str) -> str:
    """The source of a test's decorators and of its file's own mark."""
    tree = ast.parse((TESTS / file).read_text())
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    assert found, f"there is no {file}::{name}"
    own = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Assign) and "pytestmark" in ast.unparse(node)]
    return " ".join([*(ast.unparse(decorator) for decorator in found[0].decorator_list), *own])


def test_every_format_that_is_read_or_written_has_a_row() -> None:
    read = {row[0].strip("`") for row in ROWS if row[1] == "yes"}
    written = {row[2].strip("`") for row in ROWS if row[2]}
    assert read == set(ingest.FORMATS) - {"auto"} | {"arrays"}
    assert written == set(export.FORMATS)


@pytest.mark.parametrize("row", ROWS, ids=[row[0].strip("`") for row in ROWS])
def test_a_row_names_tests_that_exist_and_clients_that_they_run(row: list[str]) -> None:
    assert len(row) == 5
    assert named_tests(row)
    by_client = [name for file, name in named_tests(row) if "clients" in marks(file, name)]
    clients = [name for name, version in pinned().items() if f"{name} {version}" in row[3]]
    assert bool(by_client) == bool(clients)
    for client in clients:
        assert any(client.removesuffix("-py") in name for name in by_client), f"no test of {row[0]} names {client}"


def pinned() -> dict[str, str]:
    return dict(line.split("==") for line in Path(PINNED).read_text().splitlines() if "==" in line)
