"""A live study grows: what it holds keeps ids, folders, configuration and work, and what was added alone is submitted."""

import json
from pathlib import Path
from typing import Any

import pytest
from command import SMOKE, Workplace
from hypothesis import given
from hypothesis import strategies as st
from local_study import LocalStudy
from scripted_slurm import ScriptedSlurm
from slurm_machines import NODES, FakeMachine
from slurm_study import ONE, ONE_ID, SlurmStudy, wait_until
from tiny_study import on_slurm, tiny_study

from fly64_hpc.collector import look
from fly64_hpc.errors import StudyChangedError
from fly64_hpc.job_matrix import TrainingJob, job_config
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.retrying import decisions
from fly64_hpc.study import phase_f
from fly64_hpc.study_directory import read_study, write_study
from fly64_hpc.study_growth import joined
from fly64_hpc.study_loading import LoadedStudy, Override, load_study

SEEDS = ("design", "seeds", "training")
MORE = ("--set", "design.seeds.training=[0, 1]")


def study(doses: list[float], seeds: int | list[int], views: dict[str, Any] | None = None) -> LoadedStudy:
    design = {("design", "doses_photons"): doses, SEEDS: seeds} | ({} if views is None else {("design", "views"): views})
    return load_study(SMOKE, [Override(path, value, "--set") for path, value in design.items()])


def known(study: LoadedStudy) -> dict[TrainingJob, str]:
    """Every job with the digest of its configuration."""
    return {job: job_config(study.design, job, "data").config_sha256() for job in study.jobs}


@given(first=st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True), is_plain=st.booleans(),
       more=st.lists(st.lists(st.integers(0, 9), unique=True), max_size=3), doses=st.integers(1, 3))  # fmt: skip
def test_whatever_is_added_what_was_there_stays(
    tmp_path_factory: pytest.TempPathFactory, first: list[int], more: list[list[int]], doses: int, *, is_plain: bool
) -> None:
    paths = StudyPaths(tmp_path_factory.mktemp("growing"))
    seeds: list[int] = first[:1] if is_plain else first
    asked = study([1e3], seeds[0] if is_plain else seeds)
    for step, added in enumerate([[], *more]):
        now = joined(paths, asked)
        if paths.study.exists():
            before = known(joined(paths, read_again(paths)))
            assert before.items() <= known(now).items()
        write_study(paths, now)
        assert {job.seed for job in known(now)} == set(seeds)
        assert len({job.folder for job in known(now)}) == len({job.job_id for job in known(now)}) == len(known(now))
        seeds = list(dict.fromkeys([*added, *seeds]))
        asked = study([float(10 ** (3 + one)) for one in range(1 + min(step, doses))], seeds)


def read_again(paths: StudyPaths) -> LoadedStudy:
    stored = read_study(paths)
    return LoadedStudy(stored.design, stored.base_sha256, {})


def test_the_seed_that_a_study_began_with_alone_is_named_nowhere(tmp_path: Path) -> None:
    paths = StudyPaths(tmp_path)
    write_study(paths, joined(paths, study([1e3], 7)))
    grown = joined(paths, study([1e3], [1, 7]))
    ids = {job.job_id: job.folder for job in grown.jobs if job.view == "baseline"}
    assert ids == {
        "dose_1000-baseline-gs1": "dose_1000/baseline/gs1",
        "dose_1000-baseline-gs1-seed_1": "dose_1000/baseline/gs1/seed_1",
    }
    write_study(paths, grown)
    assert (read_study(paths).plain_seed, read_study(paths).jobs) == (7, grown.jobs)
    stored = json.loads(paths.study.read_text())
    del stored["plain_seed"]
    paths.study.write_text(json.dumps(stored | {"resolved": study([1e3], 7).design.model_dump(mode="json")}))
    assert read_study(paths).plain_seed == 7, "a file of before the key was there"


def test_a_list_of_one_seed_that_becomes_a_number_is_no_other_study(tmp_path: Path) -> None:
    paths = StudyPaths(tmp_path)
    write_study(paths, joined(paths, study([1e3], [0])))
    assert joined(paths, study([1e3], 0)).jobs == read_study(paths).jobs


def test_a_view_that_is_put_first_takes_no_solver_s_job_away(tmp_path: Path) -> None:
    paths = StudyPaths(tmp_path)
    views: dict[str, Any] = {"baseline": {"gridsize": 1}, "dense": {"gridsize": 2}}
    iterative = LoadedStudy(phase_f(study([1e3], 0, views).design), None, {})
    write_study(paths, joined(paths, iterative))
    more = LoadedStudy(phase_f(study([1e3], 0, {"wide": {"gridsize": 2}} | views).design), None, {})
    assert joined(paths, more).jobs == iterative.jobs


@pytest.mark.parametrize(("doses", "seeds"), [([1e3], [0, 1]), ([1e3, 1e4], [1])])
def test_what_is_left_out_is_refused_saying_how_to_select(tmp_path: Path, doses: list[float], seeds: list[int]) -> None:
    paths = StudyPaths(tmp_path)
    write_study(paths, joined(paths, study([1e3, 1e4], [0, 1])))
    with pytest.raises(StudyChangedError, match="may be added, never removed; --dose, --view and --where select some"):
        joined(paths, study(doses, seeds))


def test_of_two_who_add_at_once_the_later_is_refused_and_nothing_is_lost(tmp_path: Path) -> None:
    paths = StudyPaths(tmp_path)
    write_study(paths, joined(paths, study([1e3], 0)))
    mine = joined(paths, study([1e3, 2e3], 0))
    write_study(paths, joined(paths, study([1e3, 3e3], 0)))
    with pytest.raises(StudyChangedError, match=r"design.doses_photons: \[1000.0, 3000.0\] -> \[1000.0, 2000.0\]"):
        joined(paths, mine)


def test_a_collector_job_decides_about_the_jobs_of_its_own_submission(tmp_path: Path) -> None:
    tiny = tiny_study(tmp_path / "study")
    for number in (1, 2):
        on_slurm(tiny, number, tiny.ids[number])
    rows = "".join(f"{number}0_0|t{number}|NODE_FAIL|0:0|g1||\n" for number in (1, 2))
    view = look(tiny.paths, ScriptedSlurm(answers={"sacct": rows}))
    assert [[one.job_id for one in decisions(view, submission=number)] for number in (1, 2)] == [tiny.ids[1:2], tiny.ids[2:3]]
    assert [one.job_id for one in decisions(view)] == tiny.ids[1:3]


@pytest.fixture
def slurm(fake_slurm: FakeMachine) -> FakeMachine:
    return fake_slurm


def test_on_slurm_new_cells_join_those_that_wait(slurm: FakeMachine, prepared: Path, tmp_path: Path) -> None:
    own = SlurmStudy(Workplace(tmp_path, slurm.environment()), prepared)
    for node in NODES:
        slurm.cut_off_node(node)
    own.good(own.submit(*ONE, trainer="idle_trainer"))
    spec = (own.folder() / "job.json").read_bytes()
    added = own.good(own.submit(*ONE, *MORE, "--set", "training.threads=2", trainer="idle_trainer"))
    assert "1 jobs to submit, 1 succeeded or at work already" in added.out
    assert [own.submission(number)["jobs"] for number in (1, 2)] == [[ONE_ID], [f"{ONE_ID}-seed_1"]]
    assert (own.folder() / "job.json").read_bytes() == spec, "what waits keeps to its own submission"
    for node in NODES:
        slurm.start_node(node)
    manifest = own.wait_for_manifest({"succeeded": 2})
    assert len(manifest["jobs"]) == 18
    assert [own.job(one)["scheduler"]["attempts"] for one in (ONE_ID, f"{ONE_ID}-seed_1")] == [1, 1]
    assert own.job(f"{ONE_ID}-seed_1")["artifact_dir"].endswith("dose_1000/baseline/gs1/seed_1")


def test_on_this_machine_a_second_seed_joins_a_training_that_goes_on(prepared: Path, tmp_path: Path) -> None:
    own = LocalStudy(tmp_path, prepared, step_s=1)
    assert own.submit(*ONE).code == 0
    wait_until((own.place.study / "phase_e_training" / "dose_1000" / "baseline" / "gs1" / "attempts").is_dir, "an attempt")
    answer = own.submit(*ONE, *MORE, "--wait")
    assert answer.code == 0, answer.err
    assert "1 jobs to submit, 1 succeeded or at work already" in answer.out
    assert [own.place.job(one)["scheduler"]["attempts"] for one in (ONE_ID, f"{ONE_ID}-seed_1")] == [1, 1]
    refused = own.submit(*ONE)
    assert (refused.code, "design.seeds.training: [0, 1] -> 0" in refused.err) == (2, True)
