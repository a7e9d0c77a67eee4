"""The JSON Schema of a study's YAML, for editors: `python -m fly64_hpc.study_schema configs/study.schema.json`."""

import ast
import inspect
import itertools
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from fly64_hpc.study import StudyDesign
from ptycho_torch.config import Strict, write_json


def study_schema() -> dict[str, Any]:
    """The schema, from the same models that check a study; what is written below a field describes it."""
    schema = StudyDesign.model_json_schema()
    sections = schema["$defs"] | {StudyDesign.__name__: schema}
    for model in _models(Strict):
        for field, words in field_docstrings(model).items():
            properties = sections.get(model.__name__, {}).get("properties", {})
            if field in properties:
                properties[field] = dict(sorted((properties[field] | {"description": words}).items()))
    needs = [key for key in schema["required"] if key != "base"]  # which a sweep may give
    named = {"anyOf": [{"required": ["base"]}, {"required": ["sweep"]}]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "required": needs, **named}


def field_docstrings(model: type[BaseModel]) -> dict[str, str]:
    """What stands below each field of a model, in its source.

    Pydantic would read it itself, for every model whenever the program starts: a fifth of the time that `--help` takes.
    """
    body = ast.parse(textwrap.dedent(inspect.getsource(model))).body[0]
    assert isinstance(body, ast.ClassDef)
    return {
        field.target.id: inspect.cleandoc(words.value.value)
        for field, words in itertools.pairwise(body.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(words, ast.Expr) and isinstance(words.value, ast.Constant) and isinstance(words.value.value, str)
    }


def _models(base: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for model in base.__subclasses__():
        yield model
        yield from _models(model)


if __name__ == "__main__":
    write_json(Path(sys.argv[1]), study_schema())
