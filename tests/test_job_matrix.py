"""The job matrix is a product of axes; ids and folders come from them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fly64_hpc.errors import RequestError
from fly64_hpc.job_choice import JobFilter, select
from fly64_hpc.job_matrix import job_config, job_matrix
from fly64_hpc.study import StudyDesign, changed_keys

BASE = {"procedural": {"object": "siemens_star"}}


def study(**design: Any) -> StudyDesign:
    return StudyDesign.model_validate({"study": "x", "base": BASE, "design": design})


def test_the_defaults_are_the_constants_of_fly64() -> None:
    design = study().design
    assert design.doses_photons == (1e3, 1e4, 1e5)
    assert {name: view.gridsize for name, view in design.views.items()} == {"baseline": 1, "dense": 2, "sparse": 2}
    assert (design.neighbor_count, design.patch_size_px, design.split.axis) == (7, 128, "y")
    assert (design.seeds.simulation, design.seeds.grouping, design.seeds.subsampling) == (42, 123, 456)


def test_nine_jobs_dose_ascending_then_baseline_dense_sparse() -> None:
    jobs = job_matrix(study(doses_photons=[1e5, 1e3, 1e4]))
    assert [job.job_id for job in jobs][:4] == [
        "dose_1000-baseline-gs1", "dose_1000-dense-gs2", "dose_1000-sparse-gs2", "dose_10000-baseline-gs1",
    ]  # fmt: skip
    assert len(jobs) == 9
    assert jobs[0].folder == "dose_1000/baseline/gs1"
    assert jobs[0].tag == "[baseline/dose=1e+03]"


def test_several_seeds_are_an_axis_of_ids_and_folders() -> None:
    jobs = job_matrix(study(seeds={"training": [0, 1]}))
    assert len(jobs) == 18
    assert (jobs[1].job_id, jobs[1].folder) == ("dose_1000-baseline-gs1-seed_1", "dose_1000/baseline/gs1/seed_1")


doses = st.lists(st.floats(1, 1e9), min_size=1, max_size=4, unique_by=round)


@given(doses, st.integers(1, 3))
def test_ids_and_folders_are_unique_and_the_product_of_the_axes(doses: list[float], n_seeds: int) -> None:
    jobs = job_matrix(study(doses_photons=doses, seeds={"training": list(range(n_seeds))}))
    assert len({job.job_id for job in jobs}) == len({job.folder for job in jobs}) == len(jobs) == len(doses) * 3 * n_seeds


def test_a_job_is_known_by_what_decides_its_weights_and_not_by_how_it_runs() -> None:
    plain = study()
    threaded = plain.model_copy(update={"training": plain.training.model_copy(update={"threads": 8, "device": "cuda"})})
    longer = plain.model_copy(update={"training": plain.training.model_copy(update={"epochs": 3})})
    digests = [job_config(design, job_matrix(design)[0], "data").config_sha256() for design in (plain, threaded, longer)]
    assert digests[0] == digests[1] != digests[2]


def test_filters_select_and_combine() -> None:
    jobs = job_matrix(study())
    assert len(select(jobs, JobFilter())) == 9
    assert len(select(jobs, JobFilter(doses=(1000.0,)))) == 3
    assert len(select(jobs, JobFilter(gridsizes=(2,)))) == 6
    assert [job.job_id for job in select(jobs, JobFilter((1e3,), ("baseline",)))] == ["dose_1000-baseline-gs1"]


@pytest.mark.parametrize(
    ("selection", "words"),
    [
        (JobFilter(doses=(5e3,)), "--dose 5000 matches no job; the study has 1000, 10000, 100000"),
        (JobFilter(views=("thick",)), "--view thick matches no job; the study has baseline, dense, sparse"),
        (JobFilter(gridsizes=(3,)), "--gridsize 3 matches no job; the study has 1, 2"),
        (
            JobFilter(views=("baseline",), gridsizes=(2,)),
            "The filters match no job; there are doses 1000.*views baseline.*gridsizes 1, 2",
        ),
    ],
)
def test_a_filter_that_matches_nothing_says_what_exists(selection: JobFilter, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        select(job_matrix(study()), selection)


def identity(**design: Any) -> dict[str, Any]:
    return study(**design).identity(None)


def test_cells_that_were_added_are_no_change() -> None:
    views = {"baseline": {"gridsize": 1}, "dense": {"gridsize": 2}}
    more = views | {"sparse": {"gridsize": 2, "image_fraction": 0.5}}
    assert changed_keys(identity(views=views), identity(views=more)) == []
    assert changed_keys(identity(doses_photons=[1e3]), identity(doses_photons=[1e3, 1e4])) == []
    assert changed_keys(identity(seeds={"training": [0]}), identity(seeds={"training": [0, 1]})) == []


def test_changes_are_named_with_both_values() -> None:
    assert changed_keys(identity(neighbor_count=7), identity(neighbor_count=6)) == ["design.neighbor_count: 7 -> 6"]
    assert changed_keys(identity(doses_photons=[1e3, 1e4]), identity(doses_photons=[1e3]))
    views = {"baseline": {"gridsize": 1}}
    changed = {"baseline": {"gridsize": 1, "image_fraction": 0.5}}
    assert changed_keys(identity(views=views), identity(views=changed)) == ["design.views.baseline.image_fraction: 1.0 -> 0.5"]
