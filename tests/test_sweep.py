"""A sweep makes any field of the study an axis of the job matrix, and refuses what cannot be one, with its line and its words."""

import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from command import SMOKE
from hypothesis import given, settings
from hypothesis import strategies as st

from fly64_hpc.axes import Axis, cells
from fly64_hpc.errors import RequestError, StudyChangedError, StudyError
from fly64_hpc.job_choice import JobFilter, select
from fly64_hpc.job_matrix import first_of_each, job_config
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.job_record import skipped_condition, skipped_view
from fly64_hpc.study import StudyDesign, phase_f, stored_design
from fly64_hpc.study_directory import read_study, write_study
from fly64_hpc.study_growth import joined
from fly64_hpc.study_loading import LoadedStudy, Override, load_study
from fly64_hpc.sweep import value_label
from ptycho_torch.config import sha256_json

PLAIN: dict[str, Any] = {
    "study": "swept",
    "base": {"procedural": {"object": "siemens_star", "size": [160, 160]}},
    "scan": {"positions": 192},
    "design": {
        "doses_photons": [1e3, 1e4],
        "patch_size_px": 32,
        "views": {
            "dense": {"gridsize": 2},
            "alone": {"gridsize": 1},
            "sparse": {"gridsize": 2, "image_fraction": 0.25, "groups": 12},
        },
    },
}
SCAN_KEYS = ("scan.positions", "base.procedural.object", "design.patch_size_px", "design.split.axis", "design.seeds.simulation")


def loaded(folder: Path, axes: Any, exclude: Any = (), overrides: Any = (), **changes: Any) -> LoadedStudy:
    file = folder / "swept.yaml"
    sweep = {"sweep": {"axes": axes} | ({"exclude": exclude} if exclude else {})} if axes is not None else {}
    file.write_text(yaml.safe_dump({**PLAIN, **sweep, **changes}, sort_keys=False))
    return load_study(file, [Override(tuple(key.split(".")), value, f"--set {key}") for key, value in overrides])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studies")


def value_of(design: StudyDesign, key: str) -> Any:
    inside: Any = design.model_dump(mode="json")
    for step in key.split("."):
        inside = inside[step]
    return inside


def test_a_study_of_no_sweep_is_what_it_was_before_there_were_any() -> None:
    study = load_study(SMOKE, [Override(("training", "precision"), "float32", "--set")])  # which was the default then
    assert study.sha256 == "35850d4db1060425d5af7cd0e4b3293507f6584ba6ef20d63b806f5719ba5a21"
    assert sha256_json(study.design.model_dump(mode="json")) == "add9c0efd5d516e2781c80529a0ecd03f8251f922e0fb174f3bf2e55d241941d"
    job = study.jobs[-1]
    digest = job_config(study.of(job).design, job, "x").config_sha256()
    assert digest == "6c6615976afef4411e6a3c43bf56e9c2488c1b017ffe0cc945b07bb99b9259c6"
    assert study.of(job).design is study.design


def test_the_fly64_matrix_is_an_instance_of_the_same_axes() -> None:
    """Doses, views and a seed that is written nowhere; gridsize belongs to the view."""
    fly64 = (
        Axis("dose", (1e3, 1e4, 1e5), ("dose_1000", "dose_10000", "dose_100000")),
        Axis("view", ("baseline", "dense", "sparse"), ("baseline-gs1", "dense-gs2", "sparse-gs2")),
        Axis("seed", (0,), ("",)),
    )
    ids = ["-".join(label for axis in fly64 if (label := axis.labels[cell[axis.name]])) for cell in cells(fly64)]
    assert ids == [job.job_id for job in load_study(SMOKE).jobs]


def test_ids_and_folders_name_each_place_between_view_and_seed(folder: Path) -> None:
    axes = {
        "learning_rate": {"training.learning_rate": [1e-3, 3e-3]},
        "scan": {"scan.positions": [192, 256], "design.seeds.simulation": [1, 2], "labels": ["few", "many"]},
        "widths": {"training.unet_widths": [[8, 16], [16, 32]]},
    }
    design = PLAIN["design"] | {"seeds": {"training": [0, 1]}}
    study = loaded(folder, axes, design=design)
    assert len(study.jobs) == 2 * 3 * 2 * 2 * 2 * 2
    assert study.jobs[0].job_id == "dose_1000-dense-gs2-learning_rate_0.001-scan_few-widths_8x16-seed_0"
    assert study.jobs[-1].folder == "dose_10000/sparse/gs2/learning_rate_0.003/scan_many/widths_16x32/seed_1"
    assert study.jobs[-1].tag == "[sparse/dose=1e+04/learning_rate_0.003/scan_many/widths_16x32]"


def test_a_key_of_one_view_varies_in_that_view_alone_and_its_gridsize_is_in_the_id(folder: Path) -> None:
    study = loaded(folder, {"groups": {"design.views.sparse.groups": [12, 24]}, "size": {"design.views.dense.gridsize": [1, 2]}})
    ids = [job.job_id for job in study.jobs if job.dose_photons == 1e3]
    assert ids == [
        "dose_1000-dense-gs1-size_1", "dose_1000-dense-gs2-size_2", "dose_1000-alone-gs1",
        "dose_1000-sparse-gs2-groups_12", "dose_1000-sparse-gs2-groups_24",
    ]  # fmt: skip
    assert {job.gridsize for job in study.jobs if job.view == "dense"} == {1, 2}


def test_a_section_is_swept_as_a_whole_with_names(folder: Path) -> None:
    values = [None, {"unet_widths": [8, 16], "epochs": 1}]
    study = loaded(folder, {"refined": {"training.refiner": values, "labels": [False, True]}})
    refiners = {dict(job.sweep)["refined"]: study.of(job).design.training.refiner for job in study.jobs}
    assert refiners["false"] is None
    assert refiners["true"] is not None
    assert refiners["true"].epochs == 1


KEYS: dict[str, list[Any]] = {
    "training.learning_rate": [1e-3, 2e-3, 3e-3, 1e-5],
    "training.epochs": [1, 2, 3],
    "scan.positions": [192, 256, 320],
    "base.procedural.object": ["siemens_star", "random_edges", "weak_contrast"],
    "design.neighbor_count": [4, 5, 6],
    "design.patch_size_px": [32, 64],
    "design.split.axis": ["x", "y"],
    "design.seeds.simulation": [1, 2, 3],
    "design.seeds.subsampling": [1, 2],
    "design.views.sparse.groups": [8, 12, 24],
    "design.views.dense.nominal_overlap": [0.5, 0.7],
}
keys = st.lists(st.sampled_from(sorted(KEYS)), min_size=1, max_size=3, unique=True)


@st.composite
def axes_of(draw: st.DrawFn) -> dict[str, dict[str, list[Any]]]:
    """Axes over random keys with random values; sometimes two keys go together."""
    chosen = draw(keys)
    groups = [chosen[:2], *([key] for key in chosen[2:])] if draw(st.booleans()) else [[key] for key in chosen]
    axes = {}
    for number, group in enumerate(groups):
        length = min(draw(st.integers(1, 2)), *(len(KEYS[key]) for key in group))
        axes[f"a{number}"] = {key: draw(st.permutations(KEYS[key]))[:length] for key in group}
    return axes


@settings(max_examples=25)
@given(axes_of(), st.data())
def test_the_matrix_is_the_product_less_the_exclusions_and_each_job_has_the_values_of_its_cell(
    folder: Path, axes: dict[str, dict[str, list[Any]]], data: st.DataObject
) -> None:
    whole = loaded(folder, axes)
    views = {name: [axis for axis in whole.design.sweep.directions if axis.counts_in(name)] for name in PLAIN["design"]["views"]}  # type: ignore[union-attr]
    assert len(whole.jobs) == 2 * sum(_product(len(axis.labels) for axis in own) for own in views.values())
    assert len({job.job_id for job in whole.jobs}) == len({job.folder for job in whole.jobs}) == len(whole.jobs)
    plain = _flat(whole.design)
    for job in first_of_each(whole.jobs, lambda job: (job.view, job.sweep)):
        expected = {key: value for axis, label in job.sweep for key, value in _settings(whole, axis, label).items()}
        design = whole.of(job).design
        assert {key: value_of(design, key) for key in expected} == expected
        assert {key for key, value in _flat(design).items() if plain.get(key) != value} <= set(expected)

    gone = data.draw(st.sampled_from(whole.jobs))
    entry = {"view": gone.view, **dict(gone.sweep)}
    left = [job for job in whole.jobs if (job.view, job.sweep) != (gone.view, gone.sweep)]
    if left:
        assert [job.job_id for job in loaded(folder, axes, [entry]).jobs] == [job.job_id for job in left]


def _product(numbers: Iterator[int]) -> int:
    result = 1
    for number in numbers:
        result *= number
    return result


def _settings(study: LoadedStudy, axis: str, label: str) -> dict[str, Any]:
    (own,) = (one for one in study.design.sweep.directions if one.name == axis)  # type: ignore[union-attr]
    return own.settings(own.labels.index(label))


def _flat(design: StudyDesign) -> dict[str, Any]:
    def leaves(section: Any, path: str) -> Iterator[tuple[str, Any]]:
        if isinstance(section, dict):
            for key, value in section.items():
                yield from leaves(value, f"{path}.{key}" if path else key)
        else:
            yield path, section

    return dict(leaves(design.model_dump(mode="json", exclude={"sweep"}), ""))


@settings(max_examples=25)
@given(axes_of())
def test_folders_of_data_are_the_same_where_the_recipes_are(folder: Path, axes: dict[str, dict[str, list[Any]]]) -> None:
    study = loaded(folder, axes)
    datasets: dict[Any, set[str]] = {}
    views: dict[Any, set[str]] = {}
    for job in study.jobs:
        variant = study.of(job)
        dataset = variant.design.dataset_recipe(job.dose_photons, variant.base_sha256).sha256()
        view = variant.design.view_recipe(job.dose_photons, job.view, variant.base_sha256).sha256()
        datasets.setdefault((job.dose_photons, job.dataset), set()).add(dataset)
        views.setdefault(job.data, set()).add(view)
    for found in (datasets, views):
        assert all(len(recipes) == 1 for recipes in found.values())
        assert len({recipe for recipes in found.values() for recipe in recipes}) == len(found)


@settings(max_examples=25)
@given(axes_of())
def test_solvers_run_once_on_each_scan_and_every_network_has_its_own(folder: Path, axes: dict[str, dict[str, list[Any]]]) -> None:
    study = loaded(folder, axes)
    solvers = LoadedStudy(phase_f(study.design), None, {})
    assert len({job.job_id for job in solvers.jobs}) == len({job.folder for job in solvers.jobs}) == len(solvers.jobs)
    solved = {(job.data, job.solver): job for job in solvers.jobs}
    seen: dict[Any, Any] = {}
    for job in study.jobs:
        own = solved[job.scan, "gradient"]
        design, other = study.of(job).design, solvers.of(own).design
        assert design.dataset_recipe(1e3, None) == other.dataset_recipe(1e3, None)
        share = design.design.views[job.view].image_fraction
        assert share == other.design.views[own.view].image_fraction
        what = job.dose_photons, design.dataset_recipe(1e3, None).sha256(), share, share < 1 and design.design.seeds.subsampling
        assert seen.setdefault(what, own) == own, "one run a scan"
    assert len(seen) == len(solvers.jobs) / len(study.design.iterative.solvers)


def test_a_stored_study_of_a_sweep_reads_as_it_was_written(folder: Path) -> None:
    study = loaded(folder, {"rate": {"training.learning_rate": [1e-3, 3e-3]}}, [{"rate": 3e-3, "view": ["sparse"]}])
    again = stored_design(study.design.model_dump(mode="json"))
    assert LoadedStudy(again, None, {}).jobs == study.jobs
    assert again.sweep is not None
    assert again.sweep.exclude == ({"rate": ["0.003"], "view": ["sparse"]},)


@settings(max_examples=25)
@given(axes_of(), st.randoms(use_true_random=False))
def test_whatever_values_are_added_in_whatever_order_what_was_there_stays(
    tmp_path_factory: pytest.TempPathFactory, axes: dict[str, dict[str, list[Any]]], random: Random
) -> None:
    folder = tmp_path_factory.mktemp("grown")
    paths = StudyPaths(folder)
    before = joined(paths, loaded(folder, axes))
    write_study(paths, before)
    longer = {name: {key: [*own, *_others(key, own)] for key, own in section.items()} for name, section in axes.items()}
    more = {name: _shuffled(section, random) for name, section in longer.items()}
    after = joined(paths, loaded(folder, more))
    digests = [
        {job: job_config(study.of(job).design, job, "data").config_sha256() for job in study.jobs} for study in (before, after)
    ]
    assert digests[0].items() <= digests[1].items()
    write_study(paths, after)
    assert read_study(paths).jobs == after.jobs
    if more != axes and len(after.jobs) > len(before.jobs):
        with pytest.raises(StudyChangedError, match=r"sweep.axes.a\d"):
            joined(paths, loaded(folder, axes))


def _others(key: str, values: list[Any]) -> list[Any]:
    """One more value, where there is one."""
    return [value for value in KEYS[key] if value not in values][:1]


def _shuffled(own: dict[str, list[Any]], random: Random) -> dict[str, list[Any]]:
    """The places of an axis in another order; keys that go together stay together, as far as all have a value."""
    rows = list(zip(*own.values(), strict=False))
    random.shuffle(rows)
    return {key: list(values) for key, values in zip(own, zip(*rows, strict=True), strict=True)}


def test_a_view_that_was_skipped_at_a_place_of_the_sweep_is_known_by_it(folder: Path) -> None:
    jobs = loaded(folder, {"k": {"design.neighbor_count": [4, 5]}} | RATE).jobs
    for condition in {job.data for job in jobs}:
        assert skipped_condition(json.loads(json.dumps(skipped_view(condition, "too few")))) == condition
        assert [axis for axis, _ in condition.sweep] == ["k"]


def test_a_stored_cell_that_is_no_study_is_said_in_words(folder: Path) -> None:
    paths = StudyPaths(folder / "newer")
    write_study(paths, loaded(folder, RATE))
    stored = json.loads(paths.study.read_text())
    stored["resolved"]["sweep"]["axes"]["rate"]["training.learning_rate"][1] = "fast"
    paths.study.write_text(json.dumps(stored))
    with pytest.raises(StudyError, match=r"The sweep's rate_0.003 is no study: training.learning_rate: .* of a newer version"):
        _ = read_study(paths).jobs


def test_where_selects_by_a_label_or_by_the_value(folder: Path) -> None:
    axes = {
        "rate": {"training.learning_rate": [1e-3, 3e-3]},
        "object": {"base.procedural.object": ["siemens_star", "random_edges"]},
    }
    jobs = loaded(folder, axes).jobs
    for rate in ("3e-3", "0.003"):
        chosen = select(jobs, JobFilter(where=(("rate", rate), ("object", "siemens_star"))))
        assert {job.sweep for job in chosen} == {(("rate", "0.003"), ("object", "siemens_star"))}
    assert len(select(jobs, JobFilter(where=(("rate", "1e-3"), ("rate", "3e-3"))))) == len(jobs)
    with pytest.raises(RequestError, match=r"--where rate=2e-3 matches no job; the study has 0.001, 0.003"):
        select(jobs, JobFilter(where=(("rate", "2e-3"),)))
    with pytest.raises(RequestError, match=r"--where speed=1 matches no job; the study has the axes rate, object"):
        select(jobs, JobFilter(where=(("speed", "1"),)))


@pytest.mark.parametrize(
    ("key", "value", "label"),
    [
        ("", 1e-3, "0.001"), ("", 100000.0, "100000"), ("", 0.1 + 0.2, "0.30000000000000004"), ("", 1e-5, "1e-05"),
        ("", True, "true"), ("", 64, "64"), ("", [16, 32], "16x32"),
        ("base.measured", "/scans/siemens.npz", "siemens"), ("", "x_y", "x_y"),
        ("", None, None), ("", {"a": 1}, None), ("", "two words", None), ("", "a/b", None), ("", "x" * 41, None), ("", [], None),
    ],
)  # fmt: skip
def test_what_a_value_is_called(key: str, value: Any, label: str | None) -> None:
    assert value_label(key, value) == label


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_name_of_a_number_is_that_number(value: float) -> None:
    assert float(value_label("", value) or "nan") == value


RATE = {"rate": {"training.learning_rate": [1e-3, 3e-3]}}
REFUSED: list[tuple[Any, Any, str]] = [
    ({"dose": {"training.epochs": [1]}}, (), "an axis cannot be called dose: dose, view, .* labels are taken"),
    ({"Rate": {"training.epochs": [1]}}, (), "sweep.axes"),
    ({"rate": {"labels": ["a"]}}, (), "the axis rate has no key of the study; allowed are keys below base, .* training"),
    ({"rate": {"training.learning_rat": [1]}}, (), "training has no key 'learning_rat'; .* Did you mean 'learning_rate'?"),
    ({"rate": {"trainin.epochs": [1]}}, (), "the study has no key 'trainin'; allowed are .* Did you mean 'training'?"),
    ({"rate": {"training.epochs.more": [1]}}, (), "training.epochs has no key 'more'"),
    ({"rate": {"training": [None]}}, (), "training is a whole section; .* Name a key of it, as training.KEY"),
    ({"rate": {"design.seeds": [None]}}, (), "design.seeds is a whole section"),
    ({"name": {"study": ["a", "b"]}}, (), "study names the whole study; .* Give another study a YAML of its own"),
    ({"mem": {"resources.mem": ["4G", "8G"]}}, (), "resources.mem is no part of a job's identity; .* Set resources for all jobs"),
    ({"threads": {"training.threads": [1, 2]}}, (), "training.threads says how a job runs, and is no part of its identity"),
    ({"device": {"training.device": ["cpu", "cuda"]}}, (), "training.device says how a job runs"),
    ({"epochs": {"iterative.solvers.gradient.epochs": [1, 2]}}, (), "solvers are an axis of Phase F already; .* List them"),
    ({"photons": {"design.doses_photons": [[1e3], [1e4]]}}, (), "design.doses_photons is an axis already; .* List the doses"),
    ({"seeds": {"design.seeds.training": [0, 1]}}, (), "design.seeds.training is an axis already; .* List the seeds there"),
    ({"views": {"design.views": [{}]}}, (), "design.views is an axis already; allowed are keys of one view"),
    ({"groups": {"design.views.thick.groups": [1, 2]}}, (), "design.views has no key 'thick'; allowed are dense, alone, sparse"),
    (RATE | {"other": {"training.learning_rate": [1]}}, (), "of the axis other and .* of the axis rate set the same"),
    (
        {"refiner": {"training.refiner": [None], "labels": ["none"]}, "passes": {"training.refiner.epochs": [1]}},
        (),
        "training.refiner.epochs of the axis passes and training.refiner of the axis refiner set the same thing",
    ),
    (
        {"scan": {"scan.positions": [192, 256], "design.patch_size_px": [32]}},
        (),
        "go together, one after another, but in scan scan.positions has 2, design.patch_size_px has 1. Write as many values",
    ),
    ({"rate": {"training.learning_rate": [1e-3, 3e-3], "labels": ["slow"]}}, (), "training.learning_rate has 2, labels has 1"),
    ({"rate": {"training.learning_rate": []}}, (), "sweep.axes.rate.training.learning_rate: .* at least 1 item"),
    ({"rate": {"training.learning_rate": 1e-3}}, (), "sweep.axes.rate.training.learning_rate: .* valid tuple"),
    ({"rate": {"training.learning_rate": [1e-3, 0.001]}}, (), "rate has the same value twice: training.learning_rate 0.001"),
    ({"refiner": {"training.refiner": [None]}}, (), "no short name for ids .*training.refiner: None.*Name the values: `labels"),
    ({"rate": {"training.epochs": [1, 2], "labels": ["a b", "c"]}}, (), "'a b' of the axis rate cannot name a folder; allowed"),
    (
        {"rate": {"training.epochs": [1, 2], "labels": ["A", "a"]}},
        (),
        "two values of the axis rate would be called a: 1 and 2. Name them",
    ),
    ({"rate": {"training.learning_rate": [1e-3, -1]}}, (), "rate_-1: training.learning_rate: .* than 0; got -1. Change"),
    (RATE, [{"speed": 1}], "an exclusion names speed, but the study has the axes dose, view, gridsize, seed, rate"),
    (RATE, [{"rate": 2e-3}], "an exclusion names rate 0.002, but the study has 0.001, 0.003"),
    (RATE, [{"view": "thick"}], "an exclusion names view thick, but the study has dense, alone, sparse"),
    (RATE, [{"dose": 5e3}], "an exclusion names dose 5000.0, but the study has 1000, 10000"),
    (RATE, [{"rate": []}], "an exclusion has no value for rate"),
    (RATE, [{"rate": 1e-3, "gridsize": 3}], r"the exclusion \{rate: \['0.001'\], gridsize: \[3\]\} leaves no cell out"),
    (RATE, [{"rate": [1e-3, 3e-3]}], "the exclusions leave no job"),
]  # fmt: skip


@pytest.mark.parametrize(("axes", "exclude", "words"), REFUSED)
def test_what_cannot_be_is_refused_in_words_with_its_line(folder: Path, axes: Any, exclude: Any, words: str) -> None:
    with pytest.raises(StudyError, match=rf"^{folder}/swept.yaml:\d+: .*{words}"):
        loaded(folder, axes, exclude)


def test_values_that_do_not_go_together_are_refused_unless_they_are_excluded(folder: Path) -> None:
    axes = {"size": {"design.views.dense.gridsize": [2, 3]}, "k": {"design.neighbor_count": [4, 9]}}
    with pytest.raises(StudyError, match=r"size_3, k_4: design: neighbor_count is 4, but view dense .* leave the cell out"):
        loaded(folder, axes)
    study = loaded(folder, axes, [{"size": 3, "k": 4}])
    assert {job.sweep for job in study.jobs if job.view == "dense"} == {
        (("size", size), ("k", k)) for size, k in itertools.product("23", "49") if (size, k) != ("3", "4")
    }


def test_a_flag_does_not_set_what_the_sweep_sets(folder: Path) -> None:
    with pytest.raises(StudyError, match=r"--set training.learning_rate: the axis rate of the sweep sets .* --where rate=VALUE"):
        loaded(folder, RATE, overrides=[("training.learning_rate", 1.0)])


def test_a_base_that_the_sweep_gives_need_not_stand_outside(folder: Path) -> None:
    for name in ("siemens", "spokes"):
        (folder / f"{name}.npz").write_bytes(name.encode())
    axes = {
        "scan": {"base.npz": ["siemens.npz", "spokes.npz"], "design.patch_size_px": [64, 128], "labels": ["siemens", "spokes"]}
    }
    file = folder / "two.yaml"
    file.write_text(yaml.safe_dump({"study": "two", "sweep": {"axes": axes}}))
    study = load_study(file)
    found = {dict(job.sweep)["scan"]: study.of(job) for job in study.jobs}
    assert {name: variant.design.base.npz for name, variant in found.items()} == {
        name: str(folder / f"{name}.npz") for name in ("siemens", "spokes")
    }
    assert len({variant.base_sha256 for variant in found.values()}) == 2
    assert study.base_sha256 is None
    (folder / "elsewhere").mkdir()
    (folder / "siemens.npz").rename(folder / "elsewhere" / "siemens.npz")
    axes["scan"]["base.npz"] = ["elsewhere/siemens.npz", "spokes.npz"]
    file.write_text(yaml.safe_dump({"study": "two", "sweep": {"axes": axes}}))
    assert load_study(file).sha256 == study.sha256, "a base file counts by its content"
    (folder / "copy.npz").write_bytes((folder / "spokes.npz").read_bytes())
    file.write_text(yaml.safe_dump({"study": "two", "sweep": {"axes": {"scan": {"base.npz": ["copy.npz", "spokes.npz"]}}}}))
    with pytest.raises(StudyError, match=r"two.yaml:\d+: .*copy.npz and .*spokes.npz of the axis scan have the same content"):
        load_study(file)
    axes["scan"]["base.npz"] = ["absent.npz", "spokes.npz"]
    file.write_text(yaml.safe_dump({"study": "two", "sweep": {"axes": axes}}))
    with pytest.raises(StudyError, match=r"two.yaml:\d+: base.npz: .*absent.npz cannot be read.* Correct the axis scan"):
        load_study(file)


def test_ten_thousand_jobs_are_checked_and_expanded_in_a_moment(folder: Path) -> None:
    """A second on one core of a busy machine; the bound tells a cell that is checked for each job from one that is not."""
    axes = {
        "rate": {"training.learning_rate": [1e-4 * (number + 1) for number in range(40)]},
        "positions": {"scan.positions": list(range(192, 234))},
    }
    before = time.process_time()
    assert len(loaded(folder, axes).jobs) == 2 * 3 * 40 * 42
    assert time.process_time() - before < 6
