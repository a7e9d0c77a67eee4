"""`verify` finds every byte that is not as it is recorded, names it once, and says what to do."""

import json
from pathlib import Path
from typing import Any

import pytest
from command import Workplace
from reported_study import succeed
from tiny_study import TinyStudy, tiny_study

from fly64_hpc import verify
from fly64_hpc.job_matrix import job_matrix
from fly64_hpc.study_directory import read_study
from fly64_hpc.verification import Claim, Difference, findings
from ptycho_torch.config import EXECUTION_FIELDS, sha256_file, sha256_json, write_json


def edit(file: Path, **changes: Any) -> None:
    write_json(file, json.loads(file.read_text()) | changes)


@pytest.fixture
def study(tmp_path: Path) -> TinyStudy:
    """A job that succeeded, one that was evaluated as well, a checkpoint, a dataset with its record: all as recorded."""
    made = tiny_study(tmp_path / "study")
    recipe = read_study(made.paths).design.dataset_recipe(1e3, None)
    folder = made.paths.phase_c(1e3)
    folder.mkdir(parents=True)
    (folder / "patched_train.npz").write_bytes(b"photons")
    files = {"patched_train.npz": {"sha256": sha256_file(folder / "patched_train.npz")}}
    write_json(folder / "record.json", {"recipe_sha256": recipe.sha256(), "files": files})
    design = read_study(made.paths)
    for job in job_matrix(design.design):  # made with a recipe of naughts
        file = made.paths.job(job).spec
        spec = json.loads(file.read_text())
        spec["config"]["data_recipe_sha256"] = design.design.view_recipe(job.dose_photons, job.view, None).sha256()
        config = {
            **spec["config"],
            "training": {k: v for k, v in spec["config"]["training"].items() if k not in EXECUTION_FIELDS},
        }
        write_json(file, spec | {"config_sha256": sha256_json(config)})
    succeed(made, 0)
    own = made.job()
    config = json.loads(own.spec.read_text())["config_sha256"]
    write_json(own.root / "model.json", {"config_sha256": config, "weights_sha256": sha256_file(own.bundle)})
    tensors = own.own_checkpoints(1) / "step_00000001.safetensors"
    tensors.parent.mkdir(parents=True)
    tensors.write_bytes(b"tensors")
    entry = {"path": made.paths.inside(tensors), "sha256": sha256_file(tensors)}
    write_json(made.paths.checkpoint_index, {"checkpoints": [entry, entry | {"kind": "best"}]})
    return made


def verified(study: TinyStudy, capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[int, str]:
    code = verify.main(["--study-dir", str(study.paths.root), *flags])
    return code, capsys.readouterr().out


def test_what_is_as_recorded_is_exit_0(study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = verified(study, capsys)
    assert (code, out) == (0, "4 files of 0.0 MB verified; all as recorded\n")


def test_every_file_of_which_a_digest_is_recorded_is_checked(study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    """Whichever byte is turned, or file is gone: its path, what was expected and what was found."""
    claims = [one for one in findings(study.paths, read_study(study.paths)) if isinstance(one, Claim)]
    for file in {claim.file for claim in claims}:
        right = file.read_bytes()
        expected = sha256_file(file)
        file.write_bytes(b"X" + right[1:])
        code, out = verified(study, capsys)
        found = sha256_file(file)
        assert code == 1
        assert f"{study.paths.inside(file)}: its sha256 is {found}, " in out
        assert f" has {expected}. " in out
        assert "1 difference" in out
        file.unlink()
        code, out = verified(study, capsys)
        assert (code, f"{study.paths.inside(file)} is missing; " in out) == (1, True)
        file.write_bytes(right)


@pytest.mark.parametrize(
    ("file", "changes", "words"),
    [
        ("study.json", {"study_sha256": "0"}, "study.json: its study_sha256 is 0, what it resolves to has "),
        ("data/phase_c/dose_1000/record.json", {"recipe_sha256": "0"}, "record.json: its recipe_sha256 is 0, study.json has "),
        ("{job}/job.json", {"config_sha256": "0"}, "job.json: its config_sha256 is 0, its own config has "),
        ("{job}/model.json", {"config_sha256": "0"}, "model.json: its config_sha256 is 0, "),
        ("{job}/model.json", {"weights_sha256": "0"}, "model.safetensors: its sha256 is "),
        ("{job}/attempts/001/result.json", {"config_sha256": "0"}, "result.json: its config_sha256 is 0, "),
        ("{job}/attempts/001/result.json", {"state": "gone"}, "result.json: its content is result.json of attempt 1 is damaged"),
        ("checkpoint_index.json", {"checkpoints": 3}, "checkpoint_index.json: its content is it lacks "),
    ],
)
def test_a_record_that_contradicts_another_is_named(
    study: TinyStudy, capsys: pytest.CaptureFixture[str], file: str, changes: dict[str, Any], words: str
) -> None:
    edit(study.paths.root / file.format(job="phase_e_training/dose_1000/baseline/gs1"), **changes)
    code, out = verified(study, capsys)
    assert (code, words in out) == (1, True), out


def test_a_job_whose_configuration_is_not_the_study_s_is_named(study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    stored = json.loads(study.paths.study.read_text())
    stored["resolved"]["training"]["epochs"] = 4
    write_json(study.paths.study, stored)
    code, out = verified(study, capsys, "--json")
    differences = json.loads(out)["differences"]
    assert code == 1
    named = {one["path"] for one in differences if one["what"] == "config_sha256"}
    assert named == {study.paths.inside(study.paths.job(job).spec) for job in study.jobs}


def test_what_no_record_names_is_nobody_s_business(study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    (study.paths.root / "stray.npz").write_bytes(b"?")
    assert verified(study, capsys)[0] == 0


def test_a_difference_of_two_records_about_one_file_is_said_of_each_digest(study: TinyStudy) -> None:
    edit(study.job().root / "model.json", weights_sha256="0")
    found = list(findings(study.paths, read_study(study.paths)))
    assert not [one for one in found if isinstance(one, Difference)], "it takes the file to tell"
    assert len({claim.sha256 for claim in found if isinstance(claim, Claim) and claim.file == study.job().bundle}) == 2


def test_a_directory_that_holds_no_study_is_exit_2(tmp_path: Path) -> None:
    answer = Workplace(tmp_path).run("verify", "--study-dir", tmp_path)
    assert (answer.code, "study.json is missing" in answer.err) == (2, True)
