"""The JSON Schema of a study's YAML, for editors: `python -m fly64_hpc.study_schema configs/study.schema.json`."""

import sys
from pathlib import Path
from typing import Any

from fly64_hpc.study import StudyDesign
from ptycho_torch.config import write_json


def study_schema() -> dict[str, Any]:
    """The schema, from the same models that check a study."""
    schema = StudyDesign.model_json_schema()
    needs = [key for key in schema["required"] if key != "base"]  # which a sweep may give
    named = {"anyOf": [{"required": ["base"]}, {"required": ["sweep"]}]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "required": needs, **named}


if __name__ == "__main__":
    write_json(Path(sys.argv[1]), study_schema())
