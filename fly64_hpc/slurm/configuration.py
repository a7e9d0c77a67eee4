"""What this Slurm allows, from its own configuration."""

import re

from fly64_hpc.slurm.arrays import DEFAULT_MAX_ARRAY_SIZE
from fly64_hpc.slurm.calls import SlurmCalls

_MAX_ARRAY_SIZE = re.compile(r"^MaxArraySize\s*=\s*(\d+)", re.MULTILINE)


def max_array_size(calls: SlurmCalls) -> int:
    """Tasks that one array may have; Slurm's default where it does not answer. Indices go from 0 to one less."""
    match = _MAX_ARRAY_SIZE.search(calls("scontrol", "show", "config", timeout_s=10).out)
    return max(1, int(match[1])) if match else DEFAULT_MAX_ARRAY_SIZE
