"""`check`, and `submit` behind it, as a new user meets them: each mistake one clear sentence and the next step."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from command import SMOKE, Workplace
from slurm_machines import FakeMachine
from tiny_study import TinyStudy, tiny_study

from fly64_hpc import check
from fly64_hpc.errors import RequestError, StudyDirectoryError, StudyError
from fly64_hpc.job_record import JobSpec, read_record
from fly64_hpc.preflight import writing
from fly64_hpc.preflight.finding import Severity
from fly64_hpc.preflight.request import PreflightRequest
from fly64_hpc.slurm.calls import SlurmCalls
from fly64_hpc.study_directory import read_study
from fly64_hpc.study_loading import load_study
from fly64_hpc.train_task import TRAINER_VARIABLE, attempt_job
from ptycho_torch.config import write_json

EXPIRED = "sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeMachine]:
    fake = FakeMachine(tmp_path_factory.mktemp("slurm"))
    fake.up()
    yield fake
    fake.down()


@pytest.fixture
def slurm(machine: FakeMachine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeMachine:
    """The Slurm of this process, as it was brought up."""
    for name, value in machine.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    machine.address, machine.refuse = "127.0.0.1", ""
    machine.forget_calls()
    return machine


def checked(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    """The exit code and the answer of a check of the smoke study."""
    code = check.main(["--study", str(SMOKE), "--json", *arguments])
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, answer


def errors(answer: dict[str, Any]) -> list[str]:
    return [f"{row['sentence']} {row['advice']}" for row in answer["findings"] if row["severity"] == "error"]


def test_a_study_that_fits_has_no_error_costs_five_calls_and_leaves_no_trace(
    slurm: FakeMachine, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, answer = checked(capsys, "--partition", "gpu")
    assert (code, answer["counts"]["error"], answer["counts"]["unknown"]) == (0, 0, 0)
    said = [row["sentence"] for row in answer["findings"]]
    assert "Slurm would start a training now on g1." in said
    assert "Every node is this machine, so it sees what lies here." in said
    assert [call[0] for call in slurm.calls()] == ["sinfo", "scontrol", "scontrol", "sbatch", "sbatch"]
    assert (slurm.job_ids(), list(tmp_path.iterdir())) == ([], [])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--partition", "moon"), "There is no partition moon; this Slurm has cpu, gpu, spot. Name one with --partition."),
        (
            ("--partition", "cpu"),
            "No node of partition cpu has a GPU, and a job asks for 1. Name a partition with GPUs by --part",
        ),
        (("--partition", "gpu", "--mem", "99G"), "the largest node of partition gpu has 8000. Lower --mem."),
        (("--partition", "gpu", "--phase-c-root", "gone", "--phase-d-root", "gone"), "no such file. Check the path"),
    ],
)
def test_a_wrong_request_is_named(
    slurm: FakeMachine, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    code, answer = checked(capsys, *arguments)
    assert code == 2
    (error,) = errors(answer)
    assert words in error


def test_an_account_that_has_expired(slurm: FakeMachine, capsys: pytest.CaptureFixture[str]) -> None:
    slurm.refuse = EXPIRED
    code, answer = checked(capsys, "--partition", "gpu")
    assert code == 2
    assert f"Slurm refuses a training: {EXPIRED}. Name another --account, or ask the centre" in errors(answer)[0]


def test_a_study_on_a_disk_of_this_machine_while_the_nodes_are_others(
    slurm: FakeMachine, capsys: pytest.CaptureFixture[str]
) -> None:
    slurm.address = "node.example.org"
    code, answer = checked(capsys, "--partition", "gpu", "--output-root", "/dev/shm/fly64-outputs")
    assert code == 2
    assert any("The study directory, /dev/shm/fly64-outputs/fly64_smoke, lies on " in error for error in errors(answer))
    assert all("alone: the nodes cannot see it. " in error for error in errors(answer))


def test_a_slurm_that_does_not_answer_is_unknown_and_never_ok(slurm: FakeMachine, capsys: pytest.CaptureFixture[str]) -> None:
    slurm.kill_controller()
    try:
        _, answer = checked(capsys, "--partition", "gpu")
    finally:
        slurm.start_controller()
    unknown = [row["sentence"] for row in answer["findings"] if row["severity"] == "unknown"]
    assert len(unknown) == 1
    assert unknown[0].startswith("Slurm did not tell what it has: sinfo: slurm_load_partitions: Unable to contact")
    assert errors(answer) == [], "whether its nodes are this machine is not known either, and no reason to refuse"
    assert [call[0] for call in slurm.calls()] == ["sinfo"]


def test_submit_stops_at_an_error_in_one_line_and_has_written_nothing(slurm: FakeMachine, tmp_path: Path) -> None:
    place = Workplace(tmp_path)
    answer = place.submit("--partition", "moon")
    assert (answer.code, answer.err.count("\n"), place.files()) == (2, 1, set())
    assert answer.err == "error: There is no partition moon; this Slurm has cpu, gpu, spot. Name one with --partition.\n"
    assert slurm.job_ids() == []


# What needs no Slurm


def test_here_only_what_matters_here_is_looked_at(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    code, answer = checked(capsys, "--executor", "local", "--dose", "1000")
    assert code == 0
    assert {row["subject"] for row in answer["findings"]} == {
        "study",
        "datasets",
        "study directory",
        "disk",
        "python",
        "forecast",
    }


def test_an_output_root_that_is_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, answer = checked(capsys, "--executor", "local", "--output-root", str(tmp_path / "file"))
    assert code == 2
    assert f"{tmp_path}/file/fly64_smoke cannot be written: Not a directory" in errors(answer)[0]


def test_a_wrong_path_of_the_study_and_of_its_base_file() -> None:
    with pytest.raises(StudyError, match=r"nowhere\.yaml"):
        check.main(["--study", "nowhere.yaml", "--executor", "local"])
    with pytest.raises(StudyError, match=r"gone\.npz cannot be read: No such file.* Name the file with --set base\.npz=FILE"):
        check.main(["--study", str(SMOKE), "--executor", "local", "--set", "base={npz: gone.npz}"])


def test_without_slurm_the_way_to_run_here_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RequestError, match=r"no sbatch on the PATH.* Run here with --executor local"):
        check.main(["--study", str(SMOKE)])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"schema_version": 2},
            "schema_version 2: it was made by a newer version of this program; this one reads 1. Use the version",
        ),
        ({"schema_version": 0}, "schema_version 0: it was made by an older version"),
        ({"schema_version": None}, "has no schema_version; this version of the program reads 1. It was made by a program before"),
        ({"resolved": {"study": "x", "flavour": 1}}, "that this version can read: .*It may be of a newer version"),
    ],
)
def test_a_study_directory_of_another_version_of_the_program(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    study = tiny_study(tmp_path / "fly64_smoke")
    stored = json.loads(study.paths.study.read_text()) | changes
    write_json(study.paths.study, {key: value for key, value in stored.items() if value is not None})
    with pytest.raises(StudyDirectoryError, match=words):
        read_study(study.paths)


def request_in(folder: Path) -> PreflightRequest:
    study = tiny_study(folder / "fly64_smoke")
    return PreflightRequest(study.paths, load_study(SMOKE), study.jobs, {}, "local", SlurmCalls())


@pytest.mark.skipif(os.getuid() != 0, reason="only root may mount")
def test_a_disk_that_is_full(tmp_path: Path) -> None:
    request, disk = request_in(tmp_path), tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "fly64-full", str(disk)], check=False).returncode != 0:
        pytest.skip("nothing can be mounted here")
    try:
        with pytest.raises(OSError, match="No space left"):
            (disk / "filler").write_bytes(bytes(1 << 20))
        full = PreflightRequest(type(request.paths)(disk / "study"), request.loaded, request.jobs, {}, "local", SlurmCalls())
        (finding,) = writing.examine(full)
        assert (finding.severity, sorted(file.name for file in disk.iterdir())) == (Severity.ERROR, ["filler"])
        assert f"{disk / 'study'} cannot be written: No space left on device" in finding.sentence
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def failing_trainer(error: OSError) -> SimpleNamespace:
    def train_job(*_: object, **__: object) -> None:
        raise error

    return SimpleNamespace(train_job=train_job, TrainingFiles=SimpleNamespace, Interrupted=KeyError)


def test_a_node_whose_quota_is_used_up_says_which_file_and_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study: TinyStudy = tiny_study(tmp_path / "fly64_smoke")
    error = OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), "/project/x.npz")
    monkeypatch.setitem(sys.modules, "failing_trainer", failing_trainer(error))
    monkeypatch.setenv(TRAINER_VARIABLE, "failing_trainer")
    assert read_record(study.job(0).spec, JobSpec).config.job_id == study.ids[0]
    record = attempt_job(str(study.paths.root), study.ids[0])
    assert record is not None
    assert record.error is not None
    assert record.error.message == "/project/x.npz cannot be written: Disk quota exceeded."
    assert record.error.hint == "Make room, or ask for more quota; then submit again."
