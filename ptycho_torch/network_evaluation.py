"""What a trained model makes of a half of a scan: by its network alone, and refined."""

import time

from torch import Tensor

from ptycho_torch.config import JobConfig
from ptycho_torch.data_consistency import refine
from ptycho_torch.dataset import ScanTensors
from ptycho_torch.model import PtychoModel
from ptycho_torch.network_object import network_object
from ptycho_torch.reconstruction import refined_object
from ptycho_torch.yardstick import Reconstructed, Yardstick

MOST_STEPS = 100
"""Refinement ends with as many steps as held-out photons call for, at most these."""


def evaluate_network(model: PtychoModel, job: JobConfig, half: Yardstick, *, known: bool) -> dict[str, Reconstructed]:
    """Reconstruct a half by a network (`network`), and refine that (`refined`).

    The held-out photons of the training half are not new to the model, which was trained on them: what they say is fair on the
    unseen half only.

    Parameters
    ----------
    known
        The half is the one that the model has learnt on, so that its refiner need not go on learning.
    """
    started = time.perf_counter()
    network = by_network(model, job, half)
    return {"network": network, "refined": refined_from(network, model, job, half, known=known, started=started)}


def by_network(model: PtychoModel, job: JobConfig, scan: Yardstick) -> Reconstructed:
    """Reconstruct a scan by a network alone."""
    started = time.perf_counter()
    network = network_object(model, scan.exposures.whole, job, scan.object_shape)
    seconds = time.perf_counter() - started
    return Reconstructed(network, network_object(model, scan.exposures.fed, job, scan.object_shape), seconds)


def refined_from(
    network: Reconstructed, model: PtychoModel, job: JobConfig, scan: Yardstick, *, known: bool, started: float
) -> Reconstructed:
    """Refine what a network has made: by the refiner, where there is one, and by data-consistency steps from there.

    Parameters
    ----------
    known
        As in `evaluate_network`.
    started
        When the network began, by `time.perf_counter`.
    """
    assert network.fed_object_hw is not None
    start = _refined(model, scan.exposures.whole, job, network.object_hw, known=known)
    fed_start = _refined(model, scan.exposures.fed, job, network.fed_object_hw, known=known)
    refined = refine(scan.exposures, start, fed_start, MOST_STEPS)
    return Reconstructed(refined.object_hw, refined.fed_object_hw, time.perf_counter() - started, refined.steps)


def _refined(model: PtychoModel, scan: ScanTensors, job: JobConfig, network: Tensor, *, known: bool) -> Tensor:
    refined = refined_object(model, scan, job, network, known=known)
    return network if refined is None else refined
