"""The submitter may be killed at any instruction: no job is lost, none is submitted twice, and the next submit goes on."""

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from command import REPOSITORY, SMOKE, Workplace
from slurm_machines import NODES, Slurm
from slurm_study import ONE, SlurmStudy

fake_only = pytest.mark.parametrize("slurm", ["fake"], indirect=True)


@pytest.fixture
def studies(slurm: Slurm, prepared: Path, tmp_path: Path) -> Callable[[int], SlurmStudy]:
    """Studies by their numbers, on a Slurm that hears of no node: what is submitted waits, and costs nothing."""
    for node in NODES:
        slurm.cut_off_node(node)

    def study(number: int) -> SlurmStudy:
        folder = tmp_path / str(number)
        folder.mkdir(exist_ok=True)
        return SlurmStudy(Workplace(folder, slurm.environment()), prepared)

    return study


def submit_and_die(study: SlurmStudy, number: int) -> tuple[int, int]:
    """Submit one job, killed before the `number`-th thing it does; the exit code, and how many things were done."""
    count = study.place.folder / "count"
    flags: list[str | Path] = ["--study", SMOKE, "--partition", "gpu", *ONE, "--phase-c-root", f"{study.datasets}/phase_c"]
    command: list[str | Path] = [sys.executable, REPOSITORY / "tests" / "kill_at.py", str(number), count, "submit", *flags]
    environment = os.environ | (study.place.environment or {})
    answer = subprocess.run(command, cwd=study.place.folder, env=environment, capture_output=True, check=False)
    return answer.returncode, int(count.read_text()) if count.exists() else 0


@fake_only
def test_killed_before_each_thing_that_it_does_to_files_and_processes(studies: Callable[[int], SlurmStudy], slurm: Slurm) -> None:
    code, things = submit_and_die(studies(0), 0)
    assert (code, things > 30) == (0, True)

    def killed_and_again(number: int) -> tuple[int, int]:
        return submit_and_die(studies(number), number)[0], submit_and_die(studies(number), 0)[0]

    numbers = range(1, things + 1)
    with ThreadPoolExecutor(2) as pool:
        codes = dict(zip(numbers, pool.map(killed_and_again, numbers), strict=True))
    assert codes == dict.fromkeys(numbers, (-9, 0))
    on_record = {number: {part["tag"] for part in studies(number).submission()["parts"]} for number in range(things + 1)}
    with_slurm = slurm.call("squeue", "--states=all", "--noheader", "--format=%j").split()
    wrong = {number: tags for number, tags in on_record.items() if any(with_slurm.count(tag) != 1 for tag in tags)}
    assert (wrong, len(with_slurm)) == ({}, 2 * len(on_record)), "each is with Slurm once, and nothing else is"
    assert {len(tags) for tags in on_record.values()} == {2}, "the array and the collector job"
    assert not [number for number in numbers if (studies(number).place.study / "submissions" / "0002.json").exists()]
