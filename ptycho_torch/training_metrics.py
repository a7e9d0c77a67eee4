"""How good a trained network is, as its result record says: on photons it was not fed, and against the truth."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho_torch.config import JobConfig
from ptycho_torch.dataset import ScanTensors, counter_seed
from ptycho_torch.evaluation import score
from ptycho_torch.held_out import DEFAULT_SHARE, object_deviance, part_scan
from ptycho_torch.model import PtychoModel, seeded_model
from ptycho_torch.network_object import network_object
from ptycho_torch.reconstruction import Reconstruction

TEST_PURPOSE = 3
"""Which use of the job's training seed: the photon split of the test half."""


def photon_metrics(model: PtychoModel, scan: ScanTensors, job: JobConfig, object_shape: tuple[int, int]) -> dict[str, float]:
    """Deviance per held-out photon of the network's object, of the same network's before training, and of a flat object."""
    share = job.training.photon_split or DEFAULT_SHARE
    exposures = part_scan(scan, share, counter_seed(job.training_seed, TEST_PURPOSE))

    def deviance(one: PtychoModel) -> float:
        return object_deviance(network_object(one, exposures.fed, job, object_shape), exposures.held)

    return {
        "held_out_deviance": deviance(model),
        "untrained_deviance": deviance(seeded_model(job).to(scan.counts.device)),
        "flat_deviance": object_deviance(scan.flat_object(object_shape), exposures.held),
    }


def photon_collapse(held_out_deviance: float, flat_deviance: float) -> dict[str, Any]:
    """Whether a scan without a known object has collapsed: it explains held-out photons no better than O = 1 does."""
    collapsed = held_out_deviance >= flat_deviance
    reason = f"held-out photons fit no better than a flat object: deviance {held_out_deviance:.4g} against {flat_deviance:.4g}"
    return {"collapsed": collapsed, "collapse_reason": reason if collapsed else None}


def image_metrics(reconstruction: Reconstruction, truth: npt.NDArray[np.complex64]) -> dict[str, Any]:
    """The network's object against the truth inside the box; `flat_nmse` is what O = 1 would score, `refined` what the refiner
    makes of it."""
    box = reconstruction.box
    expected = box.cut(truth).astype(np.complex128)
    weights = box.cut(reconstruction.weight).astype(np.float64)
    scores = score(box.cut(reconstruction.object_yx).astype(np.complex128), expected, weights)
    metrics = scores.as_dict() | {
        "flat_nmse": score(np.ones_like(expected), expected, weights).nmse,
        "collapsed": scores.collapse_reason is not None,
    }
    if reconstruction.refined_yx is None:
        return metrics
    refined = score(box.cut(reconstruction.refined_yx).astype(np.complex128), expected, weights)
    return metrics | {"refined": refined.as_dict()}
