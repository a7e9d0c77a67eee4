"""The guides are true: what they have the reader type and write is tried, and what they say is then seen is seen."""

import argparse
import importlib
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import REPOSITORY
from guides import BY_HAND, PAGES, blocks, files_of, filled_in, fly64_commands, follow, typed, unseen, write_files
from own_files import write_object_and_probe, write_scan
from slurm_machines import Slurm

from fly64_hpc import study_loading
from fly64_hpc.__main__ import VERBS
from fly64_hpc.command_line import VerbParser, loaded_study
from fly64_hpc.job_matrix import job_matrix
from fly64_hpc.study_loading import load_study

TUTORIAL, HOW_TO, OWN_SCAN = (REPOSITORY / "docs" / f"{name}.md" for name in ("tutorial", "how-to", "your-own-scan"))
GUIDES = (TUTORIAL, HOW_TO, OWN_SCAN)
WORDS = {"URL": str(REPOSITORY), "PARTITION": "gpu", "ACCOUNT": "my-project", "PHOTONS": "1e5"}
"""What this reader writes for the words in capitals."""
CLONE = "fly64-hpc"
COMMANDS = [(page, words) for page in PAGES for words in fly64_commands(page)]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the repository's studies and profiles, and with the files that the guides have the reader write."""
    folder = tmp_path_factory.mktemp("desk")
    for name in ("configs", "batch/profiles"):
        shutil.copytree(REPOSITORY / name, folder / name)
    for page in GUIDES:
        write_files(page, folder)
    return folder


class ParsedError(Exception):
    """Raised where a verb's parser has accepted its command line, which it holds."""


@pytest.fixture
def at_desk(desk: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The desk as working folder; a verb ends as soon as its own parser has accepted its flags."""

    def parse_args(parser: VerbParser, argv: Any = None, namespace: Any = None) -> Any:
        raise ParsedError(argparse.ArgumentParser.parse_args(parser, argv, namespace))

    monkeypatch.chdir(desk)
    monkeypatch.setattr(VerbParser, "parse_args", parse_args)
    monkeypatch.setattr(study_loading, "PROFILE_FOLDER", desk / "batch" / "profiles")
    return desk


@pytest.mark.parametrize(
    ("page", "words"), COMMANDS, ids=[f"{page.name}-{number}-{words[2]}" for number, (page, words) in enumerate(COMMANDS)]
)
def test_a_command_is_one_that_its_verb_accepts(at_desk: Path, page: Path, words: list[str]) -> None:
    python, dash_m, module, *arguments = (filled_in(word, WORDS) for word in words)
    verb = module.removeprefix("fly64_hpc.")
    assert (python, dash_m, verb in VERBS) == ("python", "-m", True)
    with pytest.raises(ParsedError) as accepted:
        importlib.import_module(module).main(arguments)
    (parsed,) = accepted.value.args
    study = getattr(parsed, "study", None)
    if study is not None and getattr(parsed, "study_dir", None) is None:
        assert study.exists() or page not in GUIDES, f"{study} is neither shipped nor written by the reader"
        if study.exists():
            assert job_matrix(loaded_study(parsed, with_base=False).design)


@pytest.mark.parametrize("name", [name for page in GUIDES for name in files_of(page) if name.endswith(".yaml")])
def test_a_yaml_file_is_one_that_the_loader_takes(at_desk: Path, name: str) -> None:
    file = Path(name)
    if file.parent == Path("configs"):
        design = load_study(file, with_base=False).design
        assert (design.study, len(job_matrix(design)) > 0) == (file.stem, True)
    else:
        assert file.parent == Path("batch/profiles")
        origins = load_study(Path("configs/fly64_dose_overlap.yaml"), profile=file.stem).origins
        assert any(file.name in origin for origin in origins.values())


def test_what_the_reader_does_by_hand_is_little_and_known() -> None:
    by_hand = [
        line.split(BY_HAND)[0].strip() for page in GUIDES for block in blocks(page) for line in block.commands if BY_HAND in line
    ]
    curves = {
        "python -m pip install --quiet --editable .[tensorboard]",
        "tensorboard --logdir outputs/my_sweep/phase_e_training",
    }
    assert set(by_hand) <= {"make demo", "xdg-open outputs/fly64_smoke/report.html"} | curves
    assert '["make", "demo"]' in (REPOSITORY / "tests" / "test_demo.py").read_text(), "tried there, as it takes minutes"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_link_leads_to_a_page_and_a_heading_that_are_there(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text()):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE) if anchor else []
        assert not anchor or anchor in {
            re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings
        }


def test_an_excerpt_that_was_not_shown_is_found_out() -> None:
    shown = "dose_1000  patterns of 1001 photons, in 12.5 s\n9 jobs to submit, 0 at work\n"
    assert not list(unseen("dose_10 patterns of …, in 7.5e+03 s\n9 jobs …\n", shown))
    for line in ("9 jobs to submit, none at work", "8 jobs to submit, 0 at work"):
        assert list(unseen(f"{line}\n", shown)) == [line]


def test_a_shell_stops_at_a_command_that_fails(tmp_path: Path) -> None:
    assert typed(["word=three; echo one", "echo two $word"], tmp_path, os.environ, 60) == ["one\n", "two three\n"]
    with pytest.raises(AssertionError, match=r"(?s)ls nowhere\n.*nowhere"):
        typed(["echo one", "ls nowhere", "touch after"], tmp_path, os.environ, 60)
    assert not (tmp_path / "after").exists()


def test_a_command_that_is_to_fail_must_fail_so(tmp_path: Path) -> None:
    assert typed(["grep z /dev/null  # exit code 1", "echo on"], tmp_path, os.environ, 60) == ["", "on\n"]
    for command in ("grep z nowhere", "true"):  # 2 and 0
        with pytest.raises(AssertionError, match=command):
            typed([f"{command}  # exit code 1"], tmp_path, os.environ, 60)


def newcomer() -> dict[str, str]:
    """The environment of somebody who has nothing of this program yet."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}


@pytest.mark.guides
def test_a_newcomer_comes_from_the_clone_to_the_report_on_this_machine(tmp_path: Path) -> None:
    follow(TUTORIAL, ("Install", "On this machine"), tmp_path, newcomer(), 3000, WORDS)
    assert (tmp_path / CLONE / "outputs" / "fly64_smoke" / "report.html").stat().st_size > 100_000


@pytest.mark.slurm
@pytest.mark.parametrize("slurm", ["real"], indirect=True)
def test_a_newcomer_comes_from_the_clone_to_the_report_on_a_cluster(slurm: Slurm, tmp_path: Path) -> None:
    try:
        follow(TUTORIAL, ("Install", "On a cluster"), tmp_path, newcomer() | slurm.environment(), 3000, WORDS)
    finally:
        slurm.settle()
    assert (tmp_path / CLONE / "outputs" / "fly64_smoke" / "report.html").stat().st_size > 100_000


SHORTER = "--set training.epochs=1 --set training.refiner=null"
SMALLER = {
    "siemens_star.yaml": f"--set scan.positions=64 --dose 1e5 --view baseline {SHORTER}",
    "measured_scan.yaml": SHORTER,
    "my_scan.yaml": SHORTER,
    "my_axes.yaml": "--set scan.positions=96 --set training.epochs=1",
    "my_sweep.yaml": f"--set scan.positions=96 --set design.doses_photons=[3e2] {SHORTER}",
    "outputs/elsewhere": "--dose 1e3",
}


def made_smaller(line: str) -> str:
    """A command that trains, with further flags at its end that make the study smaller."""
    flags = next((flags for name, flags in SMALLER.items() if name in line), "")
    return f"{line} {flags}" if "fly64_hpc.submit" in line else line


@pytest.mark.guides
def test_the_how_tos_are_followed_to_their_end(tmp_path: Path) -> None:
    environment = newcomer() | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    typed([f"git clone {REPOSITORY} {CLONE}"], tmp_path, environment, 60)
    folder = tmp_path / CLONE
    write_files(HOW_TO, folder)
    write_brought_files(folder)
    lines = [line for block in blocks(HOW_TO) if block.language == "sh" for line in block.commands if BY_HAND not in line]
    lines = [made_smaller(filled_in(line, WORDS)) for line in lines]
    typed(lines, folder, environment | {"PYTHONPATH": str(folder)}, 3000)


def write_brought_files(folder: Path) -> None:
    """What the reader of the how-tos has at hand."""
    write_object_and_probe(folder)
    write_scan(folder)
    rng = np.random.default_rng(2)
    with np.load(folder / "object_and_probe.npz") as arrays:
        probe, object_yx = arrays["probe"], arrays["obj"]
    places = rng.integers(-60, 60, (120, 2))
    patches = np.stack([object_yx[y - 32 : y + 32, x - 32 : x + 32] for y, x in places + 115])
    waves = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(probe * patches, axes=(1, 2))), axes=(1, 2))
    np.save(folder / "counts.npy", rng.poisson(np.abs(waves) ** 2))
    np.save(folder / "probe.npy", probe)
    np.save(folder / "positions.npy", places.astype(float))
