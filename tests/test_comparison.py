"""From trained networks and solvers to evaluations, a table with intervals, and a picture; what is missing is named."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from command import Workplace
from hypothesis import given
from hypothesis import strategies as st

from fly64_hpc.comparison import Cell, Measurement
from fly64_hpc.comparison_table import FIGURES, cell_mean, csv_text, mean_of, table
from fly64_hpc.job_matrix import Condition
from ptycho_torch.config import sha256_file

SEEDS = ("--set", "design.seeds.training=[0, 1]")
ONE_DOSE = ("--dose", "1e5", "--executor", "local", "--wait")
TWO_VIEWS = ("--view", "dense", "--view", "sparse")


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """Two views of the smoke study at one dose, of two seeds, and one solver, evaluated."""
    place = Workplace(tmp_path_factory.mktemp("evaluated"))
    for arguments in ((*SEEDS, *TWO_VIEWS), ("--phase-f", *SEEDS)):
        answer = place.submit(*arguments, *ONE_DOSE)
        assert answer.code == 0, answer.out + answer.err
    answer = place.run("evaluate", "--study-dir", place.study, "--dose", "1e5", *TWO_VIEWS)
    assert answer.code == 0, answer.out + answer.err
    return place


@pytest.fixture(scope="module")
def rows(evaluated: Workplace) -> list[dict[str, str]]:
    """The lines of comparison.csv."""
    answer = evaluated.run("compare", "--study-dir", evaluated.study)
    assert answer.code == 0, answer.out + answer.err
    with (evaluated.study / "comparison" / "comparison.csv").open() as file:
        return list(csv.DictReader(file))


def evaluation(place: Workplace, seed: int = 0) -> dict[str, Any]:
    path = place.study / "evaluation" / "dose_100000" / "dense" / "gs2" / f"seed_{seed}" / "evaluation.json"
    record: dict[str, Any] = json.loads(path.read_text())
    return record


def manifest_job(place: Workplace, job_id: str) -> dict[str, Any]:
    (job,) = (job for job in place.manifest()["jobs"] if job["job_id"] == job_id)
    assert isinstance(job, dict)
    return job


def test_an_evaluation_is_linked_to_config_data_and_bundle(evaluated: Workplace) -> None:
    record, job = evaluation(evaluated), manifest_job(evaluated, "dose_100000-dense-gs2-seed_0")
    assert record["job_id"] == job["job_id"]
    assert record["config_sha256"] == job["config_sha256"]
    assert record["bundle_sha256"] == job["result"]["bundle_sha256"]
    for half in ("train", "test"):
        assert record[f"{half}_data"]["sha256"] == job[f"{half}_data_sha256"]


def test_an_evaluation_says_where_and_by_which_constants(evaluated: Workplace) -> None:
    record = evaluation(evaluated)
    assert set(record["halves"]) == {"train", "test"}
    for half in record["halves"].values():
        assert set(half["box"]) == {"top", "bottom", "left", "right"}
        assert half["scored_against"] == "truth"
        assert half["flat"]["scores"]["phase_std_ratio"] == pytest.approx(0, abs=1e-6)
    for key in ("margin_share_of_patch", "removed_by_alignment", "psnr_peak", "frc_crossing_level", "fed_share", "deal_seed"):
        assert key in record["constants"]


def test_every_reconstruction_of_an_evaluation_lies_there_with_its_digest(evaluated: Workplace) -> None:
    folder = evaluated.study / "evaluation" / "dose_100000" / "dense" / "gs2" / "seed_0"
    for half in evaluation(evaluated)["halves"].values():
        for figures in half["methods"].values():
            assert sha256_file(folder / figures["file"]) == figures["sha256"]


def test_refinement_takes_the_steps_that_held_out_photons_like(evaluated: Workplace) -> None:
    for half in evaluation(evaluated)["halves"].values():
        network, refined = half["methods"]["network"], half["methods"]["refined"]
        assert refined["steps"] > 0
        assert half["true_held_out_deviance"] < refined["held_out_deviance"] < network["held_out_deviance"]
        assert refined["scores"]["nmse"] < network["scores"]["nmse"] < half["flat"]["scores"]["nmse"]
        assert refined["seconds"] > network["seconds"] > 0


def test_what_is_current_is_not_evaluated_again(evaluated: Workplace) -> None:
    answer = evaluated.run("evaluate", "--study-dir", evaluated.study, "--dose", "1e5", "--view", "dense", "--json")
    assert answer.code == 0
    assert "evaluating" not in answer.err
    assert [record["created_utc"] for record in json.loads(answer.out)] == [
        evaluation(evaluated, seed)["created_utc"] for seed in (0, 1)
    ]


def test_a_network_that_is_not_there_is_named(evaluated: Workplace) -> None:
    answer = evaluated.run("evaluate", "--study-dir", evaluated.study, "--dose", "1e3", "--view", "dense")
    assert answer.code == 1
    assert "dose_1000-dense-gs2-seed_0: no network to evaluate: pending: not submitted" in answer.out


def cell(rows: list[dict[str, str]], **wanted: str) -> dict[str, str]:
    (found,) = (row for row in rows if all(row[key] == value for key, value in wanted.items()))
    return found


def test_the_table_has_every_cell_once(rows: list[dict[str, str]]) -> None:
    keys = [(row["dose_photons"], row["view"], row["method"], row["half"]) for row in rows]
    assert len(set(keys)) == len(keys) == 3 * 3 * 4 * 2
    assert {row["method"] for row in rows} == {"network", "refined", "gradient", "flat"}


def test_a_network_has_a_mean_and_an_interval_over_its_seeds(rows: list[dict[str, str]], evaluated: Workplace) -> None:
    row = cell(rows, dose_photons="100000", view="dense", method="network", half="unseen")
    values = [evaluation(evaluated, seed)["halves"]["test"]["methods"]["network"]["scores"]["nmse"] for seed in (0, 1)]
    assert (row["state"], row["n_seeds"], row["seeds"]) == ("complete", "2", "0 1")
    assert float(row["nmse"]) == pytest.approx(sum(values) / 2, rel=1e-5)
    # Student's t at 97.5 % with one degree of freedom is 12.706; s / √2 of two values is half their distance.
    assert float(row["nmse_ci95"]) == pytest.approx(12.706 * abs(values[0] - values[1]) / 2, rel=5e-3)
    assert float(row["training_s"]) > 0
    assert float(row["reconstruction_s"]) > 0


def test_each_figure_has_the_digests_it_comes_from(rows: list[dict[str, str]], evaluated: Workplace) -> None:
    row = cell(rows, dose_photons="100000", view="dense", method="refined", half="training")
    jobs = [manifest_job(evaluated, f"dose_100000-dense-gs2-seed_{seed}") for seed in (0, 1)]
    assert row["bundle_sha256"].split() == [job["result"]["bundle_sha256"] for job in jobs]
    assert row["config_sha256"].split() == [job["config_sha256"] for job in jobs]
    assert row["test_data_sha256"].split() == [job["test_data_sha256"] for job in jobs]


def test_a_solver_serves_every_view_with_its_patterns_and_has_no_interval(rows: list[dict[str, str]]) -> None:
    baseline, dense, sparse = (
        cell(rows, dose_photons="100000", view=view, method="gradient", half="unseen") for view in ("baseline", "dense", "sparse")
    )
    assert baseline["bundle_sha256"] == dense["bundle_sha256"] != sparse["bundle_sha256"]
    assert (baseline["n_seeds"], baseline["nmse_ci95"], baseline["training_s"]) == ("1", "", "")


def test_missing_cells_are_named(rows: list[dict[str, str]], evaluated: Workplace) -> None:
    row = cell(rows, dose_photons="1000", view="dense", method="network", half="unseen")
    assert (row["state"], row["nmse"]) == ("missing", "")
    assert row["missing"] == "; ".join(f"dose_1000-dense-gs2-seed_{seed} is pending: not submitted" for seed in (0, 1))
    assert "missing: dose_1000-baseline-gradient is pending" in evaluated.run("compare", "--study-dir", evaluated.study).out


def test_without_phase_f_the_solvers_are_missing_by_name(evaluated: Workplace, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(evaluated.study, tmp_path / "study", ignore=shutil.ignore_patterns("phase_f_iterative"))
    answer = evaluated.run("compare", "--study-dir", tmp_path / "study")
    assert "missing: gradient was not run on baseline at 100000 photons; run submit --phase-f" in answer.out


def test_a_failed_job_makes_the_comparison_fail(evaluated: Workplace, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(evaluated.study, tmp_path / "study")
    bundle = tmp_path / "study" / "phase_e_training" / "dose_100000" / "dense" / "gs2" / "seed_0" / "model.safetensors"
    bundle.write_bytes(b"harmed")
    answer = evaluated.run("compare", "--study-dir", tmp_path / "study")
    assert answer.code == 1
    assert "missing: dose_100000-dense-gs2-seed_0 is failed" in answer.out
    with (tmp_path / "study" / "comparison" / "comparison.csv").open() as file:
        row = cell(list(csv.DictReader(file)), dose_photons="100000", view="dense", method="network", half="unseen")
    assert (row["state"], row["n_seeds"], row["seeds"]) == ("partial", "1", "1")


def test_the_picture_is_one_png_and_the_same_each_time(rows: list[dict[str, str]], evaluated: Workplace) -> None:
    from matplotlib.image import imread

    picture = evaluated.study / "comparison" / "comparison.png"
    assert len(rows) > 0
    assert min(imread(picture).shape[:2]) > 500
    before = sha256_file(picture)
    evaluated.run("compare", "--study-dir", evaluated.study)
    assert sha256_file(picture) == before


def measurement(seed: int = 0, **figures: Any) -> Measurement:
    known = {"scores": {"nmse": 0.1}, "held_out_deviance": 0.5, "steps": None, "seconds": 1.0} | figures
    return Measurement(seed, known, "truth", None, None, "cpu", "c", "a", "b", "w")


def of_seeds(*measurements: Measurement) -> Cell:
    return Cell(Condition(1e3, "dense"), 2, "network", "test", measurements, ())


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=8))
def test_the_interval_is_around_the_mean_and_shrinks_with_agreement(values: list[float]) -> None:
    mean, closer = mean_of(values), mean_of([value / 2 for value in values])
    assert mean is not None
    assert closer is not None
    assert mean.half_width is not None
    assert closer.half_width is not None
    assert min(values) - 1e-9 <= mean.value <= max(values) + 1e-9
    assert closer.half_width == pytest.approx(mean.half_width / 2)


def test_one_value_has_no_interval_and_none_no_mean() -> None:
    single = mean_of([0.3])
    assert single is not None
    assert (single.value, single.half_width) == (0.3, None)
    assert mean_of([]) is None


def test_a_figure_that_a_seed_lacks_has_no_mean() -> None:
    assert cell_mean(of_seeds(measurement(held_out_deviance=None), measurement(1)), "held_out_deviance") is None
    assert cell_mean(of_seeds(measurement(scores=None)), "nmse") is None


def test_the_csv_gives_back_the_rows() -> None:
    lines = table("x, y", [of_seeds(measurement(), measurement(1, scores={"nmse": 0.3}))])
    assert list(csv.DictReader(csv_text(lines).splitlines())) == lines
    assert (lines[0]["study"], lines[0]["nmse"]) == ("x, y", "0.2")
    assert set(FIGURES) <= set(lines[0])
