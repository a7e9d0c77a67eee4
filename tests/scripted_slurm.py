"""Slurm's commands with answers that a test has written."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fly64_hpc.slurm.calls import CALL_TIMEOUT_S, Answer, SlurmCalls

NO_CONNECTION = "error: Unable to contact slurm controller (connect failure)"
Command = tuple[str, ...]


@dataclass
class ScriptedSlurm(SlurmCalls):
    """Each command prints a text, or answers as a function has it; None is that it does not answer."""

    answers: dict[str, str | Callable[[Command], Answer] | None] = field(default_factory=dict)
    asked: list[Command] = field(default_factory=list)
    defaults: list[tuple[str, ...]] = field(default_factory=list)
    """The user's own variables that each call may see."""

    def __call__(
        self,
        *command: str,
        timeout_s: float = CALL_TIMEOUT_S,
        held_open: Sequence[int] = (),
        defaults: Sequence[str] = (),
    ) -> Answer:
        self.counts[command[0]] += 1
        self.asked.append(command)
        self.defaults.append(tuple(defaults))
        answer = self.answers.get(command[0], "")
        if callable(answer):
            return answer(command)
        return Answer(1, "", f"{command[0]}: {NO_CONNECTION}") if answer is None else Answer(0, answer, "")

    def options(self, command: str, name: str) -> list[str]:
        """What each call of a command got as an option `--name=value`."""
        calls = [asked for asked in self.asked if asked[0] == command]
        return [word.partition("=")[2] for asked in calls for word in asked if word.startswith(f"--{name}=")]
