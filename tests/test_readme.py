"""Every command of the README is run, as it stands there."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from command import REPOSITORY, Workplace

README = (REPOSITORY / "README.md").read_text()
NEEDS_FILES = ("siemens_star.yaml", "ingest", "measured_scan.yaml")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> list[str]:
    return [line for block in blocks("sh") for line in block.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """A folder with the repository's configs, where the README's commands are typed."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "configs").symlink_to(REPOSITORY / "configs")
    return Workplace(folder)


def run(place: Workplace, command: str) -> None:
    python, dash_m, module, *arguments = shlex.split(command)
    assert (python, dash_m) == ("python", "-m")
    answer = place.run(module.removeprefix("fly64_hpc."), *arguments)
    assert answer.code == 0, command + answer.out + answer.err


@pytest.mark.parametrize("command", [line for line in commands() if not any(word in line for word in NEEDS_FILES)])
def test_a_command_that_needs_nothing(place: Workplace, command: str) -> None:
    run(place, command)


def small_files(folder: Path) -> None:
    """An object with its probe, and a scan, of the shapes that the README speaks of."""
    rng = np.random.default_rng(0)
    radius = np.hypot(*np.mgrid[-32:32, -32:32])
    probe = np.exp(-((radius / 8) ** 2) + 0.02j * radius**2).astype(np.complex64)
    np.savez(folder / "object_and_probe.npz", obj=np.exp(1j * rng.normal(0, 0.3, (230, 230))).astype(np.complex64), probe=probe)
    expected = 1e3 * np.abs(np.fft.fft2(probe)) ** 2
    positions = rng.uniform(-60, 60, (160, 2))
    np.savez(
        folder / "scan.npz",
        data=rng.poisson(expected, (1, 160, 64, 64)).astype(np.float32),
        probe=probe[None],
        scan=positions[None],
    )


SHORTER = "--set training.epochs=1 --set training.refiner=null"
SMALLER = {
    "siemens_star.yaml": f"--set scan.positions=64 --dose 1e5 --view baseline {SHORTER}",
    "measured_scan.yaml": f"--set design.patch_size_px=64 --set design.doses_photons=[1e5] {SHORTER}",
}


def test_the_commands_for_your_own_files_on_small_ones(place: Workplace) -> None:
    """The README's words as they stand; the study is made smaller by further flags at their end."""
    import bz2

    small_files(place.folder)
    packed = place.folder / "scan.npz.bz2"
    packed.write_bytes(bz2.compress((place.folder / "scan.npz").read_bytes()))
    (place.folder / "scan.npz").unlink()
    own = [line for line in commands() if any(word in line for word in NEEDS_FILES)]
    assert len(own) == 3
    for command in own:
        run(place, f"{command} {next((flags for name, flags in SMALLER.items() if name in command), '')}")


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
