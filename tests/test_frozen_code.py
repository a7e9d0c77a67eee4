"""A node runs the code that was submitted, whatever became of the checkout meanwhile, or refuses and says so in its record."""

import hashlib
import io
import os
import subprocess
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from command import REPOSITORY
from slurm_study import program, wait_until
from tiny_study import TinyStudy, tiny_study

from fly64_hpc.errors import CodeChangedError
from fly64_hpc.executors.local import start_supervisor
from fly64_hpc.frozen_code import PACKAGES, code_environment, code_problem, freeze, own_archive, require_code, shell_lines
from fly64_hpc.job_record import AttemptRecord
from fly64_hpc.slurm.scripts import render_script
from fly64_hpc.submissions import Part, Submission
from fly64_hpc.train_task import SUBMISSION_VARIABLE, TRAINER_VARIABLE, attempt_job
from ptycho_torch.config import sha256_file

EDITED = "raise SystemExit('the checkout was edited meanwhile')\n"
SRUN = 'until [[ "$1" == */python* ]]; do shift; done; exec "$@"'


@pytest.fixture
def study(tmp_path: Path) -> TinyStudy:
    return tiny_study(tmp_path / "study")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the packages seem to be imported from, as an editor has left them; processes are started there."""
    for package in PACKAGES:
        (tmp_path / "checkout" / package).mkdir(parents=True)
        (tmp_path / "checkout" / package / "__init__.py").write_text(EDITED)
    monkeypatch.chdir(tmp_path / "checkout")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'checkout'}:{REPOSITORY / 'tests'}")
    monkeypatch.setenv(TRAINER_VARIABLE, "idle_trainer")
    return tmp_path / "checkout"


def submitted(study: TinyStudy, code: str | None, executor: Any = "slurm") -> Submission:
    """One job, submitted with some code."""
    made = study.submission(study.ids[0], executor=executor, code=code)
    part = Part(kind="train", tag="t", jobs=made.jobs, resources=made.resources)
    made = made.model_copy(update={"parts": (part,)})
    made.write(study.paths.submission(made.number))
    return made


def record_of(study: TinyStudy) -> AttemptRecord:
    return AttemptRecord.model_validate_json(study.job().result(1).read_bytes())


def run_on_a_node(study: TinyStudy, submission: Submission, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run the script that sbatch would get, as task 0 of its array."""
    script = folder / "script.sh"
    script.write_text(render_script(study.paths, submission, 0))
    slurm = {"SLURM_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "0", "SUBMITIT_EXECUTOR": "slurm"}
    environment = os.environ | slurm | {"PATH": f"{program(folder / 'bin', 'srun', SRUN)}:{os.environ['PATH']}"}
    return subprocess.run(["bash", script], env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_the_archive_is_a_function_of_the_source_alone_and_holds_all_of_it() -> None:
    started = time.process_time()
    archive = own_archive()
    assert time.process_time() - started < 0.2
    (REPOSITORY / "fly64_hpc" / "__init__.py").touch()
    assert own_archive() == archive
    names = zipfile.ZipFile(io.BytesIO(archive)).namelist()
    assert names == sorted(names)
    known = {f"{file.relative_to(REPOSITORY)}" for package in PACKAGES for file in (REPOSITORY / package).rglob("*.*")}
    assert set(names) == {name for name in known if "__pycache__" not in name}
    assert "fly64_hpc/report_page/report.css" in names


def test_it_is_written_once_for_each_content_and_again_where_it_is_damaged(study: TinyStudy) -> None:
    digest = freeze(study.paths)
    archive = study.paths.frozen_code(digest)
    assert sha256_file(archive) == digest == archive.stem
    written = archive.stat()
    assert freeze(study.paths.phase_f) == digest
    assert archive.stat() == written
    archive.write_bytes(b"PK")
    freeze(study.paths)
    assert [sha256_file(file) for file in study.paths.code.iterdir()] == [digest]


def test_a_node_runs_what_was_submitted_although_the_checkout_was_edited(
    study: TinyStudy, checkout: Path, tmp_path: Path
) -> None:
    digest = freeze(study.paths)
    answer = run_on_a_node(study, submitted(study, digest), tmp_path)
    assert answer.returncode == 0, answer.stderr
    record = record_of(study)
    assert record.state == "succeeded"
    assert record.provenance is not None
    assert (record.provenance.code_sha256, record.provenance.code_differs) == (digest, ())
    without = run_on_a_node(study, submitted(study, None), tmp_path)
    assert EDITED[18:-3] in without.stderr, "the test is none where the checkout would not have run otherwise"


def test_the_jobs_of_a_supervisor_do_too(study: TinyStudy, checkout: Path) -> None:
    submission = submitted(study, freeze(study.paths), "local")
    supervisor = start_supervisor(study.paths.root, submission)
    wait_until(lambda: supervisor.poll() is not None, "the supervisor's end")
    assert record_of(study).state == "succeeded", (Path(submission.scratch) / "supervisor.log").read_text()


@pytest.mark.parametrize(
    ("harm", "words"),
    [(Path.unlink, "is missing"), (lambda archive: archive.write_bytes(archive.read_bytes()[:-9] + b"x" * 9), "is damaged")],
)
def test_where_the_archive_is_gone_or_damaged_the_node_refuses_in_its_record(
    study: TinyStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: Any, words: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{REPOSITORY}:{REPOSITORY / 'tests'}")
    monkeypatch.setenv(TRAINER_VARIABLE, "idle_trainer")
    digest = freeze(study.paths)
    submission = submitted(study, digest)
    harm(study.paths.frozen_code(digest))
    assert run_on_a_node(study, submission, tmp_path).returncode == 1
    record = record_of(study)
    assert record.state == "failed"
    assert record.error is not None
    assert record.error.type == "CodeChangedError"
    assert f"{digest}.zip, the code as it was submitted, {words}" in record.error.message
    assert "Submit the study again" in record.error.hint


def other_code(study: TinyStudy) -> str:
    """An archive of other code than this process runs."""
    source = zipfile.ZipFile(io.BytesIO(own_archive()))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in source.namelist():
            archive.writestr(name, source.read(name) + (b"# once" if name.endswith("/trainer.py") else b""))
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    study.paths.code.mkdir()
    study.paths.frozen_code(digest).write_bytes(buffer.getvalue())
    return digest


def test_a_process_that_runs_other_code_is_refused_naming_the_files(study: TinyStudy) -> None:
    digest = other_code(study)
    with pytest.raises(
        CodeChangedError, match=rf"runs the code in {REPOSITORY}, not .*; they differ in ptycho_torch/trainer\.py"
    ):
        require_code(study.paths, digest)
    require_code(study.paths, None)
    assert "the two are the same" in str(code_problem(study.paths, freeze(study.paths))), "it may be edited a moment later"


def test_the_debug_executor_goes_on_and_its_record_says_what_differs(study: TinyStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    submission = submitted(study, other_code(study), "debug")
    monkeypatch.setenv(TRAINER_VARIABLE, "idle_trainer")
    monkeypatch.setenv(SUBMISSION_VARIABLE, str(submission.number))
    monkeypatch.setenv("SUBMITIT_DEBUG_JOB_ID", "1")
    record = attempt_job(str(study.paths.root), study.ids[0])
    assert record is not None
    assert record.state == "succeeded"
    assert record.provenance is not None
    assert record.provenance.code_differs == ("ptycho_torch/trainer.py",)


@pytest.mark.parametrize("folder", ["plain", "with 'quotes' and $HOME"])
def test_the_shell_and_the_environment_put_the_archive_first_and_keep_the_rest(tmp_path: Path, folder: str) -> None:
    content = own_archive()
    archive = tmp_path / folder / f"{hashlib.sha256(content).hexdigest()}.zip"
    archive.parent.mkdir()
    archive.write_bytes(content)
    for others in ({"PYTHONPATH": "/mine"}, {}):
        script = "\n".join(["set -e", *shell_lines(archive), 'printf %s "$PYTHONPATH"'])
        bare = {"PATH": os.environ["PATH"], **others}
        shown = subprocess.run(["bash", "-c", script], env=bare, capture_output=True, text=True, check=True)
        assert shown.stdout == ":".join([str(archive), *others.values()]) == code_environment(archive, bare)["PYTHONPATH"]
