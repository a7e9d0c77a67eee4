"""Settings and machines that all tests share."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from command import REPOSITORY, SMOKE, Workplace
from finished_study import Finished, finished_study, folder_of_all_workers
from hypothesis import HealthCheck, settings
from slurm_machines import ClusterUnavailableError, FakeMachine, RealSlurm, Slurm

# A core a worker: with a thread a core in each, they wait for one another at the end of every product. Read when torch loads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Machines are shared and the first import of torch takes seconds: time says nothing about a law.
settings.register_profile("laws", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.load_profile("laws")

BOTH = ["fake", pytest.param("real", marks=pytest.mark.slurm)]
GPU_NODES = ("g1", "g2", "g3")
FAULTS = REPOSITORY / "build" / "faults"


@pytest.fixture(scope="session")
def real_slurm() -> Iterator[Slurm]:
    """The cluster on this machine: brought up for this session and taken down after it, unless it was up before."""
    if os.getuid() != 0:
        pytest.skip("the test cluster needs root")
    cluster = RealSlurm()
    was_up = any(cluster.states().values())
    try:
        cluster.up()
        yield cluster
    except ClusterUnavailableError as error:
        pytest.skip(str(error))
    finally:
        if not was_up:
            cluster.down()


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The datasets of the smoke study, made once."""
    place = Workplace(tmp_path_factory.mktemp("prepared"))
    assert place.run("prepare", "--study", SMOKE).code == 0
    return place.study / "data"


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The whole smoke study; to be read, not harmed."""
    return finished_study(folder_of_all_workers(tmp_path_factory.getbasetemp()) / "finished")


@pytest.fixture
def small_disk(real_slurm: Slurm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A disk that a small study fits on; the nodes, which have mount tables of their own, are started anew to see it."""
    folder = tmp_path_factory.mktemp("small")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "fly64-small", str(folder)], check=True)
    for node in GPU_NODES:
        real_slurm.crash_node(node)
        real_slurm.start_node(node)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def fake_slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeMachine]:
    """A small Slurm of this test's own, for what no test does to the real one."""
    yield from _fake(tmp_path_factory)


@pytest.fixture(params=BOTH)
def slurm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """A Slurm of this test's own, or the real one."""
    yield from _slurm(request, tmp_path_factory)


@pytest.fixture(params=BOTH, scope="module")
def slurm_of_module(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """A Slurm that the tests of a module share."""
    yield from _slurm(request, tmp_path_factory)


def _slurm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    if request.param == "real":
        yield request.getfixturevalue("real_slurm")
        return
    yield from _fake(tmp_path_factory)


def _fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeMachine]:
    fake = FakeMachine(tmp_path_factory.mktemp("slurm"))
    fake.up()
    yield fake
    fake.down()


@pytest.fixture
def witness(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Notes what Slurm and what this program said of a fault on the real Slurm, for the page on reliability."""

    def note(slurm_words: str, *jobs: dict[str, Any]) -> None:
        if "real" in request.node.nodeid:
            FAULTS.mkdir(parents=True, exist_ok=True)
            said = [{"state": job["state"], "reason": job["state_reason"]} for job in jobs]
            fact = {"test": request.node.originalname, "id": request.node.name, "slurm": slurm_words, "said": said}
            (FAULTS / f"{request.node.name}.json").write_text(json.dumps(fact, indent=2))

    return note
