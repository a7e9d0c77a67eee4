"""`import torch` and one step by hand, on numbers that mean nothing: what a start is compared with."""

import os
import sys
import time

import torch
from bare_loop import bare_batch, bare_network, poisson_loss, unet_patches

torch.set_num_threads(int(sys.argv[1]))
GROUPS, SIZE = 4, 64
centers = torch.tensor([[64, 64], [64, 72], [72, 64], [72, 72]]).repeat(GROUPS, 1, 1)
probes = torch.ones(GROUPS, 4, SIZE, SIZE, dtype=torch.complex64)
photons = torch.ones(GROUPS, 4, SIZE, SIZE)
network = bare_network("backprojection_unet", 4, half=False)
batch = bare_batch((photons, photons), probes, centers, 0.8, 0, 1e-3)
poisson_loss(unet_patches(network, batch), batch).backward()
with torch.no_grad():
    for weight in network.parameters():
        assert weight.grad is not None
        weight.sub_(1e-3 * weight.grad)
sys.stdout.write(f"{time.time() - float(os.environ['STARTED_AT'])} {time.process_time()}\n")
sys.stdout.flush()
os._exit(0)  # as the other process does
