"""The smoke study on this machine's supervisor, on datasets that are there, its jobs trained by nobody."""

from dataclasses import dataclass
from pathlib import Path

from command import REPOSITORY, Answer, Workplace


@dataclass(frozen=True)
class LocalStudy:
    """A study in a folder of its own; `trainer` stands for what trains, a step of it lasts `step_s`."""

    folder: Path
    datasets: Path
    """The `data` folder of a study whose datasets serve."""
    trainer: str = "idle_trainer"
    step_s: float = 0

    @property
    def place(self) -> Workplace:
        variables = {"FLY64_TRAINER": self.trainer, "IDLE_STEP_S": str(self.step_s), "CUDA_VISIBLE_DEVICES": ""}
        return Workplace(self.folder, variables | {"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'tests'}"})

    def submit(self, *arguments: str) -> Answer:
        """Submit to the supervisor."""
        roots = ("--phase-c-root", self.datasets / "phase_c", "--phase-d-root", self.datasets / "phase_d")
        return self.place.submit("--executor", "local", *roots, *arguments)
