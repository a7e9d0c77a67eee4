"""A pydantic complaint about a study, as one sentence with its place, what was got, what is allowed and what to do."""

import difflib
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from fly64_hpc.errors import StudyError
from fly64_hpc.study_yaml import KeyPath

Locate = Callable[[KeyPath], str]


def study_error(error: ValidationError, model: type[BaseModel], locate: Locate) -> StudyError:
    """The first complaint of `error` in words; `locate` says where a key stands."""
    problems = sorted(error.errors(include_url=False), key=lambda problem: problem["type"] != "extra_forbidden")
    problem = problems[0]
    path, section = _follow(model, tuple(problem["loc"]))
    name = ".".join(str(part) for part in path)
    if problem["type"] == "extra_forbidden":
        return _unknown_key(path, section, locate(path))
    if problem["type"] == "missing":
        return StudyError(f"{locate(path)}: {name} is missing.", hint="Add it; the example studies in configs/ show its form.")
    message = problem["msg"].removeprefix("Value error, ")
    got = "" if isinstance(problem["input"], dict | BaseModel) else f"; got {problem['input']!r}"
    return StudyError(f"{locate(path)}: {name or 'the study'}: {message}{got}.", hint=f"Change {name or 'the study'}.")


def unknown_key(model: type[BaseModel], study: BaseModel, path: KeyPath, where: str) -> StudyError | None:
    """The complaint about a key path that no study of this model has, or this study not, as a view; None where it may be set.

    Parameters
    ----------
    study
        Whose names of views and the like are allowed.
    where
        The place of the path, in words.
    """
    inside: Any = model
    known: Any = study
    for index, part in enumerate(path):
        if isinstance(inside, type) and issubclass(inside, BaseModel):
            allowed = list(inside.model_fields)
        else:
            allowed = list(known) if isinstance(known, dict) else []
        if part not in allowed:
            return _unknown(path[: index + 1], allowed, where)
        inside = _step(inside, part)
        known = known.get(part) if isinstance(known, dict) else getattr(known, str(part), None)
    return None


def _unknown_key(path: KeyPath, section: type[BaseModel] | None, where: str) -> StudyError:
    return _unknown(path, sorted(section.model_fields) if section else [], where)


def _unknown(path: KeyPath, allowed: list[str], where: str) -> StudyError:
    key = str(path[-1])
    close = difflib.get_close_matches(key, allowed, n=1)
    place = ".".join(str(part) for part in path[:-1]) or "the study"
    hint = f"Did you mean {close[0]!r}?" if close else "Remove it."
    return StudyError(f"{where}: {place} has no key {key!r}; allowed are {', '.join(allowed) or 'none'}.", hint=hint)


def _follow(model: type[BaseModel], loc: KeyPath) -> tuple[KeyPath, type[BaseModel] | None]:
    """The part of `loc` that names keys of the YAML, and the section that holds its last key.

    Pydantic also puts the names of union members into `loc`; those are no keys.
    """
    path: list[str | int] = []
    section: type[BaseModel] | None = model
    inside: Any = model
    for index, part in enumerate(loc):
        section = inside if isinstance(inside, type) and issubclass(inside, BaseModel) else None
        following = _step(inside, part)
        if following is None and not (section and index == len(loc) - 1):
            break
        path.append(part)
        inside = following
    return tuple(path), section


def _step(annotation: Any, part: str | int) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(str(part))
        return None if field is None else _section_of(field.annotation)
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is dict:
        return _section_of(arguments[1])
    if typing.get_origin(annotation) is tuple and isinstance(part, int):
        return _section_of(arguments[0])
    return None


def _section_of(annotation: Any) -> Any:
    """The section, mapping or tuple inside an annotation such as `Section | None`."""
    candidates = list(_members(annotation))
    for candidate in candidates:
        if typing.get_origin(candidate) in (dict, tuple) or (isinstance(candidate, type) and issubclass(candidate, BaseModel)):
            return candidate
    return candidates[0]


def _members(annotation: Any) -> Iterator[Any]:
    if typing.get_origin(annotation) is typing.Annotated:
        yield from _members(typing.get_args(annotation)[0])
    elif typing.get_origin(annotation) in (typing.Union, types.UnionType):
        for member in typing.get_args(annotation):
            yield from _members(member)
    else:
        yield annotation
