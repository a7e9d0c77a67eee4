"""On real input: an experimental object and probe, the measured scan itself, and the full-size study. `make test-real`."""

import bz2
import csv
import json
from pathlib import Path

import numpy as np
import pytest
from command import REPOSITORY, Workplace

DATA = REPOSITORY.parent / "shared" / "data"
RECONSTRUCTION = DATA / "siemens_epie_reconstruction.npz"
SCAN = DATA / "siemens-star-small.npz.bz2"
CONFIGS = REPOSITORY / "configs"
SHORTER = tuple(f"--set=training.{key}=8" for key in ("epochs", "refiner.epochs", "refiner.adaptation_epochs"))
NOT_ADAPTED = "training.refiner.adaptation_epochs=0"
"""Saves minutes at N = 128."""

pytestmark = pytest.mark.real


def needs(file: Path) -> None:
    if not file.exists():
        pytest.skip(f"{file} is not there; it is no part of the repository")


def manifest(place: Workplace, study: str) -> dict[str, dict[str, object]]:
    text = (place.folder / "outputs" / study / "training_manifest.json").read_text()
    return {job["job_id"]: job for job in json.loads(text)["jobs"]}


def test_nine_jobs_train_from_an_experimental_object_and_probe(tmp_path: Path) -> None:
    needs(RECONSTRUCTION)
    place = Workplace(tmp_path)
    base = f"base.npz={RECONSTRUCTION}"
    study: tuple[str | Path, ...] = ("--study", CONFIGS / "siemens_star.yaml", "--set", base, *SHORTER)
    answer = place.run("submit", *study, "--executor", "local", "--wait", timeout_s=1800)
    assert answer.code == 0, answer.out + answer.err
    for job_id, job in manifest(place, "siemens_star").items():
        metrics = job["result"]["metrics"]  # type: ignore[index]
        print(job_id, json.dumps(metrics))  # noqa: T201 - the figures are what this test is run for
        assert metrics["held_out_deviance"] < min(metrics["untrained_deviance"], metrics["flat_deviance"])
        assert not metrics["collapsed"]
        if job["dose"] != 1e3:
            assert metrics["nmse"] < metrics["flat_nmse"] / 2
    dense = unseen_half(place, study, "dense", ("1e3",))
    assert len(dense) == 1
    for row in dense:
        print(json.dumps(row))  # noqa: T201
        assert row["refined"]["nmse"] < row["gradient"]["nmse"]
        assert row["refined"]["phase_mae_rad"] < row["gradient"]["phase_mae_rad"]


def unseen_half(
    place: Workplace, study: tuple[str | Path, ...], view: str, doses: tuple[str, ...]
) -> list[dict[str, dict[str, float]]]:
    """What refined networks and the gradient got on the unseen half, a row for each dose."""
    gradient = ("--set", "iterative.solvers={gradient: {method: gradient}}")
    chosen = ("--view", view, *(word for dose in doses for word in ("--dose", dose)))
    solved = ("--view", "baseline", *chosen[2:])  # the scan of the dense view is the baseline's
    for verb, *arguments in (("submit", "--phase-f", "--executor", "local", "--wait", *gradient, *solved), ("evaluate", *chosen)):
        answer = place.run(verb, *study, *arguments, timeout_s=1200)
        assert answer.code == 0, answer.out + answer.err
    assert place.run("compare", *study, *gradient).code in (0, 1)  # 1: the other views and doses are missing
    with (place.folder / "outputs" / "siemens_star" / "comparison" / "comparison.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["half"] == "unseen" and row["view"] == view and row["nmse"]]
    by_dose: dict[str, dict[str, dict[str, float]]] = {}
    for row in rows:
        figures = {name: float(row[name]) for name in ("nmse", "phase_mae_rad")}
        by_dose.setdefault(row["dose_photons"], {})[row["method"]] = figures
    return [methods for methods in by_dose.values() if {"refined", "gradient"} <= methods.keys()]


def test_the_measured_scan_is_ingested_and_trained_on(tmp_path: Path) -> None:
    needs(SCAN)
    place = Workplace(tmp_path)
    answer = place.run("ingest", SCAN, "scan.npz")
    assert answer.code == 0, answer.err
    assert "516 patterns of 128 px, 461213 photons per frame" in answer.out
    with bz2.open(SCAN) as file, np.load(file, allow_pickle=False) as arrays:
        raw = arrays["data"][0]
    with np.load(tmp_path / "scan.npz", allow_pickle=False) as arrays:
        counts = np.square(arrays["intensity_scale"] * arrays["diffraction"].astype(np.float64))
    np.testing.assert_allclose(np.fft.ifftshift(counts, axes=(1, 2)), raw, atol=1e-3)
    answer = place.run(
        "submit",
        "--study",
        CONFIGS / "measured_scan.yaml",
        "--set",
        "base.measured=scan.npz",
        "--set",
        NOT_ADAPTED,
        "--executor",
        "local",
        "--wait",
        timeout_s=1800,
    )
    assert answer.code == 0, answer.out + answer.err
    (job,) = manifest(place, "measured_scan").values()
    metrics = job["result"]["metrics"]  # type: ignore[index]
    print(json.dumps(job["result"]))  # noqa: T201
    assert metrics["held_out_deviance"] < min(metrics["untrained_deviance"], metrics["flat_deviance"])
    held_out = held_out_deviances(place)
    print(held_out)  # noqa: T201
    assert held_out["refined"] < held_out["network"] < held_out["flat"]
    assert held_out["gradient"] < held_out["flat"]


def held_out_deviances(place: Workplace) -> dict[str, float]:
    """What the photons that were held out of the measured scan's unseen half say of each method."""
    study = ("--study", CONFIGS / "measured_scan.yaml", "--set", "base.measured=scan.npz", "--set", NOT_ADAPTED)
    gradient = ("--set", "iterative.solvers={gradient: {method: gradient}}")
    for verb, *arguments in (("submit", "--phase-f", "--executor", "local", "--wait", *gradient), ("evaluate",), ("compare",)):
        answer = place.run(verb, *study, *arguments, timeout_s=1200)
        assert answer.code == 0, answer.out + answer.err
    with (place.folder / "outputs" / "measured_scan" / "comparison" / "comparison.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["half"] == "unseen"]
    assert {row["scored_against"] for row in rows} == {"gradient reconstruction"}
    return {row["method"]: float(row["held_out_deviance"]) for row in rows}


def test_the_full_size_study_trains_one_job_for_one_epoch_on_a_cpu(tmp_path: Path) -> None:
    place = Workplace(tmp_path)
    one = ("--dose", "1e4", "--view", "dense", "--set", "training.epochs=1", "--set", "training.threads=2")
    no_refiner = ("--set", "training.refiner=null")
    answer = place.run(
        "submit",
        "--executor",
        "local",
        "--wait",
        "--study",
        CONFIGS / "fly64_dose_overlap.yaml",
        *one,
        *no_refiner,
        timeout_s=1800,
    )
    assert answer.code == 0, answer.out + answer.err
    job = manifest(place, "fly64_dose_overlap")["dose_10000-dense-gs2"]
    print(json.dumps(job["result"]))  # noqa: T201
    assert job["state"] == "succeeded"
