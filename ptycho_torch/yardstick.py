"""What every reconstruction of one half of a scan is held to: networks, refined networks and iterative solvers alike.

Against the truth where it is known. A measured scan has none: there the photons that were held out judge, and the distance to an
iterative reconstruction of the same half is said, which is no truth either.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ptycho_torch.alignment import Image, Weights, align
from ptycho_torch.data_consistency import light_on_canvas, reconstruct_by_gradient
from ptycho_torch.data_record import file_facts
from ptycho_torch.dataset import counter_seed, require_patch_size, scan_tensors
from ptycho_torch.evaluation import EVALUATION_CONSTANTS, Box, evaluation_box, score
from ptycho_torch.held_out import Exposures, object_deviance, part_scan
from ptycho_torch.network_object import bounding_shape
from ptycho_torch.npz_archive import write_arrays
from ptycho_torch.npz_contract import PtychoDataset, read_dataset

FED_SHARE = 0.75
"""Of the photons of a pattern, the share that reconstructions see which held-out photons are to judge."""
DEAL_SEED = 4
"""Deals the photons: the same to every method, so that all are judged by the same ones."""
REFERENCE_STEPS = 200
"""The reference of a measured scan takes as many gradient steps as its held-out photons call for, at most these."""

CONSTANTS: dict[str, Any] = EVALUATION_CONSTANTS | {"fed_share": FED_SHARE, "deal_seed": DEAL_SEED}
"""What a result file says besides its figures."""


@dataclass(frozen=True, eq=False)
class Reconstructed:
    """What a method makes of a half."""

    object_hw: Tensor
    """(H, W) complex64, from all photons."""
    fed_object_hw: Tensor | None
    """(H, W) complex64, from the fed photons alone; None where the method was not run on them."""
    seconds: float
    """From the photons to `object_hw`, what had to be tried for it included."""
    steps: int | None = None
    """Data-consistency steps taken, where the method takes them."""


@dataclass(frozen=True, eq=False)
class Yardstick:
    """One half of a scan, its photons dealt to fed and held-out, and what is known of its object."""

    exposures: Exposures
    object_shape: tuple[int, int]
    truth: npt.NDArray[np.complex64] | None
    """(H, W); None for a measured scan."""
    box: Box

    @cached_property
    def light(self) -> npt.NDArray[np.float32]:
        """(H, W) Σ|P|² of all positions [photons per pixel]."""
        light: npt.NDArray[np.float32] = light_on_canvas(self.exposures.whole, self.object_shape).cpu().numpy()
        return light

    @cached_property
    def reference(self) -> npt.NDArray[np.complex64]:
        """(H, W) what stands in for the truth of a measured scan: its reconstruction by gradient steps from all photons."""
        refined = reconstruct_by_gradient(self.exposures, self.object_shape, REFERENCE_STEPS)
        reference: npt.NDArray[np.complex64] = refined.object_hw.cpu().numpy()
        return reference

    def measure(self, made: Reconstructed, *, is_reference: bool = False) -> dict[str, Any]:
        """The figures of a reconstruction, as JSON values.

        Parameters
        ----------
        is_reference
            It is the very stand-in for the truth, so that its distance to that would be idle.
        """
        idle = is_reference and self.truth is None
        return {
            "scores": None if idle else self.scores(made.object_hw.cpu().numpy()),
            "held_out_deviance": self.held_out_deviance(made.fed_object_hw),
            "steps": made.steps,
            "seconds": round(made.seconds, 3),
        }

    def facts(self) -> dict[str, Any]:
        """The half itself, and what a flat object and the truth would get: between these two every figure must lie."""
        scan = self.exposures.whole
        flat = scan.flat_object(self.object_shape)
        return {
            "n_patterns": len(scan),
            "photons_per_frame": float(scan.counts.sum(dtype=torch.float64)) / len(scan),
            "box": self.box.as_dict(),
            "scored_against": "truth" if self.truth is not None else "gradient reconstruction",
            "flat": self.measure(Reconstructed(flat, flat, 0.0)),
            "true_held_out_deviance": None if self.truth is None else self.held_out_deviance(torch.from_numpy(self.truth)),
        }

    def save(self, made: Reconstructed, path: Path) -> dict[str, Any]:
        """Write `object`, `light` (H, W), `box` and, inside the box, `aligned` and `expected`, which are what was compared.

        The file's name, digest and size are returned.
        """
        object_hw = made.object_hw.cpu().numpy()
        result, expected, light = self._inside(object_hw)
        aligned = align(result, expected, (light > 0).astype(np.float64))
        arrays = {"object": object_hw, "light": self.light, "box": np.array(list(self.box.as_dict().values()))}
        write_arrays(path, arrays | {"aligned": aligned.astype(np.complex64), "expected": expected.astype(np.complex64)})
        return {"file": path.name} | file_facts(path)

    def scores(self, object_hw: npt.NDArray[np.complex64]) -> dict[str, Any]:
        """An object (H, W) against the truth, or what stands in for it: the fields of `ImageScores`."""
        return score(*self._inside(object_hw)).as_dict()

    def _inside(self, object_hw: npt.NDArray[np.complex64]) -> tuple[Image, Image, Weights]:
        """An object, what it is compared with, and the light, all inside the box."""
        expected = self.reference if self.truth is None else self.truth
        return (
            self.box.cut(object_hw).astype(np.complex128),
            self.box.cut(expected).astype(np.complex128),
            self.box.cut(self.light).astype(np.float64),
        )

    def held_out_deviance(self, fed_object_hw: Tensor | None) -> float | None:
        """Half the Poisson deviance per held-out photon of an object (H, W) made without them; None for no object."""
        held = self.exposures.held
        return None if fed_object_hw is None else object_deviance(fed_object_hw.to(held.counts.device), held)


def yardstick(npz: Path, *, patch_size_px: int, dose_photons: float, device: torch.device) -> Yardstick:
    """Lay out one half of a scan.

    Raises
    ------
    DataContractError
        The file is refused, or its patterns are of another size.
    """
    dataset = read_dataset(npz)
    require_patch_size(dataset, patch_size_px, npz)
    return laid_out(dataset, dose_photons=dose_photons, device=device)


def laid_out(dataset: PtychoDataset, *, dose_photons: float, device: torch.device) -> Yardstick:
    """Lay out a scan that has been read; one without `intensity_scale` holds `dose_photons` per pattern."""
    scan = scan_tensors(dataset, dose_photons, device)
    truth = dataset.object_guess
    shape = bounding_shape(scan) if truth is None else (truth.shape[0], truth.shape[1])
    return Yardstick(
        exposures=part_scan(scan, FED_SHARE, counter_seed(DEAL_SEED)),
        object_shape=shape,
        truth=truth,
        box=evaluation_box(scan.positions_yx, shape, dataset.patch_size_px),
    )
