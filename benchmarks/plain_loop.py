"""The loop that the reference is known by, in a process as it comes: float32, channels first, the C library's own thresholds.

A step for each line that it is given, and the seconds that it took.
"""

import sys
import time
from pathlib import Path

import torch
from scenes import job, scan_of
from training_throughput import bare_batches, bare_loop


def main(train_file: str, threads: int) -> None:
    """Step when told to, until there are no more lines."""
    torch.set_num_threads(threads)
    of = job("ptychopinn", 1, threads=threads, batch_size=16, precision="float32", device="cpu")
    (batch,) = bare_batches(scan_of(Path(train_file), "cpu"), of, 1)
    loop = bare_loop(of, torch.device("cpu"), half=False, channels_last=False)
    for _ in sys.stdin:
        began = time.perf_counter()
        loop.step(batch)
        sys.stdout.write(f"{time.perf_counter() - began}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
