"""The way of a measured scan through docs/your-own-scan.md, from the beamline's file into ptychodus. `make test-real`."""

import os
import sys
from pathlib import Path

import pytest
from command import REPOSITORY
from guides import follow, typed, write_files
from known_star import FILES, SHARED, correlation_with_the_known_star
from matplotlib.image import imread

from ptycho_torch.npz_archive import read_arrays

PAGE = REPOSITORY / "docs" / "your-own-scan.md"
CLIENTS = REPOSITORY / "build" / "clients"
SECTIONS = ("Bring it in, and look at it", "Train", "Reconstruct the whole scan", "Take it where you work")
LEAST_CORRELATION = 0.8
"""Seen: 0.89; the star upside down has 0.19."""
IN_CLIENTS = "Open it in ptychodus and silx"
WORDS = {"PYTHON_WITH_PTYCHODUS": f"env PYTHONPATH={CLIENTS} {sys.executable}"}
"""What this reader writes for the words in capitals."""

pytestmark = pytest.mark.real


def environment(clone: Path) -> dict[str, str]:
    """That of a reader who has activated .venv in the clone."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(clone)}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone beside the measured data, in which the page was followed up to the export."""
    for name in FILES:
        if not (SHARED / "data" / name).exists():
            pytest.skip(f"{SHARED / 'data' / name} is not there; it is no part of the repository")
    desk = tmp_path_factory.mktemp("desk")
    (desk / "shared").symlink_to(SHARED)
    typed([f"git clone --quiet {REPOSITORY} fly64-hpc"], desk, os.environ, 60)
    folder = desk / "fly64-hpc"
    write_files(PAGE, folder)
    follow(PAGE, SECTIONS, folder, environment(folder), 3000, WORDS)
    return folder


def test_a_reader_comes_from_the_file_of_a_beamline_to_files_of_other_programs(clone: Path) -> None:
    for name in ("star.png", "export/star_object-refined.png"):
        assert imread(clone / "outputs" / name).std() > 0.1, name
    assert (clone / "outputs" / "export" / "star_object-refined.tif").stat().st_size > 100_000


def test_what_was_reconstructed_is_the_star(clone: Path) -> None:
    """Its phase is that of the ePIE reconstruction of the same patterns, at half as many pixels, wherever its middle lies."""
    made = read_arrays(clone / "outputs" / "star_object.npz", ("refined", "box"))
    top, bottom, left, right = made["box"]
    assert correlation_with_the_known_star(made["refined"][top:bottom, left:right]) > LEAST_CORRELATION


def test_the_export_opens_in_ptychodus_and_silx_as_the_page_says(clone: Path) -> None:
    if not CLIENTS.exists():
        pytest.skip(f"ptychodus and silx are not in {CLIENTS}: run `make test-clients`, which installs them there")
    follow(PAGE, (IN_CLIENTS,), clone, os.environ, 300, WORDS)
