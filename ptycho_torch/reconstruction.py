"""A scan's object as a trained network sees it, and how good it is on photons and against the truth."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ptycho_torch.config import JobConfig
from ptycho_torch.dataset import ScanTensors
from ptycho_torch.evaluation import Box, evaluation_box, score
from ptycho_torch.grouping import nearest_groups
from ptycho_torch.held_out import flat_object, hold_out, in_batches
from ptycho_torch.model import PtychoModel
from ptycho_torch.npz_archive import write_arrays
from ptycho_torch.reassembly import Stitcher
from ptycho_torch.trainer import seeded_model

TEST_PURPOSE = 3
"""Which use of the job's seeds: the photon split and the groups of the test half."""


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """The stitched object of a scan."""

    object_yx: npt.NDArray[np.complex64]
    """(H, W), 1 where no pattern looked."""
    weight: npt.NDArray[np.float32]
    """(H, W) summed light |P|², 0 where no pattern looked."""
    box: Box
    """What is scored: where the beam went, and a margin."""

    def save(self, path: Path, truth: npt.NDArray[np.complex64] | None) -> None:
        """Write an NPZ of `object`, `weight`, `box` (top, bottom, left, right) and, where known, `truth` inside the box."""
        arrays = {"object": self.object_yx, "weight": self.weight, "box": np.array(list(self.box.as_dict().values()))}
        write_arrays(path, arrays if truth is None else {**arrays, "truth": self.box.cut(truth)})


@torch.no_grad()
def reconstruct(model: PtychoModel, scan: ScanTensors, job: JobConfig, object_shape: tuple[int, int]) -> Reconstruction:
    """Stitch what the model makes of every pattern, all photons fed, weighted by the light |P|².

    A network that sees each pattern alone sees each once. One that mixes the patterns of a group sees each with its nearest
    neighbours.
    """
    groups = nearest_groups(scan.positions_yx, job.group_size if model.mixes_channels else 1)
    stitcher = Stitcher(object_shape)
    for rows in in_batches(groups, job, scan.counts.device):
        probes, centers = scan.probes_of(rows), scan.centers[rows]
        stitcher.add(model(scan.counts[rows], probes, centers), centers, probes.abs().square())
    object_yx, weight = (canvas.numpy() for canvas in stitcher.result())
    box = evaluation_box(scan.positions_yx, object_shape, scan.counts.shape[-1])
    return Reconstruction(object_yx, weight, box)


def bounding_shape(scan: ScanTensors) -> tuple[int, int]:
    """The smallest object (H, W), from the origin, that holds every patch: for a scan whose object is unknown."""
    height, width = (scan.centers.amax(dim=0) + scan.counts.shape[-1] // 2).tolist()
    return height, width


def photon_metrics(model: PtychoModel, scan: ScanTensors, job: JobConfig) -> dict[str, float]:
    """Deviance per held-out photon of the network, of the same network before training, and of a flat object."""
    held_out = hold_out(scan, job, TEST_PURPOSE)
    return {
        "held_out_deviance": held_out.deviance(model),
        "untrained_deviance": held_out.deviance(seeded_model(job).to(scan.counts.device)),
        "flat_deviance": held_out.deviance(flat_object),
    }


def photon_collapse(held_out_deviance: float, flat_deviance: float) -> dict[str, Any]:
    """Whether a scan without a known object has collapsed: it explains held-out photons no better than O = 1 does."""
    collapsed = held_out_deviance >= flat_deviance
    reason = f"held-out photons fit no better than a flat object: deviance {held_out_deviance:.4g} against {flat_deviance:.4g}"
    return {"collapsed": collapsed, "collapse_reason": reason if collapsed else None}


def image_metrics(reconstruction: Reconstruction, truth: npt.NDArray[np.complex64]) -> dict[str, Any]:
    """The stitched object against the truth inside the box; `flat_nmse` is what O = 1 would score."""
    box = reconstruction.box
    result, expected = (box.cut(image).astype(np.complex128) for image in (reconstruction.object_yx, truth))
    weights = box.cut(reconstruction.weight).astype(np.float64)
    scores = score(result, expected, weights)
    return scores.as_dict() | {
        "flat_nmse": score(np.ones_like(expected), expected, weights).nmse,
        "collapsed": scores.collapse_reason is not None,
    }
