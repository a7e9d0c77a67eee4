"""The demo study learns: every network beats an untrained one and a flat object, and none is flat. `make test-long`."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from command import REPOSITORY, Workplace

from fly64_hpc.frozen_code import own_sha256

DEMO = REPOSITORY / "configs" / "fly64_demo.yaml"

pytestmark = pytest.mark.long


def succeeded(folder: Path) -> dict[str, Any]:
    """Job id to job, of the demo study under a folder."""
    manifest = json.loads((folder / "outputs" / "fly64_demo" / "training_manifest.json").read_text())
    return {job["job_id"]: job for job in manifest["jobs"] if job["state"] == "succeeded"}


def make_demo() -> dict[str, Any]:
    """What `make demo` leaves where it is made for people: training it once more elsewhere would only take as long again."""
    answer = subprocess.run(["make", "demo"], cwd=REPOSITORY, capture_output=True, text=True, timeout=1800, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    jobs = succeeded(REPOSITORY)
    trained_by = {job["provenance"]["code_sha256"] for job in jobs.values()}
    assert trained_by == {own_sha256()}, "outputs/fly64_demo was trained by other code than this: move it away"
    return jobs


def beats_untrained_and_flat(metrics: dict[str, Any]) -> bool:
    return (
        bool(metrics["held_out_deviance"] < min(metrics["untrained_deviance"], metrics["flat_deviance"]))
        and not metrics["collapsed"]
    )


def test_all_nine_networks_learn_and_refinement_helps() -> None:
    jobs = make_demo()
    assert len(jobs) == 9
    for job_id, job in jobs.items():
        metrics = job["result"]["metrics"]
        assert beats_untrained_and_flat(metrics), (job_id, metrics)
        assert job["dose"] == 1e3 or metrics["nmse"] < metrics["flat_nmse"] / 2, (job_id, metrics)
        if job["dose"] > 1e3 or job["view"] != "sparse":
            assert metrics["refined"]["nmse"] < metrics["nmse"], (job_id, metrics)
            assert metrics["refined"]["phase_mae_rad"] < 0.08, (job_id, metrics)
    answer = Workplace(REPOSITORY).run("evaluate", "--study", DEMO, "--dose", "1e4", "--view", "dense", "--json")
    (evaluation,) = json.loads(answer.out)
    unseen = evaluation["halves"]["test"]
    network, refined = (unseen["methods"][name]["scores"] for name in ("network", "refined"))
    assert refined["nmse"] < 0.8 * network["nmse"] < 0.02
    assert refined["frc_crossing_cycles_per_px"] > 0.2


def test_ptychopinn_beats_flat_where_photons_are_many(tmp_path: Path) -> None:
    one = ("--dose", "1e5", "--view", "baseline", "--set", "training.architecture=ptychopinn", "--set", "training.threads=2")
    answer = Workplace(tmp_path).run("submit", "--study", DEMO, "--executor", "local", "--wait", *one, timeout_s=1800)
    assert answer.code == 0, answer.out + answer.err
    metrics = succeeded(tmp_path)["dose_100000-baseline-gs1"]["result"]["metrics"]
    assert beats_untrained_and_flat(metrics), metrics
    assert metrics["nmse"] < metrics["flat_nmse"], metrics
