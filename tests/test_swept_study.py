"""A study with two objects and two learning rates as axes, from its YAML to its report; and as it grows."""

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command import REPOSITORY, Answer, Workplace
from slurm_machines import FakeMachine
from slurm_study import wait_until
from swept_study import NAME, write_swept_study

from fly64_hpc.checkpoint_index import load
from fly64_hpc.errors import StudyDirectoryError

IDS = [
    "dose_10000-baseline-gs1-learning_rate_0.001-object_disc",
    "dose_10000-baseline-gs1-learning_rate_0.001-object_noise",
    "dose_10000-baseline-gs1-learning_rate_0.003-object_disc",
    "dose_10000-baseline-gs1-learning_rate_0.003-object_noise",
    "dose_10000-sparse-gs2-learning_rate_0.001-object_disc",
    "dose_10000-sparse-gs2-learning_rate_0.001-object_noise",
]

ALL_VERBS = f"""
from fly64_hpc import compare, evaluate, report, submit
study = ("--study", "{NAME}.yaml")
here, discs = ("--executor", "debug"), ("--where", "object=disc.npz")
for verb, flags in (submit, here), (submit, ("--phase-f", *here)), (evaluate, discs), (compare, ()), (report, ()):
    assert verb.main((*study, *flags)) == 0, (verb, flags)
"""
"""In one process, which loads torch once."""


def run(place: Workplace, verb: str, *arguments: str) -> Answer:
    return place.run(verb, "--study", f"{NAME}.yaml", *arguments)


def good(answer: Answer) -> Answer:
    assert answer.code == 0, answer.out + answer.err
    return answer


def study_of(place: Workplace) -> Path:
    return place.folder / "outputs" / NAME


def manifest_of(place: Workplace, name: str = "training_manifest.json") -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((study_of(place) / name).read_text())
    return manifest


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """The study trained, solved, compared and reported; one object's networks are evaluated."""
    place = Workplace(tmp_path_factory.mktemp("swept"))
    write_swept_study(place.folder)
    done = subprocess.run([sys.executable, "-c", ALL_VERBS], cwd=place.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return place


@pytest.fixture
def copy(swept: Workplace, tmp_path: Path) -> Workplace:
    """A copy to be changed."""
    shutil.copytree(swept.folder, tmp_path / "copy")
    return Workplace(tmp_path / "copy")


def test_every_cell_is_a_job_that_says_where_it_lies(swept: Workplace) -> None:
    jobs = manifest_of(swept)["jobs"]
    assert [job["job_id"] for job in jobs] == IDS
    assert {job["state"] for job in jobs} == {"succeeded"}
    assert jobs[3]["sweep"] == {"learning_rate": "0.003", "object": "noise"}
    assert jobs[3]["artifact_dir"] == "phase_e_training/dose_10000/baseline/gs1/learning_rate_0.003/object_noise"
    assert "where" not in manifest_of(swept)["filters"]
    spec = json.loads((study_of(swept) / jobs[3]["artifact_dir"] / "job.json").read_text())
    assert spec["config"]["training"]["learning_rate"] == 3e-3
    rows = json.loads(run(swept, "status", "--json").out)["jobs"]
    assert [row["sweep"] for row in rows] == [job["sweep"] for job in jobs]


def test_jobs_that_differ_in_training_alone_share_their_data(swept: Workplace) -> None:
    jobs = {job["job_id"]: job for job in manifest_of(swept)["jobs"]}
    assert len({jobs[one]["train_data_sha256"] for one in IDS[:4]}) == 2
    assert [jobs[one]["train_data_path"] for one in (IDS[0], IDS[2])] == [
        "data/phase_c/dose_10000/object_disc/patched_train.npz"
    ] * 2
    assert jobs[IDS[5]]["train_data_path"] == "data/phase_d/dose_10000/sparse/object_noise/sparse_train.npz"
    made = sorted(file.parent.name for file in (study_of(swept) / "data").rglob("record.json"))
    assert made == ["object_disc", "object_noise"]


def test_all_is_as_recorded_in_both_phases(swept: Workplace) -> None:
    for phase in ((), ("--phase-f",)):
        assert "all as recorded" in good(run(swept, "verify", *phase)).out


def test_solvers_ran_once_on_each_scan_and_are_compared_with_every_network_of_it(swept: Workplace) -> None:
    solved = manifest_of(swept, "phase_f_iterative/iterative_manifest.json")["jobs"]
    scans = [(view, name) for view in ("baseline", "sparse") for name in ("disc", "noise")]
    assert [job["job_id"] for job in solved] == [f"dose_10000-{view}-object_{name}-gradient" for view, name in scans]
    rows = list(csv.DictReader((study_of(swept) / "comparison" / "comparison.csv").read_text().splitlines()))
    assert {row["state"] for row in rows if row["sweep_object"] == "disc"} == {"complete"}
    assert {row["missing"] for row in rows if row["state"] == "missing"} == {
        f"{one} is not evaluated; run evaluate" for one in IDS if "noise" in one
    }
    found: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        if row["method"] == "gradient" and row["half"] == "unseen":
            found.setdefault((row["view"], row["sweep_object"]), set()).add(row["bundle_sha256"])
    assert {key: len(digests) for key, digests in found.items()} == dict.fromkeys(scans, 1)
    assert len(set.union(*found.values())) == 4
    assert {row["sweep_learning_rate"] for row in rows} == {"0.001", "0.003"}


def test_the_report_tells_the_jobs_apart(swept: Workplace) -> None:
    page = (study_of(swept) / "report.html").read_text()
    assert "training.learning_rate: 0.001, 0.003" in page
    assert "every view and every learning_rate and every object, but for 1 exclusion" in page
    assert "baseline, learning_rate 0.003, object noise" in page


def test_a_checkpoint_is_found_by_its_place_on_the_axes(swept: Workplace) -> None:
    index = load(study_of(swept) / "checkpoint_index.json")
    path = index.best(dose=1e4, view="baseline", gridsize=1, learning_rate=3e-3, object="disc")
    assert "learning_rate_0.003/object_disc" in path.as_posix()
    with pytest.raises(StudyDirectoryError, match=r"fits .*object_disc, .*object_noise.* a value on each axis of a sweep"):
        index.best(dose=1e4, view="baseline", gridsize=1, learning_rate="0.003")


def test_a_value_that_is_added_joins_and_all_else_stays(copy: Workplace) -> None:
    file = copy.folder / f"{NAME}.yaml"
    file.write_text(file.read_text().replace("[1e-3, 3e-3]", "[1e-2, 1e-3, 3e-3]"))
    before = {job["job_id"]: job for job in manifest_of(copy)["jobs"]}
    where = ("--where", "learning_rate=1e-2", "--where", "object=disc", "--view", "baseline")
    answer = good(run(copy, "submit", "--executor", "debug", *where))
    assert "1 jobs to submit, 0 succeeded or at work already" in answer.out
    manifest = manifest_of(copy)
    after = {job["job_id"]: job for job in manifest["jobs"]}
    assert after["dose_10000-baseline-gs1-learning_rate_0.01-object_disc"]["state"] == "succeeded"
    assert (len(after), manifest["filters"]["where"]) == (10, ["learning_rate=1e-2", "object=disc"])
    assert {name: after[name]["result"] for name in before} == {name: job["result"] for name, job in before.items()}
    assert "all as recorded" in good(run(copy, "verify")).out


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[1e-3, 3e-3]", "[3e-3]", "sweep.axes.learning_rate.0.001: .* -> absent.* may be added, never removed"),
        ("object:", "thing:", "sweep.axes.object: there -> absent; sweep.axes.thing: absent -> there"),
        ("[1e-3, 3e-3]}", "[1e-3, 3e-3], labels: [slow, 0.003]}", "sweep.axes.learning_rate.0.001: .* -> absent"),
        ("exclude:", "exclude:\n    - {object: noise, view: sparse}", "holds jobs that sweep.exclude leaves out now: .*noise"),
        ("    object: {base.npz: [disc.npz, noise.npz]}\n", "base: {npz: disc.npz}\n", "sweep.axes.object: there -> absent"),
        ("disc.npz, noise.npz", "disc.npz, noise.npz], design.patch_size_px: [32, 32", "sweep.axes.object"),
    ],
)  # fmt: skip
def test_what_is_taken_away_or_renamed_is_refused_with_its_key(copy: Workplace, old: str, new: str, words: str) -> None:
    file = copy.folder / f"{NAME}.yaml"
    text = file.read_text()
    if new.startswith("base:"):
        text = text.replace("sweep:", f"{new}sweep:")
        new = ""
    file.write_text(text.replace(old, new))
    answer = run(copy, "submit", "--print-only", "--executor", "local")
    assert answer.code == 2, answer.out
    assert re.search(words, answer.err), answer.err


def test_where_that_names_nothing_says_what_there_is(swept: Workplace) -> None:
    for verb in ("evaluate", "logs"):
        answer = run(swept, verb, "--where", "object=cat.npz")
        assert (answer.code, "--where object=cat.npz matches no job; the study has disc, noise" in answer.err) == (2, True), verb
    assert "--where object: needs the form AXIS=VALUE" in run(swept, "evaluate", "--where", "object").err


def test_check_looks_at_each_base_once(swept: Workplace) -> None:
    answer = run(swept, "check", "--executor", "local")
    assert [answer.out.count(f"{name}.npz holds what a base needs") for name in ("disc", "noise")] == [1, 1]


def test_on_slurm_the_dataset_job_makes_the_data_of_every_base(fake_slurm: FakeMachine, tmp_path: Path) -> None:
    place = Workplace(tmp_path, fake_slurm.environment())
    write_swept_study(tmp_path)
    env = json.dumps({"FLY64_TRAINER": "idle_trainer", "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'tests'}"})
    good(run(place, "submit", "--partition", "gpu", "--set", f"resources.env={env}"))

    def succeeded() -> bool:
        good(run(place, "collect"))
        return int(manifest_of(place)["counts"]["succeeded"]) == len(IDS)

    wait_until(succeeded, "all jobs", every_s=1)
    assert {job["train_data_path"] for job in manifest_of(place)["jobs"]} == {
        f"data/phase_{phase}/dose_10000/{folder}_train.npz"
        for name in ("disc", "noise")
        for phase, folder in (("c", f"object_{name}/patched"), ("d", f"sparse/object_{name}/sparse"))
    }
