"""Every command of the README is run, as it stands there."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import REPOSITORY, Workplace
from finished_study import Finished, readme_commands
from own_files import write_object_and_probe, write_scan

README = (REPOSITORY / "README.md").read_text()
NEEDS_FILES = ("siemens_star.yaml", "ingest", "measured_scan.yaml")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def place(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """A folder with the repository's configs, where the README's commands are typed; the first that trains was typed before."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(finished.place.folder, folder, symlinks=True, dirs_exist_ok=True)
    return Workplace(folder)


def run(place: Workplace, command: str) -> None:
    python, dash_m, module, *arguments = shlex.split(command)
    assert (python, dash_m) == ("python", "-m")
    answer = place.run(module.removeprefix("fly64_hpc."), *arguments)
    assert answer.code == 0, command + answer.out + answer.err


@pytest.mark.parametrize("command", [line for line in readme_commands() if not any(word in line for word in NEEDS_FILES)])
def test_a_command_that_needs_nothing(place: Workplace, command: str) -> None:
    run(place, command)


SHORTER = "--set training.epochs=1 --set training.refiner=null"
SMALLER = {
    "siemens_star.yaml": f"--set scan.positions=64 --dose 1e5 --view baseline {SHORTER}",
    "measured_scan.yaml": f"--set design.patch_size_px=64 --set design.doses_photons=[1e5] {SHORTER}",
}


def test_the_commands_for_your_own_files_on_small_ones(place: Workplace) -> None:
    """The README's words as they stand; the study is made smaller by further flags at their end."""
    write_object_and_probe(place.folder)
    write_scan(place.folder)
    own = [line for line in readme_commands() if any(word in line for word in NEEDS_FILES)]
    assert len(own) == 3
    for command in own:
        run(place, f"{command} {next((flags for name, flags in SMALLER.items() if name in command), '')}")


def test_what_make_demo_types_trains(place: Workplace) -> None:
    make = ["make", "--no-print-directory", "--dry-run", "demo"]
    lines = subprocess.run(make, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.splitlines()
    command = lines[-1].replace(".venv/bin/python", "python")
    run(place, f"{command} --set scan.positions=64 --dose 1e5 --view baseline {SHORTER}")


def test_the_python_lines(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place.folder)
    names: dict[str, Path] = {}
    for block in blocks("python"):
        exec(block, names)
    assert names["path"].exists()


def files_named() -> Iterator[str]:
    yield from re.findall(r"\]\(([^)]+)\)", README)
    yield from re.findall(r"configs/[\w.]+\.yaml", README)


@pytest.mark.parametrize("name", sorted(set(files_named())))
def test_a_file_that_is_named_is_there(name: str) -> None:
    assert (REPOSITORY / name.partition("#")[0]).exists()


def test_the_make_targets_that_are_named_are_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z-]+)", README)) <= targets
