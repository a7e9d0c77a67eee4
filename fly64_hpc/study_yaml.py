"""YAML as a person means it: plain data, and the line of every key.

Differs from PyYAML's own reading where that surprises: `1e3` and `1e-3` are floats, `4:00:00` stays text, only `true` and
`false` are booleans. Tabs, double keys, alias loops and alias bombs are refused with file and line.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fly64_hpc.errors import StudyError
from fly64_hpc.plain_values import plain_value

KeyPath = tuple[str | int, ...]

MAX_NODES = 20_000
"""More values than any study has: an alias bomb."""


@dataclass(frozen=True)
class YamlDocument:
    """What a YAML text says, and where."""

    source: str
    data: Any
    lines: dict[KeyPath, int]

    def where(self, path: KeyPath) -> str:
        """`file:line` of the key at `path`, or of the nearest section around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.source}:{self.lines.get(path, 1)}"


def read_yaml(path: Path) -> YamlDocument:
    """Read a YAML file.

    Raises
    ------
    StudyError
        It is missing, no text, no YAML, or one of the things that this reader refuses.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise StudyError(f"{path}: there is no such file.", hint="Name a study with --study FILE; configs/ has some.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: cannot be read as text: {error}.") from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, source: str) -> YamlDocument:
    """Parse a YAML text; `source` names it in errors. See `read_yaml`."""
    builder = _Builder(source)
    try:
        root = _composed(text)
        data = None if root is None else builder.build(root, ())
    except yaml.YAMLError as error:
        raise _syntax_error(error, source) from None
    except RecursionError:
        raise StudyError(f"{source}:1: sections are nested too deeply.", hint="A study has five levels.") from None
    return YamlDocument(source, data, builder.lines)


def _composed(text: str) -> yaml.Node | None:
    """The nodes of a text, by libyaml where PyYAML was built with it, and what is wrong with it in PyYAML's own words."""
    with suppress(yaml.YAMLError):
        return yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return yaml.compose(text, Loader=yaml.SafeLoader)


def _syntax_error(error: yaml.YAMLError, source: str) -> StudyError:
    mark = getattr(error, "problem_mark", None)
    line = mark.line + 1 if mark is not None else 1
    problem = str(getattr(error, "problem", None) or error).splitlines()[0]
    if "'\\t'" in problem:
        return StudyError(f"{source}:{line}: a tab is used for indentation.", hint="YAML allows spaces only: replace the tab.")
    return StudyError(f"{source}:{line}: this is not YAML: {problem}.", hint="Check the indentation and the brackets here.")


class _Builder:
    """Turns PyYAML's nodes into plain data and notes the line of each key."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.lines: dict[KeyPath, int] = {}
        self._open: set[int] = set()
        self._count = 0

    def build(self, node: yaml.Node, path: KeyPath) -> Any:
        self.lines.setdefault(path, node.start_mark.line + 1)
        self._count += 1
        if self._count > MAX_NODES:
            raise self._refuse(
                node, f"has more than {MAX_NODES} values once aliases are written out", "Write less, with fewer aliases."
            )
        if id(node) in self._open:
            raise self._refuse(node, "an alias points back into its own section", "Replace the alias by the value it means.")
        self._open.add(id(node))
        try:
            return self._value(node, path)
        finally:
            self._open.discard(id(node))

    def _value(self, node: yaml.Node, path: KeyPath) -> Any:
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        is_plain = isinstance(node, yaml.ScalarNode) and not node.style
        return plain_value(node.value) if is_plain else node.value

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._refuse(key_node, "a key must be a word", "Write `key: value`.")
            key = key_node.value
            if key in result:
                raise self._refuse(key_node, f"the key {key!r} stands twice in this section", "Keep one of the two.")
            self.lines[(*path, key)] = key_node.start_mark.line + 1
            result[key] = self.build(value_node, (*path, key))
        return result

    def _refuse(self, node: yaml.Node, problem: str, hint: str) -> StudyError:
        return StudyError(f"{self.source}:{node.start_mark.line + 1}: {problem}.", hint=hint)
