"""Running Slurm's commands: each with a time-out, counted, and in an environment from which no job leaks."""

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

CALL_TIMEOUT_S = 30.0
BATCH_PID_VARIABLE = "FLY64_BATCH_PID"
"""Set in every batch script: the shell whose first environment is that of the submit, before any setup line."""

_OF_THE_SITE = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT", "SLURM_CLUSTERS", "SBATCH_RESERVATION", "SBATCH_CLUSTERS")
_OF_A_JOB_OR_A_HABIT = ("SLURM_", "SRUN_", "PMI_", "PMIX_", "SBATCH_", "SQUEUE_", "SACCT_", "SCANCEL_", "SCONTROL_")


@dataclass(frozen=True)
class Answer:
    """What a command printed, and whether it came to its end."""

    code: int | None
    """Its exit code; None where it did not end in time or is not there."""
    out: str
    err: str

    @property
    def is_good(self) -> bool:
        """Whether the command did what was asked."""
        return self.code == 0

    @property
    def words(self) -> str:
        """The command's own words, the errors alone where it has some."""
        lines = [line.strip() for line in (self.err or self.out).splitlines() if line.strip()]
        errors = [line for line in lines if "error" in line.lower()]
        return " ".join(errors or lines) or f"it ended with exit code {self.code} and no words"


@dataclass
class SlurmCalls:
    """Calls Slurm and counts how often: site staff watch that."""

    counts: Counter[str] = field(default_factory=Counter)
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def __call__(
        self,
        *command: str,
        timeout_s: float = CALL_TIMEOUT_S,
        held_open: Sequence[int] = (),
        defaults: Sequence[str] = (),
    ) -> Answer:
        """Run a command to its end.

        Parameters
        ----------
        held_open
            File descriptors that it inherits.
        defaults
            The user's own variables for Slurm that it may see.
        """
        self.counts[command[0]] += 1
        try:
            answer = subprocess.run(
                command,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout_s,
                check=False,
                stdin=subprocess.DEVNULL,
                env=outside_of_jobs(self.environment, defaults),
                pass_fds=held_open,
            )
        except FileNotFoundError:
            return Answer(None, "", f"{command[0]} is not on the PATH of this machine")
        except subprocess.TimeoutExpired:
            return Answer(None, "", f"{command[0]} did not answer within {timeout_s:.0f} s")
        except OSError as error:
            return Answer(None, "", f"{command[0]} cannot be run: {error.strerror}")
        return Answer(answer.returncode, answer.stdout, answer.stderr)

    def summary(self) -> str:
        """How often each command was called, in words."""
        return "calls of Slurm: " + (", ".join(f"{count} {name}" for name, count in sorted(self.counts.items())) or "none")


def outside_of_jobs(environment: Mapping[str, str], defaults: Sequence[str] = ()) -> dict[str, str]:
    """The environment without what a surrounding job, or the user's habits, would change in what is asked of Slurm.

    What the site set stays, and those of the user's `defaults` that are named: they beat what a script says, so they may fill
    only what a study leaves open.
    """
    kept = (*_OF_THE_SITE, *defaults)
    return {name: value for name, value in environment.items() if name in kept or not name.startswith(_OF_A_JOB_OR_A_HABIT)}


def submit_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of the submit that this job came from, without what the setup lines of its own script changed.

    A job that submits others must not hand down what its node's setup did: that may be what was wrong. /proc keeps the
    environment with which the batch shell began.
    """
    try:
        content = Path(f"/proc/{environment[BATCH_PID_VARIABLE]}/environ").read_bytes()
    except (KeyError, OSError):
        return dict(environment)
    pairs = (item.decode(errors="surrogateescape").partition("=") for item in content.split(b"\0") if item)
    return {name: value for name, _, value in pairs} or dict(environment)


def slurm_is_here() -> bool:
    """Whether sbatch is on the PATH."""
    return shutil.which("sbatch") is not None
