"""Where a job computes, and how to make that repeatable."""

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ptycho_torch.errors import DeviceError

ALLOTMENT_VARIABLES = ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_GPUS")
"""What a scheduler sets when it hands a job GPUs."""
GLIBC_OPTIONS = {-4: 0, -1: 2**31 - 1, -2: 2**26}
"""Of `mallopt` (malloc.h): M_MMAP_MAX, no block is mapped alone; M_TRIM_THRESHOLD, none is returned; M_TOP_PAD, 64 MiB more."""
NO_DEVICES = ("", "-1", "NoDevFiles")
"""What it is set to where a job shall see none."""


def choose_device(name: str, asked_by: str = "training.device") -> tuple[torch.device, list[str]]:
    """The device that a configuration asks for.

    Parameters
    ----------
    name
        `auto`, `cpu`, `cuda` or `mps`; `auto` takes a GPU where there is one.
    asked_by
        What the setting is called, for messages.

    Returns
    -------
    The device, and sentences that the job's record must carry: a GPU was allotted and PyTorch cannot see it.

    Raises
    ------
    DeviceError
        The device was named and this machine does not have it.
    """
    if name == "auto":
        return _best_device()
    if not _is_available(name):
        raise DeviceError(
            f"{asked_by} is {name}, but PyTorch {torch.__version__} sees no {name} device here.",
            hint=f"Ask for a GPU node (resources.gpus_per_node), install a PyTorch built for it, or set {asked_by} to auto.",
        )
    return torch.device(name), []


def make_repeatable(*, deterministic: bool, threads: int) -> None:
    """Set the CPU threads and, for `deterministic`, choose algorithms whose sums have a fixed order."""
    torch.set_num_threads(threads)
    # The same switch as `use_deterministic_algorithms`, which also loads the compiler that nothing here uses: a second and more.
    torch.set_deterministic_debug_mode("error" if deterministic else "default")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # the module makes it at run time
    torch.backends.cudnn.benchmark = not deterministic
    if deterministic:
        # cuBLAS reads it when its first handle is made, which is after this.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def keep_freed_memory() -> None:
    """Have the C library keep what a step frees for the next one, until the process ends.

    glibc gives large blocks back to the system at once, and the next step waits until they are cleared again: a twentieth of
    the time and more in batches of 64. With other C libraries nothing changes.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None and platform.libc_ver()[0] == "glibc":
        for option, value in GLIBC_OPTIONS.items():
            set_option(option, value)


@contextmanager
def repeatable(*, deterministic: bool, threads: int | None) -> Iterator[None]:
    """As `make_repeatable`, until the end of the block: for work inside somebody else's program.

    Parameters
    ----------
    threads
        None: as many as there are.
    """
    before = torch.get_num_threads(), torch.get_deterministic_debug_mode(), torch.backends.cudnn.benchmark
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    make_repeatable(deterministic=deterministic, threads=before[0] if threads is None else threads)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.set_deterministic_debug_mode(before[1])
        torch.backends.cudnn.benchmark = before[2]
        torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]


def _best_device() -> tuple[torch.device, list[str]]:
    for name in ("cuda", "mps"):
        if _is_available(name):
            return torch.device(name), []
    values = {variable: os.environ.get(variable, "") for variable in ALLOTMENT_VARIABLES}
    allotted = ", ".join(f"{variable}={value}" for variable, value in values.items() if value not in NO_DEVICES)
    warning = f"A GPU was allotted ({allotted}) but PyTorch {torch.__version__} sees none: computed on the CPU."
    return torch.device("cpu"), [warning] if allotted else []


def _is_available(name: str) -> bool:
    if name == "cuda":
        return torch.cuda.is_available()
    return name == "cpu" or torch.backends.mps.is_available()
