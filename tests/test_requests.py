"""Requests that are wrong: one clear line, exit 2, and nothing is written."""

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import SMOKE, Workplace

from fly64_hpc.command_line import run_verb


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


def refused(place: Workplace, *arguments: str | Path, study: Path = SMOKE) -> str:
    """The one line with which a submit is refused, having written nothing."""
    before = place.files()
    answer = place.run("submit", "--study", study, "--executor", "local", *arguments)
    assert answer.code == 2, answer.out
    assert place.files() == before
    assert answer.err.count("\n") == 1
    assert "Traceback" not in answer.err
    return answer.err


def study_with(place: Workplace, old: str, new: str) -> Path:
    path = place.folder / "study.yaml"
    path.write_text(SMOKE.read_text().replace(old, new))
    return path


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("epochs: 3", "epocs: 3", "study.yaml:16: training has no key 'epocs'"),
        ("1e3,", "-1e3,", "study.yaml:8: design.doses_photons.0: Input should be greater than 0; got -1000.0"),
        ("neighbor_count: 7", "neighbor_count: 3", "OVERSAMPLING-001"),
        ("  patch_size_px", "\tpatch_size_px", "study.yaml:9: a tab is used for indentation"),
        ("design:\n", "design: &d\n  split: *d\n", "study.yaml:7: an alias points back into its own section"),
        ("study: fly64_smoke", "study: fly64/smoke", "study.yaml:3: study: names a folder"),
    ],
)
def test_a_wrong_yaml(place: Workplace, old: str, new: str, words: str) -> None:
    assert words in refused(place, study=study_with(place, old, new))


def test_an_unknown_view_and_a_filter_that_matches_nothing(place: Workplace) -> None:
    assert "--view thick matches no job; the study has baseline, dense, sparse" in refused(place, "--view", "thick")
    assert "The filters match no job" in refused(place, "--view", "baseline", "--gridsize", "2")


def base(place: Workplace, **arrays: Any) -> Path:
    path = place.folder / "base.npz"
    np.savez(path, **arrays)
    return path


GOOD: dict[str, Any] = {"objectGuess": np.ones((200, 200), np.complex64), "probeGuess": np.ones((32, 32), np.complex64)}


def test_a_missing_npz(place: Workplace) -> None:
    assert "gone.npz cannot be read" in refused(place, "--set", "base={npz: gone.npz}")


def test_a_truncated_npz(place: Workplace) -> None:
    path = base(place, **GOOD)
    path.write_bytes(path.read_bytes()[:1000])
    assert "base.npz" in refused(place, "--set", f"base={{npz: {path}}}")


def test_a_pickled_npz(place: Workplace) -> None:
    path = base(place, **GOOD | {"objectGuess": np.array([{"a": 1}], dtype=object)})
    assert "object" in refused(place, "--set", f"base={{npz: {path}}}")


def test_intensity_where_amplitude_is_due(place: Workplace) -> None:
    folder = place.folder / "data" / "dose_1000"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for half in ("train", "test"):
        coordinates = rng.uniform(20, 180, 40)
        np.savez(folder / f"patched_{half}.npz", diffraction=rng.poisson(3, (40, 32, 32)).astype(np.float32), xcoords=coordinates,
                 ycoords=coordinates, **GOOD)  # fmt: skip
    assert "intensity" in refused(place, "--dose", "1000", "--view", "baseline", "--phase-c-root", place.folder / "data")


def test_an_output_root_that_cannot_be_written(place: Workplace) -> None:
    (place.folder / "file").write_text("")
    assert "cannot be written" in refused(place, "--output-root", place.folder / "file")
    assert "cannot be written" in refused(place, "--output-root", "/proc/fly64")


def test_slurm_where_there_is_none(place: Workplace) -> None:
    nowhere = Workplace(place.folder, {"PATH": str(place.folder)})
    for executor in ("slurm", "auto"):
        answer = nowhere.submit("--executor", executor)
        assert answer.code == 2
        assert "sbatch" in answer.err
        assert "--executor local" in answer.err


def test_a_machine_without_torch(place: Workplace) -> None:
    blocked = place.folder / "blocked"
    blocked.mkdir()
    (blocked / "torch.py").write_text("raise ImportError('no torch here')")
    without = Workplace(place.folder, {"PYTHONPATH": str(blocked), "PYTHONDONTWRITEBYTECODE": "1"})
    error = refused(without, "--dose", "1000")
    assert "PyTorch cannot be imported: no torch here" in error
    assert "pip install torch" in error


def test_a_wrong_flag_and_a_study_directory_that_is_none(place: Workplace) -> None:
    assert place.run("submit", "--executor", "pbs").code == 2
    answer = place.run("collect", "--study-dir", place.folder)
    assert answer.code == 2
    assert "study.json is missing" in answer.err


def test_print_only_touches_nothing_and_needs_no_slurm(place: Workplace) -> None:
    nowhere = Workplace(place.folder, {"PATH": str(place.folder)})
    answer = nowhere.submit("--print-only", "--partition", "gpu", "--time", "1:30:00")
    assert answer.code == 0
    assert nowhere.files() == set()
    assert "#SBATCH --partition=gpu" in answer.out
    assert "#SBATCH --time=90" in answer.out
    assert "#SBATCH --array=0-8%9" in answer.out
    assert "resources.partition" in answer.out
    assert "<- --partition" in answer.out


@pytest.mark.parametrize(
    "verb", ["submit", "check", "prepare", "collect", "status", "retry", "logs", "cancel", "verify", "reconstruct", "ingest"]
)
def test_help_ends_with_two_examples(place: Workplace, verb: str) -> None:
    answer = place.run(verb, "--help")
    assert answer.code == 0
    assert answer.out.rstrip().splitlines()[-2:] == [
        line for line in answer.out.splitlines() if line.startswith(f"  python -m fly64_hpc.{verb} ")
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ("submit", "--help"),
        ("submit", "--study", str(SMOKE), "--print-only"),
        *((verb, "--help") for verb in ("check", "status", "retry", "logs", "cancel", "verify", "reconstruct")),
    ],
)
def test_quick_answers_import_no_torch_and_no_numpy(place: Workplace, arguments: tuple[str, ...]) -> None:
    import subprocess
    import sys

    code = "import sys, runpy; sys.argv = sys.argv[1:]; sys.argv[0] = 'x'\ntry:\n    runpy.run_module('fly64_hpc." + arguments[0]
    code += "', run_name='__main__')\nexcept SystemExit: pass\nassert not {'torch', 'scipy', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code, "x", *arguments[1:]], check=True, capture_output=True, cwd=place.folder)


def test_what_a_verb_imports_is_nothing_for_its_collector_to_look_through() -> None:
    import subprocess
    import sys

    code = "import gc\nfrom fly64_hpc import submit\nmade = len(gc.get_objects())\n"
    code += "submit.run_verb(lambda _: 0 if gc.get_freeze_count() >= made > 10_000 and gc.isenabled() else 3)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("number", "advice"), [(errno.ENOSPC, "Make room and run it again."), (errno.EACCES, "Check the path and its permissions.")]
)
def test_a_file_that_cannot_be_written_is_one_sentence(capsys: pytest.CaptureFixture[str], number: int, advice: str) -> None:
    def verb(_: Sequence[str]) -> int:
        raise OSError(number, "no luck", "x.json")

    with pytest.raises(SystemExit, match="2"):
        run_verb(verb, [])
    assert capsys.readouterr().err == f"error: x.json: no luck. {advice}\n"
