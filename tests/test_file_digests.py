"""A digest is believed within a process as long as nobody has touched the file, and not a moment longer."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fly64_hpc import file_digests
from ptycho_torch.config import sha256_file


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle whose digest is known."""
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"weights")
    file_digests.file_digest(file)
    return file


def unreadable(_: Path) -> str:
    raise AssertionError("the file was read")


def test_an_untouched_file_is_not_read_again(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = sha256_file(bundle)
    monkeypatch.setattr(file_digests, "sha256_file", unreadable)
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
def test_a_file_that_somebody_touched_is_read(bundle: Path, touch: Callable[[Path], None]) -> None:
    touch(bundle)
    assert file_digests.file_digest(bundle) == sha256_file(bundle)
