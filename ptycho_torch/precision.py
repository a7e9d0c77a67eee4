"""In which precision convolutions are computed, and where half of it is quicker."""

from functools import cache
from typing import Literal

import torch

Precision = Literal["auto", "float32", "bfloat16"]
UNITS_OF_CPUS = ("amx_bf16", "avx512_bf16")
"""What multiplies bfloat16 in a CPU. One that has neither emulates it, at a tenth of the speed of float32."""
FIRST_CUDA_CAPABILITY = (8, 0)
"""Compute capability of the first GPUs whose tensor cores know bfloat16."""


def in_precision(precision: Precision, device: torch.device) -> torch.autocast:
    """The context in which convolutions are computed in bfloat16, or in float32 as they are."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision_on(device, precision) == "bfloat16")


def precision_on(device: torch.device, precision: Precision) -> Literal["float32", "bfloat16"]:
    """What a configuration's precision means on a device: `auto` is bfloat16 where the hardware has it."""
    if precision == "auto":
        return "bfloat16" if _has_bfloat16(device.type) else "float32"
    return precision


@cache
def _has_bfloat16(device_type: str) -> bool:
    if device_type == "cuda":
        return torch.cuda.get_device_capability() >= FIRST_CUDA_CAPABILITY
    if device_type == "cpu" and hasattr(torch.cpu, "get_capabilities"):  # PyTorch before 2.10 does not say
        return any(torch.cpu.get_capabilities().get(unit, False) for unit in UNITS_OF_CPUS)
    return False
