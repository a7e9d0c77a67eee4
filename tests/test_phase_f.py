"""Phase F: the solvers are jobs of the same study, in a directory and a manifest of their own, and nine stay nine."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from command import Workplace
from hypothesis import given
from hypothesis import strategies as st
from slurm_machines import Slurm
from slurm_study import wait_until

from fly64_hpc.job_matrix import job_config, job_matrix
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.study import StudyDesign, changed_keys, phase_f, stored_design
from ptycho_torch.config import SolverJobConfig, sha256_file

BASE = {"procedural": {"object": "siemens_star"}}


def study(**sections: Any) -> StudyDesign:
    return StudyDesign.model_validate({"study": "x", "base": BASE} | sections)


def solver(**fields: Any) -> dict[str, Any]:
    return {"iterative": {"solvers": {"gradient": {"method": "gradient"} | fields}}}


def identity(design: StudyDesign) -> dict[str, Any]:
    return design.identity(None)


def test_the_matrix_is_doses_by_distinct_scans_by_solvers() -> None:
    jobs = job_matrix(phase_f(study()))
    assert len(job_matrix(study())) == 9
    assert [job.job_id for job in jobs[:5]] == [
        "dose_1000-baseline-gradient", "dose_1000-baseline-lsqml", "dose_1000-baseline-lsqml_poisson",
        "dose_1000-baseline-rpie", "dose_1000-sparse-gradient",
    ]  # fmt: skip
    assert len({job.folder for job in jobs}) == len({job.job_id for job in jobs}) == len(jobs) == 3 * 2 * 4
    assert jobs[0].folder == "dose_1000/baseline/gradient"
    assert jobs[0].tag == "[baseline/dose=1e+03/gradient]"


@given(st.lists(st.sampled_from([1.0, 0.5, 0.25, 0.125]), min_size=1, max_size=6))
def test_views_with_the_same_patterns_are_one_scan(fractions: list[float]) -> None:
    views = {f"v{number}": {"gridsize": 1, "image_fraction": fraction} for number, fraction in enumerate(fractions)}
    design = study(design={"views": views})
    scans = {job.data for job in job_matrix(phase_f(design))}
    assert len({scan.view for scan in scans}) == len(set(fractions))
    for job in job_matrix(design):
        assert job.scan in scans
        assert design.design.views[job.scan.view].image_fraction == design.design.views[job.view].image_fraction


def test_a_network_is_the_same_whatever_the_solvers_and_a_solver_whatever_the_training() -> None:
    plain, other_solver, longer = study(), study(**solver(epochs=7)), study(training={"epochs": 3})
    assert plain.sha256() == other_solver.sha256() != longer.sha256()
    assert phase_f(plain).sha256() == phase_f(longer).sha256() != phase_f(study(**solver(epochs=7))).sha256()
    assert phase_f(plain).sha256() != plain.sha256()


def test_a_solver_that_is_added_joins_and_one_that_is_changed_is_named() -> None:
    plain = phase_f(study())
    solvers = {name: one.model_dump() for name, one in plain.iterative.solvers.items()}
    more = phase_f(study(iterative={"solvers": solvers | {"rpie_long": {"method": "rpie", "epochs": 500}}}))
    assert changed_keys(identity(plain), identity(more)) == []
    slower = phase_f(study(iterative={"solvers": solvers | {"rpie": {"method": "rpie", "epochs": 500}}}))
    assert changed_keys(identity(plain), identity(slower)) == ["iterative.solvers.rpie.epochs: 100 -> 500"]


def test_a_study_json_says_which_of_the_two_it_is() -> None:
    for design in (study(), phase_f(study())):
        assert stored_design(design.model_dump(mode="json")) == design


def test_how_a_solver_runs_is_no_part_of_what_it_is() -> None:
    plain, threaded = (phase_f(study(training={"threads": threads})) for threads in (1, 8))
    configs = [job_config(design, job_matrix(design)[0], "data") for design in (plain, threaded)]
    assert all(isinstance(config, SolverJobConfig) for config in configs)
    assert configs[0].config_sha256() == configs[1].config_sha256()


def test_phase_f_lies_inside_the_study_and_shares_its_data(tmp_path: Path) -> None:
    paths = StudyPaths(tmp_path / "study")
    inner = paths.phase_f
    assert inner.phase_f == inner
    assert inner.data == paths.data
    assert inner.inside(paths.phase_c(1e3) / "patched_train.npz") == "../data/phase_c/dose_1000/patched_train.npz"
    assert inner.absolute("../data/x").resolve() == (paths.data / "x").resolve()
    assert inner.inside(tmp_path / "elsewhere") == str(tmp_path / "elsewhere")
    assert inner.label == "study-iterative"


@pytest.fixture(scope="module")
def solved(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """One solver on both scans of the smoke study, at one dose."""
    place = Workplace(tmp_path_factory.mktemp("solved"))
    answer = place.submit("--phase-f", "--dose", "1e5", "--executor", "local", "--wait")
    assert answer.code == 0, answer.out + answer.err
    return place


def iterative(place: Workplace) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((place.study / "phase_f_iterative" / "iterative_manifest.json").read_text())
    return manifest


def test_solvers_have_a_manifest_of_their_own_with_proven_reconstructions(solved: Workplace) -> None:
    manifest = iterative(solved)
    assert manifest["counts"]["succeeded"] == 2
    assert manifest["counts"]["pending"] == 4
    assert not (solved.study / "training_manifest.json").exists()
    for job in manifest["jobs"]:
        if job["state"] == "succeeded":
            assert job["solver"] == "gradient"
            bundle = solved.study / "phase_f_iterative" / job["result"]["bundle_path"]
            assert bundle.name == "reconstruction_test.npz"
            assert sha256_file(bundle) == job["result"]["bundle_sha256"]
            assert (solved.study / "phase_f_iterative" / job["train_data_path"]).is_file()


def test_a_solver_beats_a_flat_object_on_both_halves(solved: Workplace) -> None:
    (job,) = (job for job in iterative(solved)["jobs"] if job["job_id"] == "dose_100000-baseline-gradient")
    for half in job["result"]["metrics"]["halves"].values():
        figures = half["methods"]["solver"]
        assert figures["scores"]["nmse"] < half["flat"]["scores"]["nmse"]
        assert half["true_held_out_deviance"] < figures["held_out_deviance"] < half["flat"]["held_out_deviance"]
        assert 0 < figures["steps"] <= 20


def test_status_and_collect_look_at_it_by_flag_or_by_directory(solved: Workplace) -> None:
    for where in (("--study-dir", solved.study, "--phase-f"), ("--study-dir", solved.study / "phase_f_iterative")):
        assert "2 succeeded" in solved.run("status", *where).out
        assert solved.run("collect", *where).code == 0


def test_the_same_submit_again_solves_nothing(solved: Workplace) -> None:
    answer = solved.submit("--phase-f", "--dose", "1e5", "--executor", "local", "--wait")
    assert answer.code == 0
    assert "0 jobs to submit, 2 succeeded" in answer.out


def test_it_moves_with_the_study_and_a_harmed_reconstruction_is_no_success(solved: Workplace, tmp_path: Path) -> None:
    shutil.copytree(solved.folder, tmp_path, dirs_exist_ok=True)
    moved = Workplace(tmp_path)
    assert "2 succeeded" in moved.run("status", "--study-dir", moved.study, "--phase-f").out
    bundle = moved.study / "phase_f_iterative" / "dose_100000" / "sparse" / "gradient" / "reconstruction_test.npz"
    bundle.write_bytes(bundle.read_bytes()[:-1])
    assert "1 succeeded, 1 failed" in moved.run("status", "--study-dir", moved.study, "--phase-f").out


def test_nine_stay_nine(solved: Workplace) -> None:
    answer = solved.submit("--executor", "local", "--print-only", "--json")
    assert len(json.loads(answer.out)["jobs"]) == 9


def test_other_scans_than_the_solvers_have_are_refused_to_the_networks(solved: Workplace) -> None:
    answer = solved.submit("--executor", "local", "--set", "scan.positions=96", "--print-only")
    assert answer.code == 2
    assert "holds another version of study fly64_smoke; it differs in scan.positions: 192 -> 96" in answer.err
    longer = solved.submit("--phase-f", "--set", "training.epochs=9", "--print-only")
    assert longer.code == 0


def test_the_plan_for_slurm_runs_phase_f_by_the_same_scripts(tmp_path: Path) -> None:
    answer = Workplace(tmp_path).submit("--phase-f", "--print-only", "--json")
    plan = json.loads(answer.out)
    assert len(plan["jobs"]) == 6
    assert "fly64_smoke-iterative-" in plan["commands"][0]
    assert "phase_f_iterative" in plan["scripts"][0]
    assert not list(tmp_path.iterdir())


def test_a_solver_that_is_not_there_is_named(tmp_path: Path) -> None:
    answer = Workplace(tmp_path).submit("--set", "iterative.solvers.best.method=magic", "--print-only")
    assert answer.code == 2
    assert "iterative.solvers.best.method" in answer.err
    assert "lsqml" in answer.err


PTY_CHI = "iterative.solvers={lsqml: {method: lsqml, epochs: 3}, rpie: {method: rpie, epochs: 3, batch_size: 8}}"
ONE_SCAN = ("--phase-f", "--dose", "1e5", "--view", "baseline", "--executor", "local", "--wait")


def test_without_pty_chi_its_solvers_fail_and_say_how_to_get_it(tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    absent.mkdir()
    (absent / "ptychi.py").write_text("raise ModuleNotFoundError(\"No module named 'ptychi'\")")
    place = Workplace(tmp_path, {"PYTHONPATH": str(absent)})
    answer = place.submit(*ONE_SCAN, "--set", PTY_CHI)
    assert answer.code == 1
    errors = [job["error"] for job in iterative(place)["jobs"] if job["state"] == "failed"]
    assert len(errors) == 2
    for error in errors:
        assert error["type"] == "SolverUnavailableError"
        assert "The solver needs pty-chi, which cannot be imported" in error["message"]
        assert "pip install --no-deps ptychi==2.2.0" in error["hint"]


@pytest.mark.clients
def test_with_pty_chi_its_solvers_are_jobs_like_any(tmp_path: Path) -> None:
    place = Workplace(tmp_path)
    answer = place.submit(*ONE_SCAN, "--set", PTY_CHI)
    assert answer.code == 0, answer.out + answer.err
    solved = {job["solver"]: job["result"]["metrics"] for job in iterative(place)["jobs"] if job["state"] == "succeeded"}
    assert set(solved) == {"lsqml", "rpie"}
    for metrics in solved.values():
        for half in metrics["halves"].values():
            assert half["methods"]["solver"]["scores"]["nmse"] < half["flat"]["scores"]["nmse"]


def test_a_half_done_solver_that_is_told_to_stop_starts_over() -> None:
    from ptycho_torch.reconstruction_jobs import SolverStopped

    stopped = SolverStopped(7)
    assert "stopped after 7 passes over the scan and starts over the next time" in str(stopped)
    assert (stopped.step, stopped.first_step) == (0, 0)


def test_slurm_solves_it_and_its_collector_job_says_so(slurm: Slurm, tmp_path: Path) -> None:
    place = Workplace(tmp_path, slurm.environment())
    answer = place.submit("--phase-f", "--dose", "1e5", "--partition", "gpu")
    assert answer.code == 0, answer.out + answer.err
    file = place.study / "phase_f_iterative" / "iterative_manifest.json"
    wait_until(lambda: file.exists() and iterative(place)["counts"]["succeeded"] == 2, "the collector job's manifest")
    assert {job["scheduler"]["executor"] for job in iterative(place)["jobs"] if job["state"] == "succeeded"} == {"slurm"}
    assert not (place.study / "training_manifest.json").exists()
