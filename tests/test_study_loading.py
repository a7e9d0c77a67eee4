"""From files and flags to a study: precedence, origins, and every refusal with its place."""

from pathlib import Path
from typing import Any

import pytest

from fly64_hpc.errors import StudyError
from fly64_hpc.study_loading import Override, load_study, parse_set, read_profile
from fly64_hpc.study_schema import study_schema
from ptycho_torch.config import sha256_file

CONFIGS = Path("configs")
MINIMAL = "study: tiny\nbase:\n  procedural: {object: siemens_star}\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "study.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["fly64_dose_overlap", "fly64_demo", "fly64_smoke"])
def test_the_studies_that_ship_load_and_are_named_as_their_files(name: str) -> None:
    loaded = load_study(CONFIGS / f"{name}.yaml")
    assert loaded.design.study == name
    assert len(loaded.design.design.doses_photons) * len(loaded.design.design.views) == 9


def test_the_default_study_is_the_full_one() -> None:
    design = load_study(CONFIGS / "fly64_dose_overlap.yaml").design
    assert design.design.patch_size_px == 128
    assert design.resources.partition is None, "the site decides where jobs go"


def test_flag_beats_file_beats_profile_beats_default(tmp_path: Path) -> None:
    path = written(tmp_path, MINIMAL + "resources: {partition: mine, cpus_per_task: 3}\n")
    loaded = load_study(path, [Override(("resources", "partition"), "flagged", "--partition")], profile="test_cluster")
    assert loaded.design.resources.partition == "flagged"
    assert loaded.design.resources.cpus_per_task == 3
    assert loaded.origin(("resources", "partition")) == "--partition"
    assert loaded.origin(("resources", "cpus_per_task")) == f"{path}:4"
    assert loaded.origin(("resources", "mem")).startswith(str(Path.cwd() / "batch" / "profiles" / "test_cluster.yaml"))
    assert loaded.origin(("training", "epochs")) == "default"


def test_set_takes_yaml_and_reaches_any_field(tmp_path: Path) -> None:
    sets = [
        parse_set("design.doses_photons=[1e3, 5e3]"),
        parse_set("training.epochs=7"),
        parse_set("design.views.baseline.gridsize=1"),
    ]
    design = load_study(written(tmp_path, MINIMAL), sets).design
    assert design.design.doses_photons == (1e3, 5e3)
    assert design.training.epochs == 7
    assert list(design.design.views) == ["baseline"]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("training: {epocs: 3}", r"study\.yaml:4: training has no key 'epocs'; allowed are .*epochs.* Did you mean 'epochs'\?"),
        ("trainin: {}", r"study\.yaml:4: the study has no key 'trainin'.* Did you mean 'training'\?"),
        ("design:\n  doses_photons: [1e3, -1e4]", r"study\.yaml:5: design\.doses_photons\.1: .*greater than 0; got -10000"),
        (
            "design:\n  neighbor_count: 3",
            r"study\.yaml:4: design: neighbor_count is 3, but view dense has gridsize 2 .*OVERSAMPLING-001",
        ),
        ("design:\n  views:\n    dense: {gridsise: 2}", r"study\.yaml:6: design\.views\.dense has no key 'gridsise'.*'gridsize'"),
        ("design:\n  views:\n    dense: {image_fraction: 0.5}", r"study\.yaml:6: design\.views\.dense\.gridsize is missing"),
        ("design:\n  doses_photons: [1000.2, 1000.4]", "must differ.*once rounded to whole photons"),
        ("scan: {positions: many}", r"study\.yaml:4: scan\.positions: .*integer.*got 'many'"),
        ("resources: {time: soon}", r"study\.yaml:4: resources\.time: is no time limit.*got 'soon'"),
        ("training: {learning_rate: .inf}", r"study\.yaml:4: training\.learning_rate: .*finite"),
    ],
)
def test_a_wrong_value_is_named_with_file_and_line(tmp_path: Path, lines: str, words: str) -> None:
    with pytest.raises(StudyError, match=words):
        load_study(written(tmp_path, MINIMAL + lines + "\n"))


@pytest.mark.parametrize("name", ["a/b", "..", "", "a b", ".hidden"])
def test_a_study_name_that_is_no_folder_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StudyError, match=r"study\.yaml:1: study: names a folder"):
        load_study(written(tmp_path, MINIMAL.replace("tiny", f'"{name}"')))


@pytest.mark.parametrize(
    ("base", "words"),
    [
        ("base: {}", "needs exactly one of npz, procedural and measured; got none"),
        ("base: {npz: gone.npz}", r"study\.yaml:2: base\.npz: .*gone\.npz cannot be read: No such file.*--set base\.npz=FILE"),
        ("base: {npz: a, measured: b}", "got npz, measured"),
    ],
)
def test_a_base_that_cannot_be_is_refused(tmp_path: Path, base: str, words: str) -> None:
    with pytest.raises(StudyError, match=words):
        load_study(written(tmp_path, f"study: tiny\n{base}\n"))


def test_a_flag_is_named_where_its_value_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"--set training\.epochs: training\.epochs: .*got 0"):
        load_study(written(tmp_path, MINIMAL), [parse_set("training.epochs=0")])


@pytest.mark.parametrize("text", ["training.epochs", "=3"])
def test_set_needs_a_key_and_a_value(text: str) -> None:
    with pytest.raises(StudyError, match=r"needs the form key\.path=value"):
        parse_set(text)


def test_a_file_that_is_missing_empty_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="there is no such file"):
        load_study(tmp_path / "gone.yaml")
    with pytest.raises(StudyError, match="holds no `key: value` lines"):
        load_study(written(tmp_path, "- 1\n"))
    (tmp_path / "study.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StudyError, match="cannot be read as text"):
        load_study(tmp_path / "study.yaml")


def test_an_unknown_profile_names_the_known_ones() -> None:
    with pytest.raises(StudyError, match=r"no such site profile; there are .*test_cluster"):
        read_profile("atlantis")


def test_a_base_file_counts_by_content_and_not_by_place(tmp_path: Path) -> None:
    digests = set()
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        (folder / "base.npz").write_bytes(b"same")
        digests.add(load_study(written(folder, "study: tiny\nbase: {npz: base.npz}\n")).sha256)
    assert len(digests) == 1
    assert load_study(tmp_path / "a" / "study.yaml").base_sha256 == sha256_file(tmp_path / "b" / "base.npz")


def test_resources_and_execution_settings_are_no_part_of_a_study(tmp_path: Path) -> None:
    path = written(tmp_path, MINIMAL)
    sets: list[list[Any]] = [
        [],
        [parse_set("resources.partition=big")],
        [parse_set("training.threads=9")],
        [parse_set("scan.jitter_px=2")],
    ]
    plain, partition, threads, jitter = (load_study(path, overrides).sha256 for overrides in sets)
    assert plain == partition == threads != jitter


def test_the_shipped_schema_is_the_one_of_the_models() -> None:
    import json

    assert json.loads((CONFIGS / "study.schema.json").read_text()) == study_schema()
