"""A digest is believed from one process to the next as long as nobody has touched the file, and not a moment longer."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fly64_hpc import file_digests
from ptycho_torch.config import sha256_file


@pytest.fixture
def remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A bundle and what another process wrote down of it."""
    bundle, file = tmp_path / "model.safetensors", tmp_path / "verified_bundles.json"
    bundle.write_bytes(b"weights")
    monkeypatch.setattr(file_digests, "SETTLED_S", -1.0)
    monkeypatch.setattr(file_digests, "_known", {})
    file_digests.file_digest(bundle)
    file_digests.remember(file, tmp_path, [bundle, tmp_path / "another"])
    file_digests._known.clear()
    return bundle, file


def unreadable(_: Path) -> str:
    raise AssertionError("the file was read")


def test_an_untouched_file_is_not_read_again(remembered: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    bundle, file = remembered
    expected = sha256_file(bundle)
    monkeypatch.setattr(file_digests, "sha256_file", unreadable)
    file_digests.trust(file, bundle.parent)
    assert file_digests.file_digest(bundle) == expected


def overwritten(bundle: Path) -> None:
    """Same size, and the old time set again."""
    facts = bundle.stat()
    bundle.write_bytes(b"WEIGHTS")
    os.utime(bundle, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def replaced(bundle: Path) -> None:
    facts = bundle.stat()
    other = bundle.with_name("other")
    other.write_bytes(b"WEIGHTS")
    os.utime(other, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    other.replace(bundle)


def appended(bundle: Path) -> None:
    with bundle.open("ab") as file:
        file.write(b"!")


@pytest.mark.parametrize("touch", [overwritten, replaced, appended])
def test_a_file_that_somebody_touched_is_read(remembered: tuple[Path, Path], touch: Callable[[Path], None]) -> None:
    bundle, file = remembered
    touch(bundle)
    file_digests.trust(file, bundle.parent)
    assert file_digests.file_digest(bundle) == sha256_file(bundle)


def test_a_file_that_was_written_a_moment_ago_is_not_remembered(tmp_path: Path) -> None:
    bundle, file = tmp_path / "model.safetensors", tmp_path / "verified_bundles.json"
    bundle.write_bytes(b"weights")
    file_digests.file_digest(bundle)
    file_digests.remember(file, tmp_path, [bundle])
    assert json.loads(file.read_text())["verified"] == {}


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema_version": 1, "verified": {"model.safetensors": {"stamp": [1], "sha256": "0"}}}']
)
def test_a_damaged_memory_costs_time_only(remembered: tuple[Path, Path], text: str) -> None:
    bundle, file = remembered
    file.write_text(text)
    file_digests.trust(file, bundle.parent)
    assert file_digests.file_digest(bundle) == sha256_file(bundle)
