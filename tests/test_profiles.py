"""The site profiles: every one loads, asks as its centre documents, and fits one GPU's share of a node."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from fly64_hpc import study_loading
from fly64_hpc.errors import StudyError
from fly64_hpc.resources import Resources, memory_mib, time_limit_min
from fly64_hpc.study_loading import PROFILE_FOLDER, load_study, read_profile
from fly64_hpc.study_yaml import read_yaml

STUDIES = sorted(Path("configs").glob("*.yaml"))
PROFILES = sorted(file.stem for file in PROFILE_FOLDER.glob("*.yaml"))
MINIMAL = "study: tiny\nbase:\n  procedural: {object: siemens_star}\n"


@dataclass(frozen=True)
class Documented:
    """What a centre's pages say of a job with one GPU and of one without; the pages are named in the profile."""

    gpu_request: dict[str, str]
    gpu_job: dict[str, str | None]
    cpu_job: dict[str, str | None]
    cpus_of_a_gpu: int
    memory_of_a_gpu: str
    longest: str


CENTRES = {
    "perlmutter": Documented(
        gpu_request={"gpus_per_node": "1"},
        gpu_job={"partition": None, "qos": "shared", "constraint": "gpu"},
        cpu_job={"partition": None, "qos": "shared", "constraint": "cpu"},
        cpus_of_a_gpu=32,
        memory_of_a_gpu="59G",
        longest="48:00:00",
    ),
    "delta": Documented(
        gpu_request={"gpus_per_node": "1"},
        gpu_job={"partition": "gpuA100x4", "qos": None, "constraint": None},
        cpu_job={"partition": "cpu", "qos": None, "constraint": None},
        cpus_of_a_gpu=16,
        memory_of_a_gpu="52G",
        longest="48:00:00",
    ),
    "csd3": Documented(
        gpu_request={"gres": "gpu:1"},
        gpu_job={"partition": "ampere", "qos": None, "constraint": None},
        cpu_job={"partition": "icelake", "qos": None, "constraint": None},
        cpus_of_a_gpu=32,
        memory_of_a_gpu="250G",
        longest="12:00:00",
    ),
    "mahuika": Documented(
        gpu_request={"gpus_per_node": "a100:1"},
        gpu_job={"partition": "milan", "qos": None, "constraint": None},
        cpu_job={"partition": "milan", "qos": None, "constraint": None},
        cpus_of_a_gpu=31,
        memory_of_a_gpu="238G",
        longest="21-00:00:00",
    ),
}
CENTRE = pytest.mark.parametrize("name", sorted(CENTRES))


def resources_of(name: str) -> Resources:
    return Resources.model_validate(read_profile(name).data)


def where(resources: Resources) -> dict[str, str | None]:
    return {"partition": resources.partition, "qos": resources.qos, "constraint": resources.constraint}


def test_every_profile_is_either_a_documented_centre_or_the_test_cluster() -> None:
    assert set(PROFILES) == {*CENTRES, "test_cluster"}


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.stem)
@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_lies_under_every_shipped_study(name: str, study: Path) -> None:
    """What the study says stands; what it leaves open is the profile's, with the profile's file as origin."""
    said: dict[str, Any] = read_yaml(study).data.get("resources", {})
    profile: dict[str, Any] = read_profile(name).data
    loaded = load_study(study, profile=name, with_base=False)
    assert loaded.design.resources == Resources.model_validate(profile | said)
    for key in profile.keys() - said.keys():
        assert f"{name}.yaml:" in loaded.origin(("resources", key))


@pytest.mark.parametrize("name", PROFILES)
def test_a_study_that_says_nothing_of_its_resources_gets_the_profile_whole(name: str, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(MINIMAL)
    assert load_study(path, profile=name).design.resources == resources_of(name)


@CENTRE
def test_a_gpu_is_asked_for_as_the_centre_documents(name: str) -> None:
    resources, documented = resources_of(name), CENTRES[name]
    assert resources.gpu_request == documented.gpu_request
    assert where(resources) == documented.gpu_job


@CENTRE
def test_a_job_without_gpu_goes_where_the_centre_has_such_nodes(name: str) -> None:
    resources = resources_of(name).without_gpus()
    assert resources.gpu_request == {}
    assert where(resources) == CENTRES[name].cpu_job


@CENTRE
def test_a_job_fits_the_share_of_one_gpu_even_after_it_asked_for_more_memory(name: str) -> None:
    resources, documented = resources_of(name), CENTRES[name]
    assert resources.mem is not None
    assert resources.retry.mem_cap is not None
    assert 4 <= resources.cpus_per_task <= documented.cpus_of_a_gpu
    assert memory_mib(resources.mem) <= memory_mib(resources.retry.mem_cap) <= memory_mib(documented.memory_of_a_gpu)


@pytest.mark.parametrize("name", PROFILES)
def test_the_time_limits_are_read(name: str) -> None:
    resources = resources_of(name)
    hours, minutes, seconds = (int(part) for part in resources.time.split(":"))
    assert resources.time_limit_min == hours * 60 + minutes + seconds / 60
    assert resources.without_gpus().time_limit_min == time_limit_min(resources.cpu_time)


@CENTRE
def test_the_time_limits_are_within_the_longest_that_the_centre_allows(name: str) -> None:
    resources = resources_of(name)
    longest_min = time_limit_min(CENTRES[name].longest)
    assert max(resources.time_limit_min, resources.without_gpus().time_limit_min) <= longest_min


@CENTRE
def test_a_profile_says_where_it_is_from_and_what_nobody_has_tried(name: str) -> None:
    text = (PROFILE_FOLDER / f"{name}.yaml").read_text()
    assert re.search(r"https://\S+", text)
    assert re.search(r"^# Read in \w+ 20\d\d", text, re.MULTILINE)
    assert "# Not verified" in text


@CENTRE
def test_a_profile_guesses_no_account_and_holds_no_path(name: str) -> None:
    data = read_profile(name).data
    assert {"account", "cpu_account", "env"}.isdisjoint(data)
    assert "/" not in yaml.safe_dump(data)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("partition: gpu\ngpus_per_nod: 1", r"mine\.yaml:2: resources has no key 'gpus_per_nod'.*Did you mean 'gpus_per_node'\?"),
        ("partition: gpu\nmem: 8G\nretry: {mem_cup: 8G}", r"mine\.yaml:3: resources\.retry has no key 'mem_cup'"),
        ("resources: {partition: gpu}", r"mine\.yaml:1: resources has no key 'resources'"),
        ("# a comment\ntime: soon", r"mine\.yaml:2: resources\.time: is no time limit.*got 'soon'"),
        ("- partition", "mine.yaml:1: holds no `key: value` lines"),
    ],
)
def test_a_wrong_profile_is_refused_with_file_and_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str, words: str
) -> None:
    monkeypatch.setattr(study_loading, "PROFILE_FOLDER", tmp_path / "profiles")
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "mine.yaml").write_text(lines + "\n")
    study = tmp_path / "study.yaml"
    study.write_text(MINIMAL)
    with pytest.raises(StudyError, match=words):
        load_study(study, profile="mine")


def test_the_page_on_profiles_names_every_profile_as_it_asks_for_a_gpu() -> None:
    page = (PROFILE_FOLDER / "README.md").read_text()
    rows = {line.split("`")[1]: line for line in page.splitlines() if line.startswith("| `")}
    assert set(rows) == set(PROFILES)
    for name, row in rows.items():
        ((option, value),) = resources_of(name).gpu_request.items()
        assert f"`--{option.replace('_', '-')}={value}`" in row


def test_the_example_on_the_page_is_a_profile() -> None:
    example = re.search(r"```yaml\n(.*?)```", (PROFILE_FOLDER / "README.md").read_text(), re.DOTALL)
    assert example is not None
    resources = Resources.model_validate(yaml.safe_load(example[1]))
    assert resources.gpu_request == {"gpus_per_node": "h100:1"}
    assert resources.without_gpus().partition == "cpu"
