"""Writes the tables of docs/reference.md from the models that check a study's YAML: `make schema`."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from marked_tables import filled

from fly64_hpc.study_schema import study_schema

MARK, END = "<!-- tables of the YAML: made by docs/reference_tables.py -->", "<!-- end of the tables -->"
KINDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true, false", "null": "null"}
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def sections() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every section of the YAML by its dotted path, the whole file first."""
    schema = study_schema()
    yield from _sections("", schema, schema["$defs"])


def _sections(path: str, section: dict[str, Any], definitions: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, section
    for key, value in section["properties"].items():
        inner = f"{path}.{key}" if path else key
        for name, place in _referred(value, inner):
            yield from _sections(place, definitions[name], definitions)


def _referred(value: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
    """The sections that a key holds: itself one, perhaps, or a name for each of several."""
    for one in (value, *value.get("anyOf", ())):
        if "$ref" in one:
            yield one["$ref"].rpartition("/")[2], path
    for one in (value.get("additionalProperties"), *value.get("patternProperties", {}).values()):
        if isinstance(one, dict) and "$ref" in one:
            yield one["$ref"].rpartition("/")[2], f"{path}.NAME"


def table(section: dict[str, Any]) -> str:
    """The keys of a section."""
    lines = ["| key | allowed | default | |", "| --- | --- | --- | --- |"]
    required = section.get("required", ())
    for key, value in section["properties"].items():
        default = "required" if key in required else _shown(value["default"]) if "default" in value else "as said"
        meaning = " ".join(value.get("description", "").split())
        lines.append(f"| `{key}` | {_allowed(value)} | {default} | {meaning} |".replace("  |", " |"))
    return "\n".join(lines)


def _allowed(value: dict[str, Any]) -> str:
    if "$ref" in value:
        return "section"
    if "anyOf" in value:
        return " or ".join(dict.fromkeys(_allowed(one) for one in value["anyOf"]))
    if "enum" in value:
        return ", ".join(f"`{one}`" for one in value["enum"])
    if "const" in value:
        return f"`{value['const']}`"
    if value.get("type") == "array":
        return _allowed_list(value)
    if value.get("type") == "object":
        return "a section for each name" if any(_referred(value, "")) else "names with values"
    bounds = [f"{sign} {value[name]:.12g}" for name, sign in BOUNDS.items() if name in value]
    factor = [f"a multiple of {value['multipleOf']}"] if "multipleOf" in value else []
    return ", ".join((KINDS[value["type"]], *bounds, *factor))


def _allowed_list(value: dict[str, Any]) -> str:
    inner = value["prefixItems"][0] if "prefixItems" in value else value["items"]
    length = f"{len(value['prefixItems'])} " if "prefixItems" in value else ""
    return f"list of {length}({_allowed(inner)})"


def _shown(default: Any) -> str:
    if isinstance(default, dict):
        return "see there" if default else "`{}`"
    if isinstance(default, list):
        return "`[" + ", ".join(f"{one:g}" if isinstance(one, float) else str(one) for one in default) + "]`"
    return f"`{'null' if default is None else str(default).lower() if isinstance(default, bool) else default}`"


def page_of(text: str) -> str:
    """The page with its tables made anew."""
    parts = []
    for path, section in sections():
        words = " ".join(section.get("description", "").split())
        parts.append(f"### `{path}`\n\n{words}\n\n{table(section)}" if path else table(section))
    return filled(text, MARK, END, "\n\n".join(parts))


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(page_of(page.read_text()))
