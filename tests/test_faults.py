"""Twenty-one faults, on a real Slurm (`make test-slurm`) and, where it can play them, on a fake one: every outcome is true."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from command import Workplace
from slurm_machines import Slurm, kill_trainer, slurm_words, trainers
from slurm_study import DOSE, DOSE_IDS, ONE, ONE_ID, SlurmStudy, program, wait_until

from fly64_hpc import checkpoint_index
from ptycho_torch.config import sha256_file

Witness = Callable[..., None]

real_only = pytest.mark.parametrize("slurm", [pytest.param("real", marks=pytest.mark.slurm)], indirect=True)


@pytest.fixture(scope="module")
def uninterrupted(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The sha256 of the bundle of a training that nobody disturbed."""
    study = SlurmStudy(Workplace(tmp_path_factory.mktemp("uninterrupted")), prepared)
    study.good(study.submit(*ONE, "--executor", "debug"))
    return study.bundle()


@pytest.fixture
def study(slurm: Slurm, prepared: Path, tmp_path: Path) -> Iterator[SlurmStudy]:
    """A study to submit, on datasets that are there; whatever was submitted is gone from Slurm afterwards."""
    yield SlurmStudy(Workplace(tmp_path, slurm.environment()), prepared)
    slurm.settle()


@pytest.fixture(scope="module")
def finished(slurm_of_module: Slurm, prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> SlurmStudy:
    """Three jobs that have succeeded on Slurm."""
    study = SlurmStudy(Workplace(tmp_path_factory.mktemp("finished"), slurm_of_module.environment()), prepared)
    study.good(study.submit(*DOSE))
    study.wait_for("succeeded", *DOSE_IDS)
    slurm_of_module.wait_idle()
    return study


@pytest.fixture
def copy(finished: SlurmStudy, tmp_path: Path) -> SlurmStudy:
    """That study, in another place, to be harmed."""
    shutil.copytree(finished.place.folder, tmp_path, dirs_exist_ok=True)
    return SlurmStudy(Workplace(tmp_path, finished.place.environment), finished.datasets)


def submit_halting(study: SlurmStudy, folder: Path, *arguments: str, partition: str = "gpu") -> None:
    """Submit a job that trains for an epoch and a little more; it goes on once the file `gate` is there."""
    slow: dict[str, Any] = {"SLOW_FROM": 8, "SLOW_GATE": folder / "gate"}
    study.good(study.submit(*ONE, *arguments, partition=partition, trainer="slow_trainer", **slow))
    study.wait_for_epochs(1)


def test_fault_01_training_raises(slurm: Slurm, study: SlurmStudy, witness: Witness) -> None:
    study.good(study.submit(*ONE, "--set", "training.device=cuda"))
    job = study.wait_for("failed")
    assert job["error"]["type"] == "DeviceError"
    assert "cuda" in job["error"]["message"]
    assert "DeviceError" in (study.place.study / job["error"]["traceback_path"]).read_text()
    witness(slurm_words(slurm, study), job)
    assert "an exception: not tried again" in study.retry("--preview").out


def test_fault_02_the_trainer_is_killed(
    slurm: Slurm, study: SlurmStudy, uninterrupted: str, tmp_path: Path, witness: Witness
) -> None:
    submit_halting(study, tmp_path)
    kill_trainer(study)
    job = study.wait_for("failed")
    assert job["state_reason"].startswith("killed (signal 9)")
    witness(slurm_words(slurm, study), job)
    assert "killed: not tried again by itself" in study.retry("--preview").out
    study.good(study.submit(*ONE))
    study.wait_for("succeeded")
    assert study.record(2)["first_step"] > 0
    assert study.bundle() == uninterrupted


def test_fault_03_a_node_is_gone(slurm: Slurm, study: SlurmStudy, uninterrupted: str, tmp_path: Path, witness: Witness) -> None:
    submit_halting(study, tmp_path)
    node = study.record(1)["scheduler"]["node"]
    slurm.crash_node(node)
    try:
        down = study.wait_for("node_failed")
        (tmp_path / "gate").touch()
        job = study.wait_for("succeeded", timeout_s=240)
    finally:
        slurm.start_node(node)
    witness(slurm_words(slurm, study), down, job)
    assert (job["scheduler"]["attempts"], job["scheduler"]["node"] != node) == (2, True)
    assert study.record(2)["first_step"] > 0
    assert study.bundle() == uninterrupted


def test_fault_04_an_operator_requeues_the_job(
    slurm: Slurm, study: SlurmStudy, uninterrupted: str, tmp_path: Path, witness: Witness
) -> None:
    submit_halting(study, tmp_path)
    slurm.call("scontrol", "requeue", study.task_id())
    wait_until(lambda: study.record(1)["state"] != "running", "the end of attempt 1")
    (tmp_path / "gate").touch()
    job = study.wait_for("succeeded")
    witness(slurm_words(slurm, study), job)
    first, second = study.record(1), study.record(2)
    assert (first["state"], second["state"], job["scheduler"]["attempts"]) == ("interrupted", "succeeded", 2)
    assert second["first_step"] == first["step"], "no step is trained twice"
    assert study.bundle() == uninterrupted


def test_fault_05_a_higher_partition_preempts(
    slurm: Slurm, study: SlurmStudy, uninterrupted: str, tmp_path: Path, witness: Witness
) -> None:
    submit_halting(study, tmp_path, "--time", "30", partition="spot")
    slurm.preempt(study)
    preempted = study.wait_for("preempted")
    (tmp_path / "gate").touch()
    job = study.wait_for("succeeded")
    witness(slurm_words(slurm, study), preempted, job)
    assert study.record(2)["first_step"] == study.record(1)["step"]
    assert study.bundle() == uninterrupted


@contextmanager
def held_collector(slurm: Slurm, study: SlurmStudy) -> Iterator[None]:
    """Meanwhile the collector job waits, so that the state on which it will act can be seen."""
    (collector,) = study.parts(kind="collect")
    slurm.call("scontrol", "hold", collector["scheduler_job_id"])
    yield
    slurm.call("scontrol", "release", collector["scheduler_job_id"])


TIME_LIMIT = ("--time", "1", "--set", "resources.signal_delay_s=10")


def test_fault_06_the_time_limit_with_progress(
    slurm: Slurm, study: SlurmStudy, uninterrupted: str, tmp_path: Path, witness: Witness
) -> None:
    submit_halting(study, tmp_path, *TIME_LIMIT)
    with held_collector(slurm, study):
        slurm.let_time_run_out(study)
        timed_out = study.wait_for("timed_out")
        (tmp_path / "gate").touch()
    job = study.wait_for("succeeded", timeout_s=300)  # the collector job submits it again
    witness(slurm_words(slurm, study), timed_out, job)
    assert study.record(1)["stopped_by"] == "time limit"
    assert study.submission(2)["reasons"][ONE_ID] == "time limit with progress: again, from its checkpoint"
    assert study.bundle() == uninterrupted


def test_fault_06_the_time_limit_without_progress(slurm: Slurm, study: SlurmStudy, witness: Witness) -> None:
    study.good(study.submit(*ONE, *TIME_LIMIT, trainer="stuck_trainer"))
    slurm.let_time_run_out(study)
    job = study.wait_for("timed_out", timeout_s=240)
    witness(slurm_words(slurm, study), job)
    slurm.wait_idle()  # the collector job has had its say
    assert "time limit without progress" in study.retry().out
    assert [file.name for file in (study.place.study / "submissions").glob("[0-9]*.json")] == ["0001.json"]


def test_fault_07_memory_runs_out(slurm: Slurm, study: SlurmStudy, witness: Witness) -> None:
    study.good(study.submit(*ONE, "--mem", "120M", trainer="hungry_trainer", HUNGRY_MIB=110))
    with held_collector(slurm, study):
        slurm.exhaust_memory(study)
        out = study.wait_for("out_of_memory")
    assert "memory" in out["state_reason"]
    job = study.wait_for("succeeded")  # the collector job has asked for more
    witness(slurm_words(slurm, study), out, job)
    assert study.submission(2)["reasons"][ONE_ID] == "host out of memory: again with 180M instead of 120M"


def test_fault_08_somebody_cancels(slurm: Slurm, study: SlurmStudy, tmp_path: Path, witness: Witness) -> None:
    submit_halting(study, tmp_path)
    slurm.call("scancel", study.task_id())
    job = study.wait_for("cancelled")
    wait_until(lambda: "by 0 (root)" in study.collected()["state_reason"], "who cancelled")
    witness(slurm_words(slurm, study), study.job())
    assert "cancelled: not tried again" in study.retry("--preview").out
    assert job["state_reason"].startswith("attempt 1 was interrupted and saved")


@pytest.mark.parametrize(
    ("slurm", "moment_s"),
    [("fake", 0.0), ("fake", 1.0), *(pytest.param("real", moment_s, marks=pytest.mark.slurm) for moment_s in (0.0, 1.0, 5.0))],
    indirect=["slurm"],
)
def test_fault_09_the_controller_is_killed(slurm: Slurm, study: SlurmStudy, moment_s: float, witness: Witness) -> None:
    study.good(study.submit(*DOSE, trainer="idle_trainer", IDLE_STEP_S=moment_s))  # of three steps
    time.sleep(moment_s)
    slurm.kill_controller()
    try:
        silent = study.collected(DOSE_IDS[0])
        meanwhile = study.submit(*DOSE)
    finally:
        slurm.start_controller()
    assert "may be running" in meanwhile.err or "0 jobs to submit" in meanwhile.out, "nothing is submitted in the dark"

    def all_succeeded() -> bool:
        study.submit(*DOSE)  # as a person would who looks again
        study.collect()
        return all(study.job(job_id)["state"] == "succeeded" for job_id in DOSE_IDS)

    wait_until(all_succeeded, "three succeeded", timeout_s=300, every_s=2)
    witness(slurm_words(slurm, study), silent, study.job(DOSE_IDS[0]))
    published = [study.record(study.job(job_id)["scheduler"]["attempts"], job_id)["state"] for job_id in DOSE_IDS]
    assert published.count("succeeded") == 3


def test_fault_10_the_database_is_down_all_along(slurm: Slurm, study: SlurmStudy, witness: Witness) -> None:
    slurm.stop_database()
    try:
        study.good(study.submit(trainer="idle_trainer"))
        manifest = study.wait_for_manifest({"succeeded": 9})
        answer = study.collect()
        words = slurm_words(slurm, study)
    finally:
        slurm.start_database()
    assert (answer.code, manifest["counts"]["succeeded"]) == (0, 9)
    witness(words, study.job())


TIMED_OUT = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"
LOST_REPLY = f'real "$@" >/dev/null; echo "{TIMED_OUT}" >&2; exit 1'
BANNER = 'echo "Welcome to our cluster. Your previous job 42 is done."; real "$@"; echo "See https://cluster/motd (v12)"'


def with_sbatch(study: SlurmStudy, folder: Path, text: str) -> SlurmStudy:
    """The study, with a script of ours before sbatch; in it, `real` is the true one."""
    path = (study.place.environment or {})["PATH"]
    true_one = shutil.which("sbatch", path=path)
    asks_only = 'case "$1" in --test-only) real "$@"; exit;; esac'
    return study.with_programs(program(folder / "bin", "sbatch", f'real() {{ {true_one} "$@"; }}\n{asks_only}\n{text}'))


def jobs_of(slurm: Slurm, study: SlurmStudy, number: int = 1) -> list[str]:
    """The names of a submission's jobs that Slurm has had, one for each call of sbatch that it took."""
    tags = [part["tag"] for part in study.submission(number)["parts"]]
    lines = slurm.call("squeue", "--name", ",".join(tags), "--states=all", "--noheader", "--array", "--format=%j %F")
    return sorted(line.split()[0] for line in set(lines.splitlines()))


def test_fault_11_sbatch_succeeds_but_says_that_it_timed_out(
    slurm: Slurm, study: SlurmStudy, tmp_path: Path, witness: Witness
) -> None:
    answer = with_sbatch(study, tmp_path, LOST_REPLY).submit(*ONE, trainer="idle_trainer")
    assert answer.code == 0, answer.err
    assert "leaves open whether it took" in answer.out
    job = study.wait_for("succeeded")
    assert jobs_of(slurm, study) == sorted(part["tag"] for part in study.submission()["parts"])
    witness(slurm_words(slurm, study), job)


def test_fault_12_noise_around_the_answer_of_sbatch(slurm: Slurm, study: SlurmStudy, tmp_path: Path, witness: Witness) -> None:
    study.good(with_sbatch(study, tmp_path, BANNER).submit(*ONE, trainer="idle_trainer"))
    job = study.wait_for("succeeded")
    assert job["scheduler"]["job_id"] == study.parts()[0]["scheduler_job_id"] != "42"
    witness(slurm_words(slurm, study), job)


KILLS = {
    "before": "kill -9 $PPID; exit 1",
    "during": '(sleep 1; real "$@" >/dev/null) & kill -9 $PPID; wait; exit 0',
    "after": 'real "$@"; kill -9 $PPID; exit 0',
}


@pytest.mark.parametrize("moment", KILLS)
@pytest.mark.parametrize("nth", [1, 2], ids=["array", "collector"])
def test_fault_13_the_submitter_is_killed(
    slurm: Slurm, study: SlurmStudy, tmp_path: Path, moment: str, nth: int, witness: Witness
) -> None:
    count = f'echo >>{tmp_path}/count; [ "$(wc -l <{tmp_path}/count)" -ne {nth} ] && {{ real "$@"; exit; }}'
    killed = with_sbatch(study, tmp_path, f"{count}\n{KILLS[moment]}").submit(*ONE, trainer="idle_trainer")
    assert killed.code == -9
    answer = study.good(study.submit(*ONE, trainer="idle_trainer"))
    job = study.wait_for("succeeded")
    # Its own collector job, where that was handed over already, may have been quicker to go on with it.
    logs = "".join(log.read_text() for log in (study.place.folder / "logs").rglob("*.err"))
    assert "was left unfinished by process" in answer.out + logs
    assert jobs_of(slurm, study) == sorted(part["tag"] for part in study.submission()["parts"])
    assert job["scheduler"]["attempts"] == 1
    assert not (study.place.study / "submissions" / "0002.json").exists()
    witness(slurm_words(slurm, study), job)


def test_fault_14_collectors_are_killed_and_come_two_at_once(copy: SlurmStudy, witness: Witness) -> None:
    command = [sys.executable, "-m", "fly64_hpc.collect", "--study-dir", str(copy.place.study)]
    environment = copy.place.environment
    for delay_s in (0.3, 0.4, 0.5, 0.6):
        collectors = [
            subprocess.Popen(command, env=environment, cwd=copy.place.folder, stdout=subprocess.DEVNULL) for _ in range(2)
        ]
        time.sleep(delay_s)
        collectors[0].kill()
        assert [collector.wait() for collector in collectors][1] == 0
        assert copy.place.manifest()["counts"]["succeeded"] == 3
        assert json.loads((copy.place.study / "checkpoint_index.json").read_text())["checkpoints"]
    assert copy.collect().code == 0
    assert not list(copy.place.study.glob(".*.tmp"))
    witness("-", copy.job())


def test_fault_15_a_result_is_cut_off(copy: SlurmStudy, witness: Witness) -> None:
    result = copy.folder() / "attempts" / "001" / "result.json"
    result.write_text(result.read_text()[:100])
    assert copy.collect().code == 1
    job = copy.job()
    assert (job["state"], "result.json of attempt 1 is damaged" in job["state_reason"]) == ("unknown", True)
    witness("COMPLETED 0:0", job)


def test_fault_16_a_bundle_is_altered_after_its_success(copy: SlurmStudy, witness: Witness) -> None:
    bundle = copy.folder() / "model.safetensors"
    recorded = sha256_file(bundle)
    bundle.write_bytes(bundle.read_bytes()[:-1] + b"\x00")
    assert copy.collect().code == 1
    job = copy.job()
    assert (job["state"], recorded in job["state_reason"], sha256_file(bundle) in job["state_reason"]) == ("failed", True, True)
    witness("COMPLETED 0:0", job)


@real_only
def test_fault_17_the_disk_is_full(
    slurm: Slurm, study: SlurmStudy, small_disk: Path, uninterrupted: str, witness: Witness
) -> None:
    small = SlurmStudy(Workplace(small_disk, study.place.environment), study.datasets)
    small.good(small.submit(*ONE, trainer="slow_trainer", SLOW_STEP_S=1))
    small.wait_for_epochs(1)
    filler = fill_disk(small_disk)
    job = small.wait_for("failed")
    assert "No space left on device" in job["state_reason"]
    witness(slurm_words(slurm, small), job)
    filler.unlink()
    small.good(small.submit(*ONE))
    small.wait_for("succeeded")
    assert small.record(2)["first_step"] > 0
    assert small.bundle() == uninterrupted


def fill_disk(folder: Path) -> Path:
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            return filler


def test_fault_18_a_node_has_a_broken_python(slurm: Slurm, study: SlurmStudy, tmp_path: Path, witness: Witness) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "torch.py").write_text("raise ImportError('libcudart.so.13: cannot open shared object file')")
    spoil = f'[ "$SLURMD_NODENAME" != g1 ] || export PYTHONPATH={broken}'
    study.good(study.submit(*DOSE, "--set", f"resources.setup={json.dumps([spoil])}"))
    failed = study.wait_for("failed")
    jobs = study.wait_for_manifest({"succeeded": 3})["jobs"]
    assert failed["error"]["type"] == "MissingTorchError"
    assert "libcudart.so.13" in failed["state_reason"]
    assert {job["scheduler"]["node"] for job in jobs if job["state"] == "succeeded"} <= {"g2", "g3"}
    witness(slurm_words(slurm, study), failed, study.job())


def test_fault_19_job_ids_start_again(slurm: Slurm, study: SlurmStudy, witness: Witness) -> None:
    study.good(study.submit(*ONE, trainer="idle_trainer", IDLE_STEP_S=60))
    study.wait_for("running")
    number = study.parts()[0]["scheduler_job_id"]
    slurm.restart_job_ids()
    slurm.occupy(number)
    for pid in trainers(study):
        subprocess.run(["kill", "-9", str(pid)], check=False)
    time.sleep(2)
    job = study.collected()
    assert job["state"] != "running" or "foreign" not in job["state_reason"]
    witness(slurm_words(slurm, study), job)


def test_fault_20_the_study_is_moved(copy: SlurmStudy, witness: Witness) -> None:
    before = copy.job()
    moved = copy.place.folder / "elsewhere"
    copy.place.study.rename(moved)
    assert copy.place.run("collect", "--study-dir", moved).code == 0
    jobs = json.loads((moved / "training_manifest.json").read_text())["jobs"]
    assert [job["state"] for job in jobs if job["job_id"] in DOSE_IDS] == ["succeeded"] * 3
    assert checkpoint_index.load(moved / "checkpoint_index.json").best(dose=1e3, view="dense", gridsize=2).exists()
    witness("COMPLETED 0:0", before)


def test_fault_21_the_dataset_job_fails(slurm: Slurm, study: SlurmStudy, tmp_path: Path, witness: Witness) -> None:
    own = SlurmStudy(study.place)
    broken = ("--set", 'resources.setup=["export PYTHONPATH=/nowhere; ulimit -f 0"]')
    own.good(own.submit(*DOSE, *broken))
    job = own.wait_for("cancelled", *DOSE_IDS)
    assert job["state_reason"].startswith("cancelled, because the dataset job failed")
    witness(slurm_words(slurm, own, DOSE_IDS[0]), job)
    own.good(own.submit(*DOSE, trainer="idle_trainer"))
    own.wait_for("succeeded", *DOSE_IDS)


def test_faults_that_were_not_played_are_none(request: pytest.FixtureRequest) -> None:
    names = [name for name in globals() if name.startswith("test_fault_")]
    assert {int(name.split("_")[2]) for name in names} == set(range(1, 22))
