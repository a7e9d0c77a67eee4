"""Who is to run the jobs, from the flags."""

import argparse
from pathlib import Path

from fly64_hpc.datasets import ExternalRoots
from fly64_hpc.errors import SchedulerError
from fly64_hpc.slurm.calls import slurm_is_here
from fly64_hpc.submissions import ExecutorName


def add_executor_flag(parser: argparse.ArgumentParser) -> None:
    """The flag that names an executor."""
    parser.add_argument(
        "--executor", choices=("auto", "slurm", "local", "debug"), default="auto", help="auto is slurm where sbatch is"
    )


def add_data_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that name folders of datasets that exist already."""
    parser.add_argument("--phase-c-root", type=Path, metavar="DIR", help="train on Phase C datasets that exist already")
    parser.add_argument("--phase-d-root", type=Path, metavar="DIR", help="train on Phase D datasets that exist already")


def external_roots(arguments: argparse.Namespace) -> ExternalRoots:
    """The folders that the flags name."""
    return ExternalRoots(arguments.phase_c_root, arguments.phase_d_root)


def choose_executor(name: str) -> ExecutorName:
    """The executor that a flag means on this machine.

    Raises
    ------
    SchedulerError
        Slurm is meant and is not here.
    """
    if name in ("local", "debug"):
        return "local" if name == "local" else "debug"
    if not slurm_is_here():
        asked = "so --executor auto finds no Slurm" if name == "auto" else "which --executor slurm needs"
        raise SchedulerError(
            f"There is no sbatch on the PATH of this machine, {asked}.",
            hint="Run here with --executor local, or submit from a login node of the cluster.",
        )
    return "slurm"
