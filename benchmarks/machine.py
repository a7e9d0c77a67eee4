"""What a benchmark ran on, and the most that its matrix multiplication does."""

import os
import platform
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ptycho_torch.precision import precision_on

GEMM_SIDE = 2048


def this_machine(threads: int) -> dict[str, Any]:
    """Names and versions, for the record."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "threads": threads,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cpu_has_bfloat16": has_bfloat16(torch.device("cpu")),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def place(device_type: str) -> str:
    """What a line's name ends with, where it is not of the CPU."""
    return ", on a CUDA GPU" if device_type == "cuda" else ""


def has_bfloat16(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16; a CPU that does not emulates it, many times slower."""
    return precision_on(device, "auto") == "bfloat16"


def gemm_gflops(dtype: torch.dtype, device: torch.device, repeats: int = 1) -> float:
    """GFLOP/s of a product of two square matrices of 2,048, the best of `repeats`."""
    left, right = (torch.randn(GEMM_SIDE, GEMM_SIDE, device=device).to(dtype) for _ in range(2))
    best = min(_seconds(left, right) for _ in range(repeats))
    return 2 * GEMM_SIDE**3 / best / 1e9


def wait_for(device: torch.device) -> None:
    """Until a GPU has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def _seconds(left: torch.Tensor, right: torch.Tensor) -> float:
    wait_for(left.device)
    started = time.perf_counter()
    torch.mm(left, right)
    wait_for(left.device)
    return time.perf_counter() - started


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    facts = {key.strip(): value.strip() for key, value in facts.items()}
    model = facts.get("model name", platform.processor())
    return f"{model}, family {facts.get('cpu family', '?')} model {facts.get('model', '?')}"


def peak_bytes(process: int | str) -> int:
    """The most memory that a process, by its number or `self`, has held so far; 0 where it has ended.

    Of its own program alone: `getrusage` counts what the process had before it became that, which is its parent's.
    """
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE)
    return 1024 * int(found[1]) if found else 0
