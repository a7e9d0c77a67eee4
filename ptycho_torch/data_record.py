"""What a folder of datasets says about itself, and whether it may be used again."""

import json
from pathlib import Path
from typing import Any

from ptycho_torch.atomic_files import sha256_file

__all__ = ["DATASET_FILES", "current_record", "file_facts"]

DATASET_FILES = {"train": "patched_train.npz", "test": "patched_test.npz"}
"""The halves of a dataset of Phase C, and their files."""


def file_facts(path: Path) -> dict[str, Any]:
    """The digest and size of a file, as records keep them."""
    return {"sha256": sha256_file(path), "size_bytes": path.stat().st_size}


def current_record(record_path: Path, recipe_sha256: str) -> dict[str, Any] | None:
    """The record of a folder whose files were made by this very recipe and are whole, or None.

    Parameters
    ----------
    record_path
        A JSON file with `recipe_sha256` and `files`, {name: {sha256, ...}}, beside those files.
    recipe_sha256
        The digest of the recipe that is wanted.
    """
    try:
        record: dict[str, Any] = json.loads(record_path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    if record.get("recipe_sha256") != recipe_sha256:
        return None
    intact = all(_is_intact(record_path.with_name(name), facts) for name, facts in record["files"].items())
    return record if intact else None


def _is_intact(path: Path, facts: dict[str, Any]) -> bool:
    return path.is_file() and path.stat().st_size == facts["size_bytes"] and sha256_file(path) == facts["sha256"]
