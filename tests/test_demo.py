"""The demo study learns: every network beats an untrained one and a flat object, and none is flat. `make test-long`."""

import json
from pathlib import Path
from typing import Any

import pytest
from command import REPOSITORY, Workplace

DEMO = REPOSITORY / "configs" / "fly64_demo.yaml"

pytestmark = pytest.mark.long


def train(place: Workplace, *arguments: str) -> dict[str, Any]:
    """Job id to job, of the jobs that were asked for."""
    answer = place.run("submit", "--study", DEMO, "--executor", "local", "--wait", *arguments, timeout_s=1800)
    assert answer.code == 0, answer.out + answer.err
    manifest = json.loads((place.folder / "outputs" / "fly64_demo" / "training_manifest.json").read_text())
    return {job["job_id"]: job for job in manifest["jobs"] if job["state"] != "pending"}


def beats_untrained_and_flat(metrics: dict[str, Any]) -> bool:
    return (
        bool(metrics["held_out_deviance"] < min(metrics["untrained_deviance"], metrics["flat_deviance"]))
        and not metrics["collapsed"]
    )


def test_all_nine_networks_learn_and_refinement_helps(tmp_path: Path) -> None:
    place = Workplace(tmp_path)
    jobs = train(place)
    assert len(jobs) == 9
    for job_id, job in jobs.items():
        metrics = job["result"]["metrics"]
        assert beats_untrained_and_flat(metrics), (job_id, metrics)
        assert job["dose"] == 1e3 or metrics["nmse"] < metrics["flat_nmse"] / 2, (job_id, metrics)
        if job["dose"] > 1e3 or job["view"] != "sparse":
            assert metrics["refined"]["nmse"] < metrics["nmse"], (job_id, metrics)
            assert metrics["refined"]["phase_mae_rad"] < 0.08, (job_id, metrics)
    answer = place.run("evaluate", "--study", DEMO, "--dose", "1e4", "--view", "dense", "--json")
    (evaluation,) = json.loads(answer.out)
    unseen = evaluation["halves"]["test"]
    network, refined = (unseen["methods"][name]["scores"] for name in ("network", "refined"))
    assert refined["nmse"] < 0.8 * network["nmse"] < 0.02
    assert refined["frc_crossing_cycles_per_px"] > 0.2


def test_ptychopinn_beats_flat_where_photons_are_many(tmp_path: Path) -> None:
    one = ("--dose", "1e5", "--view", "baseline", "--set", "training.architecture=ptychopinn", "--set", "training.threads=2")
    metrics = train(Workplace(tmp_path), *one)["dose_100000-baseline-gs1"]["result"]["metrics"]
    assert beats_untrained_and_flat(metrics), metrics
    assert metrics["nmse"] < metrics["flat_nmse"], metrics
