"""What a trained network makes of a half of a scan, alone and refined by a few data-consistency steps."""

import time

import torch

from ptycho_torch.config import JobConfig
from ptycho_torch.data_consistency import refine
from ptycho_torch.dataset import ScanTensors
from ptycho_torch.model import PtychoModel
from ptycho_torch.reconstruction import reconstruct
from ptycho_torch.yardstick import Reconstructed, Yardstick

MOST_STEPS = 100
"""Refinement takes as many steps as held-out photons call for, at most these."""


def evaluate_network(model: PtychoModel, job: JobConfig, half: Yardstick) -> dict[str, Reconstructed]:
    """Reconstruct a half by a network (`network`), and refine that (`refined`).

    The held-out photons of the training half are not new to the network, which was trained on them: what they say is fair
    on the unseen half only.
    """
    started = time.perf_counter()
    network = _object(model, half.exposures.whole, job, half)
    network_s = time.perf_counter() - started
    fed_network = _object(model, half.exposures.fed, job, half)
    refined = refine(half.exposures, network, fed_network, MOST_STEPS)
    return {
        "network": Reconstructed(network, fed_network, network_s),
        "refined": Reconstructed(refined.object_hw, refined.fed_object_hw, time.perf_counter() - started, refined.steps),
    }


def _object(model: PtychoModel, scan: ScanTensors, job: JobConfig, half: Yardstick) -> torch.Tensor:
    return torch.from_numpy(reconstruct(model, scan, job, half.object_shape).object_yx).to(scan.counts.device)
