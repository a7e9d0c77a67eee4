"""The Slurm executor on a real Slurm: the cluster of batch/test_cluster on this machine. `make test-slurm`."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import REPOSITORY, Workplace

sys.path.insert(0, str(REPOSITORY / "batch" / "test_cluster"))
from cluster import Cluster
from cluster_errors import ClusterUnavailableError

pytestmark = pytest.mark.slurm

DOSE = ("--dose", "1000")
GPU = ("--partition", "gpu")
IDS = ("dose_1000-baseline-gs1", "dose_1000-dense-gs2", "dose_1000-sparse-gs2")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """The cluster, brought up for this module and taken down after it, even where it came up by half."""
    cluster = Cluster()
    try:
        cluster.up()
    except ClusterUnavailableError as error:
        pytest.skip(str(error))
    except BaseException:
        cluster.down()
        raise
    yield cluster
    cluster.down()


@pytest.fixture
def place(cluster: Cluster, tmp_path: Path) -> Iterator[Workplace]:
    """A folder to submit from; whatever was submitted is gone from the cluster afterwards."""
    yield Workplace(tmp_path, cluster.environment())
    cluster.cancel_all()
    cluster.wait_idle()


def collect_until(place: Workplace, states: dict[str, str], timeout_s: float = 240) -> None:
    """Collect, each time in a new process, until the manifest has these states."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = place.run("collect", "--study-dir", place.study)
        if states.items() <= place.states().items():
            return
        assert time.monotonic() < deadline, answer.out + answer.err
        time.sleep(1)


def test_three_jobs_succeed_though_nobody_waits_for_them(place: Workplace) -> None:
    submitted = place.submit(*GPU, *DOSE)  # the process that submitted has ended when this returns
    assert submitted.code == 0, submitted.err
    collect_until(place, dict.fromkeys(IDS, "succeeded"))
    assert place.run("collect", "--study-dir", place.study).code == 0
    schedulers = [place.job(job_id)["scheduler"] for job_id in IDS]
    assert [scheduler["array_index"] for scheduler in schedulers] == [0, 1, 2]
    assert {(scheduler["executor"], scheduler["partition"]) for scheduler in schedulers} == {("slurm", "gpu")}


def test_print_only_shows_the_script_that_slurm_then_has(place: Workplace, cluster: Cluster) -> None:
    printed = json.loads(place.submit(*GPU, *DOSE, "--print-only", "--json").out)
    answer = place.submit(*GPU, *DOSE)
    assert answer.code == 0, answer.err
    array = place.job(IDS[0])["scheduler"]["job_id"]
    assert [cluster.call("scontrol", "write", "batch_script", array, "-")] == printed["scripts"]
