"""The reference says what the program does: its tables are made from the models, and no key of them is without a meaning."""

import runpy
from typing import Any

import pytest
from command import REPOSITORY

PAGE = REPOSITORY / "docs" / "reference.md"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(REPOSITORY / "docs" / "reference_tables.py"))


def test_the_tables_are_those_of_the_models(script: dict[str, Any]) -> None:
    assert script["page_of"](PAGE.read_text()) == PAGE.read_text(), "make schema"


def test_every_key_of_the_yaml_has_a_meaning(script: dict[str, Any]) -> None:
    for path, section in script["sections"]():
        silent = [key for key, value in section["properties"].items() if not value.get("description")]
        assert not silent, f"{path}: {silent}"


def test_every_section_is_there_once(script: dict[str, Any]) -> None:
    paths = [path for path, _ in script["sections"]()]
    assert len(paths) == len(set(paths))
    assert {"base.procedural", "design.views.NAME", "training.refiner", "iterative.solvers.NAME", "resources.retry"} <= set(paths)


def test_what_is_allowed_is_said_in_words(script: dict[str, Any]) -> None:
    allowed = script["_allowed"]
    assert allowed({"type": "integer", "minimum": 1, "maximum": 4}) == "whole number, ≥ 1, ≤ 4"
    assert allowed({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "null"}]}) == "number, > 0 or null"
    assert allowed({"enum": ["x", "y"], "type": "string"}) == "`x`, `y`"
    assert allowed({"type": "array", "items": {"type": "string"}}) == "list of (text)"
