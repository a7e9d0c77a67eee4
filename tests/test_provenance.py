"""What a submission and an attempt were made with: git where there is one, GPUs where there are some, and never an error."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command import REPOSITORY
from reported_study import facts_of, submit_to_slurm, succeed
from slurm_study import program
from tiny_study import TinyStudy, tiny_study

from fly64_hpc.frozen_code import PACKAGES, own_sha256
from fly64_hpc.job_record import AttemptRecord
from fly64_hpc.provenance import SubmittedCode, attempt_provenance, gpu_facts, submission_provenance
from fly64_hpc.report_page.page import page
from fly64_hpc.train_task import TRAINER_VARIABLE, attempt_job

ASK = """
import dataclasses, json, sys
from pathlib import Path
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.provenance import submission_provenance
from fly64_hpc.study_directory import read_study
paths = StudyPaths(Path(sys.argv[1]))
print(json.dumps(dataclasses.asdict(submission_provenance(paths, read_study(paths)))))
"""


@pytest.fixture
def study(tmp_path: Path) -> TinyStudy:
    return tiny_study(tmp_path / "study")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The packages alone in a folder, which no git knows."""
    for package in PACKAGES:
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / package, tmp_path / "checkout" / package, ignore=skip)
    return tmp_path / "checkout"


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.org")
    command = ["git", "-C", str(folder), *who, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def made_with(study: TinyStudy, checkout: Path, *arguments: str) -> dict[str, Any]:
    """What a submitter from a checkout says of itself."""
    environment = os.environ | {"PYTHONPATH": str(checkout), "GIT_CEILING_DIRECTORIES": str(checkout.parent)}
    command = [sys.executable, "-c", ASK, str(study.paths.root), *arguments]
    said = subprocess.run(command, env=environment, cwd=checkout, capture_output=True, text=True, check=True).stdout
    made: dict[str, Any] = json.loads(said)
    return made


def test_the_commit_and_what_was_changed_since_are_written_down_and_absent_git_is_said(study: TinyStudy, checkout: Path) -> None:
    outside = made_with(study, checkout, "--set", "a=[1, 2]")
    assert {key: outside["code"][key] for key in ("git_sha", "dirty", "diff")} == dict.fromkeys(("git_sha", "dirty", "diff"))
    assert outside["command"][-2:] == ["--set", "a=[1, 2]"]
    assert outside["folder"] == str(checkout)
    git(checkout, "init", "--quiet")
    git(checkout, "add", ".")
    git(checkout, "commit", "--quiet", "--message=first")
    changed = checkout / "fly64_hpc" / "errors.py"
    changed.write_text(changed.read_text() + "# changed, and not committed: µ\n")
    code = made_with(study, checkout)["code"]
    assert (code["git_sha"], code["dirty"]) == (git(checkout, "rev-parse", "HEAD"), True)
    assert "+# changed, and not committed: µ" in (study.paths.root / code["diff"]).read_text()
    git(checkout, "checkout", "--quiet", "--", ".")
    git(checkout, "apply", str(study.paths.root / code["diff"]))
    assert "# changed" in changed.read_text(), "the diff brings the code back"


def test_a_submission_says_which_study_seeds_and_versions(study: TinyStudy) -> None:
    made = submission_provenance(study.paths, study.loaded)
    assert made.study_sha256 == study.loaded.sha256
    assert made.seeds == {"simulation": 42, "grouping": 123, "subsampling": 456, "training": 0}
    import numpy as np

    assert made.environment["numpy"] == np.__version__
    assert made.command == tuple(sys.orig_argv)


def test_an_attempt_says_what_it_ran_and_on_which_data(study: TinyStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRAINER_VARIABLE, "idle_trainer")
    record = attempt_job(str(study.paths.root), study.ids[0])
    assert record is not None
    assert record == AttemptRecord.model_validate_json(study.job().result(1).read_bytes())
    made = record.provenance
    assert made is not None
    assert (made.code_sha256, made.code_differs) == (own_sha256(), ())
    assert made.seeds == {"training": 0, "grouping": 123}
    assert made.train_data_sha256 == json.loads(study.job().spec.read_text())["train_data"]["sha256"]


@pytest.mark.parametrize(
    ("visible", "prints", "found"),
    [
        (None, "echo NVIDIA A100-SXM4-80GB, 550.54.15; echo NVIDIA A100-SXM4-80GB, 550.54.15", ("NVIDIA A100-SXM4-80GB",) * 2),
        ("1", 'echo "one of $3, 550.54.15"', ("one of --id=1",)),
        ("", "echo A GPU that may not be used, 550.54.15", ()),
        ("0", "echo NVIDIA-SMI has failed; exit 9", ()),
        ("0", "echo No devices were found", ()),
    ],
)
def test_the_gpus_are_those_that_the_process_may_use(
    tmp_path: Path, visible: str | None, prints: str, found: tuple[str, ...]
) -> None:
    environment = {"PATH": str(program(tmp_path, "nvidia-smi", prints))}
    names, driver = gpu_facts(environment | ({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}))
    assert names == found
    assert driver == ("550.54.15" if found else None)
    assert gpu_facts({"PATH": "/nowhere"}) == ((), None)


def test_the_report_and_the_manifest_have_it(study: TinyStudy) -> None:
    submit_to_slurm(study, 1, *study.ids[:2])
    diff = study.paths.code / "d.diff"
    study.paths.code.mkdir()
    for file in (diff, study.paths.frozen_code("f" * 64)):
        file.write_bytes(b"")
    made = submission_provenance(study.paths, study.loaded)
    made = dataclasses.replace(made, code=SubmittedCode("0.1", "abc", True, "code/d.diff"), command=("python", "-m", "x y"))
    file = study.paths.submission(1)
    file.write_text(json.dumps(json.loads(file.read_text()) | {"code": "f" * 64, "provenance": dataclasses.asdict(made)}))
    for number in (0, 1):
        succeed(study, number)
        own = attempt_provenance(study.paths, None, {"training": 0}, ("1" * 64, "2" * 64))
        own = dataclasses.replace(own, gpus=("NVIDIA H100",), driver="550.1", code_differs=("a.py",) if number else ())
        record = AttemptRecord.model_validate_json(study.job(number).result(1).read_bytes())
        record.model_copy(update={"provenance": own}).write(study.job(number).result(1))
    facts = facts_of(study)
    assert facts.manifest["jobs"][0]["provenance"]["gpus"] == ["NVIDIA H100"]
    text = page(facts)
    said = ("NVIDIA H100, driver 550.1", "f" * 64, f"{study.ids[1]} ran edited code", "code/d.diff", "python -m &#x27;x y&#x27;")
    assert not [words for words in said if words not in text]
    assert f"{study.ids[0]} ran edited code" not in text
