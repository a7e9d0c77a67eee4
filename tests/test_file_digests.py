"""A digest is believed within a process as long as nobody has touched the file, and not a moment longer."""

from collections.abc import Callable
from pathlib import Path

import pytest
from touched_files import overwritten, replaced

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


def appended(bundle: Path) -> None:
    with bundle.open("ab") as file:
        file.write(b"!")


@pytest.mark.parametrize("touch", [overwritten, replaced, appended])
def test_a_file_that_somebody_touched_is_read(bundle: Path, touch: Callable[[Path], None]) -> None:
    touch(bundle)
    assert file_digests.file_digest(bundle) == sha256_file(bundle)
