"""`export` finds the job that is meant, or the best, says which object it took, and refuses what it cannot do in a sentence."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command import Workplace
from reported_study import succeed
from small_reconstruction import GEOMETRY, SHAPE, N, small_scan, small_source, write_reconstruction
from tiny_study import TinyStudy, tiny_study

from fly64_hpc import export
from fly64_hpc.best_job import FIGURES, best_job
from fly64_hpc.collector import look
from fly64_hpc.errors import EXIT_JOB_FAILED, RequestError, StudyDirectoryError
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.job_record import DataFile, JobSpec
from ptycho_torch.config import ConfigError, sha256_file, write_json
from ptycho_torch.exporting.formats import FORMATS
from ptycho_torch.exporting.whole_geometry import FLAGS
from ptycho_torch.npz_contract import write_dataset

METRES = ("--energy-ev", "8800", "--distance-m", "1.9", "--detector-pixel-m", "75e-6")


@pytest.fixture
def study(tmp_path: Path) -> TinyStudy:
    """Three jobs that succeeded, the second by the phase the best; nothing was trained."""
    made = tiny_study(tmp_path / "study")
    scan = made.paths.data / "scan.npz"
    write_dataset(scan, small_scan(geometry=None))
    data = DataFile(path="data/scan.npz", sha256=sha256_file(scan))
    for number, error_rad in enumerate((0.3, 0.1, 0.2)):
        spec = JobSpec.model_validate_json(made.job(number).spec.read_bytes())
        spec.model_copy(update={"test_data": data}).write(made.job(number).spec)
        succeed(made, number, error_rad)
        write_reconstruction(made.job(number).root / "reconstruction.npz")
    return made


def exported(study: TinyStudy, capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert export.main(["--study-dir", str(study.paths.root), "--json", *arguments]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def edit_metrics(study: TinyStudy, job: int, **changes: Any) -> None:
    file = study.job(job).result(1)
    record = json.loads(file.read_text())
    record["result"]["metrics"] |= changes
    write_json(file, record)


def test_the_verb_knows_the_formats_and_flags_that_there_are() -> None:
    assert set(export.FORMATS) == set(FORMATS)
    parser_flags = {flag for action in export._parser()._actions for flag in action.option_strings}
    assert set(FLAGS.values()) <= parser_flags


def test_help_is_two_examples_and_imports_nothing_heavy(tmp_path: Path) -> None:
    code = "import sys; from fly64_hpc import export\ntry: export.main(['--help'])\nexcept SystemExit: pass\n"
    code += "assert not {'torch', 'numpy', 'h5py', 'scipy'} & set(sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert [line.split()[2] for line in out.splitlines()[-2:]] == ["fly64_hpc.export"] * 2


def test_a_job_is_exported_to_the_study_and_its_name_says_which_object(
    study: TinyStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = exported(study, capsys, study.ids[0])
    assert (answer["name"], answer["method"], answer["object_shape"]) == (study.ids[0], "refined", list(SHAPE))
    assert [file["format"] for file in answer["files"]] == ["png", "tiff", "npz"]
    for file, suffix in zip(answer["files"], (".png", ".tif", ".npz"), strict=True):
        path = study.paths.root / "export" / f"{study.ids[0]}-refined{suffix}"
        assert (Path(file["path"]), file["size_bytes"]) == (path, path.stat().st_size)


def test_people_are_told_what_was_exported_and_how_large_a_pixel_is(
    study: TinyStudy, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ["--study-dir", str(study.paths.root), study.ids[0], "--format", "npz", "--output-dir", str(tmp_path / "there")]
    export.main([*arguments, "--method", "network"])
    assert capsys.readouterr().out.splitlines()[0] == (
        f"{study.ids[0]}: the network's object, 71 by 90 pixels of unknown size (see --pixel-size-m)"
    )
    assert [file.name for file in (tmp_path / "there").iterdir()] == [f"{study.ids[0]}-network.npz"]
    export.main([*arguments, *METRES])
    pixel_nm = 1e9 * (GEOMETRY.pixel_size_m(N) or 0)
    assert capsys.readouterr().out.startswith(f"{study.ids[0]}: the refined object, 71 by 90 pixels of {pixel_nm:.4g} nm\n")


def test_the_best_job_is_that_of_the_least_phase_error(study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    assert exported(study, capsys, "--best", "--format", "npz")["name"] == study.ids[1]
    edit_metrics(study, 2, refined={"phase_mae_rad": 0.01})
    assert exported(study, capsys, "--best", "phase-error", "--format", "npz")["name"] == study.ids[2]
    network = exported(study, capsys, "--best", "--method", "network", "--format", "npz")
    assert (network["name"], network["method"]) == (study.ids[1], "network")
    edit_metrics(study, 0, held_out_deviance=1.9)
    export.main(["--study-dir", str(study.paths.root), "--best", "held-out-deviance", "--format", "npz"])
    assert capsys.readouterr().out.startswith(f"best by held-out-deviance, 1.9: {study.ids[0]}\n")


def test_the_best_of_some_is_the_best_that_a_filter_leaves(study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    assert exported(study, capsys, "--best", "--view", study.jobs[0].view, "--format", "npz")["name"] == study.ids[0]


def test_without_a_known_object_the_best_explains_held_out_photons_best(study: TinyStudy) -> None:
    for number, deviance in enumerate((2.0, 2.2, 1.8)):
        file = study.job(number).result(1)
        record = json.loads(file.read_text())
        write_json(file, record | {"result": record["result"] | {"metrics": {"held_out_deviance": deviance}}})
    jobs = look(study.paths).jobs
    job, by, value = best_job(jobs, None, None)
    assert (job.job.job_id, by, value) == (study.ids[2], "held-out-deviance", 1.8)
    with pytest.raises(RequestError, match="No job that succeeded has a phase-error"):
        best_job(jobs, "phase-error", None)
    with pytest.raises(RequestError, match="None of 6 jobs has succeeded"):
        best_job(jobs[3:], None, None)


def test_a_solvers_figures_are_of_the_unseen_half(study: TinyStudy) -> None:
    for number in range(3):
        figures = {"scores": {"phase_mae_rad": 0.1 / (number + 1)}, "held_out_deviance": number}
        half = {"scored_against": "truth", "methods": {"solver": figures}}
        edit_metrics(study, number, halves={"test": half})
    jobs = look(study.paths).jobs
    assert [best_job(jobs, by, None)[0].job.job_id for by in FIGURES] == [study.ids[2], study.ids[0]]
    for number in range(3):
        edit_metrics(study, number, halves={"test": half | {"scored_against": "gradient reconstruction"}})
    assert best_job(look(study.paths).jobs, None, None)[1] == "held-out-deviance", "an error against a reference is no error"


def test_all_jobs_go_into_folders_of_their_own(study: TinyStudy, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    dose = study.jobs[0].dose_photons
    left = [job.job_id for job in study.jobs if job.dose_photons == dose]
    assert 1 < len(left) < len(study.ids), "the filter leaves some"
    answer = exported(study, capsys, "--all", "--dose", str(dose), "--format", "npz", "--output-dir", str(tmp_path / "there"))
    files = [tmp_path / "there" / job_id / f"{job_id}-refined.npz" for job_id in left]
    assert [Path(file["path"]) for job in answer["jobs"] for file in job["files"]] == files
    assert [file.exists() for file in files] == [True] * len(left)
    assert answer["not_exported"] == []


def test_a_job_that_cannot_be_exported_keeps_no_other_from_it(study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    (study.job(1).root / "reconstruction.npz").write_bytes(b"cut off")
    arguments = ["--study-dir", str(study.paths.root), "--all", "--format", "npz"]
    assert export.main(arguments) == EXIT_JOB_FAILED
    said = capsys.readouterr().out
    assert re.search(rf"^{study.ids[1]}: not exported: .*reconstruction\.npz.*$", said, re.MULTILINE)
    assert f"{study.ids[4]}: not exported: {study.ids[4]} has no reconstruction: pending" in said
    assert said.endswith(f"2 of {len(study.ids)} jobs exported\n")
    assert sorted(folder.name for folder in (study.paths.root / "export").iterdir()) == sorted([study.ids[0], study.ids[2]])
    assert export.main([*arguments, "--json"]) == EXIT_JOB_FAILED
    answer = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in answer["jobs"]] == [study.ids[0], study.ids[2]]
    assert [one["name"] for one in answer["not_exported"]] == [study.ids[1], *study.ids[3:]]
    assert all(one["reason"] for one in answer["not_exported"])


def test_a_reconstruction_may_be_named_directly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = small_source(tmp_path)
    files = ["--reconstruction", str(source.reconstruction), "--scan", str(source.scan)]
    assert export.main([*files, "--json", "--format", "ptychodus", "--format", "cxi"]) == 0
    answer = json.loads(capsys.readouterr().out)
    names = ["reconstruction-refined.h5", "reconstruction-refined.cxi"]
    assert [Path(file["path"]) for file in answer["files"]] == [tmp_path / "export" / name for name in names]
    assert answer["geometry"]["object_pixel_size_m"] == GEOMETRY.pixel_size_m(N)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--reconstruction", "x.npz"], "--reconstruction and --scan go together"),
        (["--scan", "x.npz"], "--reconstruction and --scan go together"),
        (["gs1", "--all"], "JOB and --all name different things"),
        (["--best", "--all"], "--best and --all name different things"),
        (["gs1", "--best"], "JOB and --best name different things"),
        (["--reconstruction", "x.npz", "--scan", "y.npz", "gs1"], "--reconstruction and JOB name different things"),
        (["gs1", "--energy-ev", "0"], "argument --energy-ev: got '0'; allowed is a number above 0"),
        (["gs1", "--distance-m", "1,9"], "argument --distance-m: got '1,9'; allowed is a number above 0"),
        (["gs1", "--pixel-size-m", "nan"], "argument --pixel-size-m: got 'nan'"),
        (["gs1", "--format", "jpeg"], "invalid choice: 'jpeg'"),
    ],
)
def test_a_request_that_is_wrong_is_refused(arguments: list[str], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        export.main(arguments)


def test_a_job_that_did_not_succeed_has_nothing_to_export(study: TinyStudy) -> None:
    with pytest.raises(RequestError, match=rf"{study.ids[4]} has no reconstruction: pending: .*Choose a job that succeeded"):
        export.main(["--study-dir", str(study.paths.root), study.ids[4]])


def test_metres_that_nobody_knows_are_asked_for(study: TinyStudy) -> None:
    with pytest.raises(ConfigError, match=r"A ptychodus product is in metres.*--pixel-size-m.*Give 3 of these flags"):
        export.main(["--study-dir", str(study.paths.root), study.ids[0], "--format", "ptychodus"])


def test_a_scan_that_has_changed_is_refused(study: TinyStudy) -> None:
    write_dataset(study.paths.data / "scan.npz", small_scan())
    with pytest.raises(StudyDirectoryError, match="has changed since the job was submitted"):
        export.main(["--study-dir", str(study.paths.root), study.ids[0]])


def test_an_error_is_one_sentence_and_exit_code_2(study: TinyStudy, tmp_path: Path) -> None:
    answer = Workplace(tmp_path).run("export", study.ids[0], "--study-dir", study.paths.root, "--format", "cxi")
    assert (answer.code, answer.out, len(answer.err.splitlines())) == (2, "", 1)
    assert not StudyPaths(study.paths.root).exports.exists()
