"""Studies on a Slurm, as tests run them: what is asked for, what is waited for, and what there is to see afterwards."""

import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from command import REPOSITORY, Answer, Workplace

ONE = ("--dose", "1000", "--view", "baseline")
ONE_ID = "dose_1000-baseline-gs1"
DOSE = ("--dose", "1000")
DOSE_IDS = ("dose_1000-baseline-gs1", "dose_1000-dense-gs2", "dose_1000-sparse-gs2")


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = 400, every_s: float = 0.25) -> Any:
    """The first true value of a condition."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {timeout_s:.0f} s in vain: {what}"
        time.sleep(every_s)
    return value


@dataclass(frozen=True)
class SlurmStudy:
    """The smoke study in a folder of its own, on some Slurm."""

    place: Workplace
    datasets: Path | None = None
    """The `data` folder of a study whose datasets serve; None makes them anew."""

    def submit(self, *arguments: str | Path, partition: str = "gpu", trainer: str | None = None, **environment: object) -> Answer:
        """Submit the smoke study, its jobs trained by another module where one is named."""
        roots = (
            ()
            if self.datasets is None
            else ("--phase-c-root", self.datasets / "phase_c", "--phase-d-root", self.datasets / "phase_d")
        )
        variables = {name: str(value) for name, value in environment.items()}
        if trainer is not None:
            variables |= {"FLY64_TRAINER": trainer, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'tests'}"}
        env = ("--set", f"resources.env={json.dumps(variables)}") if variables else ()
        return self.place.submit("--partition", partition, *roots, *env, *arguments)

    def good(self, answer: Answer) -> Answer:
        """An answer that must be exit code 0."""
        assert answer.code == 0, answer.out + answer.err
        return answer

    def collect(self) -> Answer:
        """Collect, in a new process."""
        return self.place.run("collect", "--study-dir", self.place.study)

    def retry(self, *arguments: str) -> Answer:
        """Retry, in a new process."""
        return self.place.run("retry", "--study-dir", self.place.study, *arguments)

    def status(self) -> dict[str, dict[str, str]]:
        """Every job as `status` shows it."""
        answer = self.place.run("status", "--study-dir", self.place.study, "--json")
        return {row["job"]: row for row in json.loads(answer.out)["jobs"]}

    def job(self, job_id: str = ONE_ID) -> dict[str, Any]:
        """One job of the manifest as it lies there."""
        return self.place.job(job_id)

    def collected(self, job_id: str = ONE_ID) -> dict[str, Any]:
        """One job, collected now."""
        self.collect()
        return self.place.job(job_id)

    def wait_for(self, state: str, *job_ids: str, timeout_s: float = 600) -> dict[str, Any]:
        """Collect until the manifest has the jobs in a state; the first of them is returned."""
        ids = job_ids or (ONE_ID,)
        last: dict[str, str] = {}

        def reached() -> bool:
            self.collect()
            last.update({job_id: f"{self.job(job_id)['state']}: {self.job(job_id)['state_reason']}" for job_id in ids})
            return all(self.job(job_id)["state"] == state for job_id in ids)

        try:
            wait_until(reached, state, timeout_s, every_s=1)
        except AssertionError:
            raise AssertionError(f"not {state} within {timeout_s:.0f} s but {last}") from None
        return self.job(ids[0])

    def wait_for_manifest(self, counts: dict[str, int], timeout_s: float = 900) -> dict[str, Any]:
        """Wait, and never collect: the collector job alone must bring the manifest to these counts."""

        def written() -> dict[str, Any] | None:
            manifest = self.place.manifest()
            return manifest if all(manifest["counts"][state] == count for state, count in counts.items()) else None

        found: dict[str, Any] = wait_until(written, f"a manifest with {counts}", timeout_s, every_s=1)
        return found

    def folder(self, job_id: str = ONE_ID) -> Path:
        """A job's folder."""
        dose, view, gridsize = job_id.split("-")
        return self.place.study / "phase_e_training" / dose / view / gridsize

    def record(self, attempt: int, job_id: str = ONE_ID) -> dict[str, Any]:
        """The record of one attempt."""
        found: dict[str, Any] = json.loads((self.folder(job_id) / "attempts" / f"{attempt:03d}" / "result.json").read_text())
        return found

    def wait_for_attempt(self, attempt: int, job_id: str = ONE_ID) -> None:
        """Wait until an attempt has begun."""
        wait_until((self.folder(job_id) / "attempts" / f"{attempt:03d}" / "result.json").exists, f"attempt {attempt}")

    def wait_for_epochs(self, epochs: int, attempt: int = 1, job_id: str = ONE_ID, timeout_s: float = 400) -> None:
        """Wait until an attempt has saved so many epochs, counted from the start."""
        folder = self.folder(job_id) / "checkpoints" / f"{attempt:03d}"
        wait_until(
            lambda: any(json.loads(file.read_text())["epoch"] >= epochs for file in folder.glob("step_*.json")),
            f"epoch {epochs} of attempt {attempt}",
            timeout_s,
        )

    def submission(self, number: int = 1) -> dict[str, Any]:
        """The record of one submission."""
        found: dict[str, Any] = json.loads((self.place.study / "submissions" / f"{number:04d}.json").read_text())
        return found

    def parts(self, number: int = 1, kind: str = "train") -> list[dict[str, Any]]:
        """Its parts of one kind, those that Slurm had no room for left out."""
        return [part for part in self.submission(number)["parts"] if part["kind"] == kind and part["state"] != "refused"]

    def task_id(self, number: int = 1, job_id: str = ONE_ID) -> str:
        """What Slurm calls a job's task: `12_0`."""
        part = next(part for part in self.parts(number) if job_id in part["jobs"])
        return f"{part['scheduler_job_id']}_{part['jobs'].index(job_id)}"

    def bundle(self, job_id: str = ONE_ID) -> str:
        """The sha256 of a job's bundle, as the manifest has it."""
        return str(self.job(job_id)["result"]["bundle_sha256"])

    def with_programs(self, folder: Path) -> "SlurmStudy":
        """The same study, with other programs first on the PATH."""
        environment = dict(self.place.environment or {})
        environment["PATH"] = f"{folder}:{environment['PATH']}"
        return dataclasses.replace(self, place=dataclasses.replace(self.place, environment=environment))


def program(folder: Path, name: str, text: str) -> Path:
    """Put a shell script of a name into a folder, which is returned."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"#!/bin/bash\n{text}\n")
    (folder / name).chmod(0o755)
    return folder


def finished_states(study: SlurmStudy, ids: Sequence[str]) -> list[str]:
    """The states of some jobs in the manifest."""
    return [study.job(job_id)["state"] for job_id in ids]
