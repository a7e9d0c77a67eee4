"""The verbs as a user runs them: in a process of their own, from a folder of their own."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
SMOKE = REPOSITORY / "configs" / "fly64_smoke.yaml"


@dataclass(frozen=True)
class Answer:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Workplace:
    """A folder in which commands are run; studies go to `outputs/`, scratch to `logs/`."""

    folder: Path
    environment: dict[str, str] | None = None

    def run(self, verb: str, *arguments: str | Path, timeout_s: float = 900) -> Answer:
        """Run a verb to its end."""
        command = [sys.executable, "-m", f"fly64_hpc.{verb}", *map(str, arguments)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"} | (self.environment or {})
        answer = subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=timeout_s,
            check=False,
        )
        return Answer(answer.returncode, answer.stdout, answer.stderr)

    def submit(self, *arguments: str | Path) -> Answer:
        """Submit the smoke study."""
        return self.run("submit", "--study", SMOKE, *arguments)

    @property
    def study(self) -> Path:
        """The smoke study's directory."""
        return self.folder / "outputs" / "fly64_smoke"

    def manifest(self) -> dict[str, Any]:
        """The smoke study's manifest."""
        manifest: dict[str, Any] = json.loads((self.study / "training_manifest.json").read_text())
        return manifest

    def states(self) -> dict[str, str]:
        """Job id to state, as the manifest has it."""
        return {job["job_id"]: job["state"] for job in self.manifest()["jobs"]}

    def job(self, job_id: str) -> dict[str, Any]:
        """One job of the manifest."""
        return next(job for job in self.manifest()["jobs"] if job["job_id"] == job_id)

    def files(self) -> set[Path]:
        """Everything that lies in the folder."""
        return set(self.folder.rglob("*"))
