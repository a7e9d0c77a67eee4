"""A probe from the patterns themselves, or a given one made better by them: what `ingest` does where a probe is not known.

A probe is a property of the instrument, as is one from an earlier reconstruction: the object that it was found with is thrown
away. It is found on patterns that lie densest, so many at most that time and memory are bounded. A split into a training and a
test half comes later, and these patterns may lie in both; the metadata say so.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ptycho_torch.dataset import counter_seed, scan_tensors
from ptycho_torch.dense_neighbourhood import dense_neighbourhood, probe_diameter_px
from ptycho_torch.devices import choose_device, repeatable
from ptycho_torch.errors import DataContractError
from ptycho_torch.held_out import Exposures, object_deviance, part_scan
from ptycho_torch.joint_descent import ProbeRounds, joint_deviance, refine_probe, with_probe
from ptycho_torch.network_object import bounding_shape
from ptycho_torch.npz_contract import PtychoDataset
from ptycho_torch.probe_gauge import settled
from ptycho_torch.probe_starts import defocused_starts, nearer_radii, usual_radii

__all__ = ["METADATA_KEY", "FoundProbe", "find_probe"]

METADATA_KEY = "probe_refinement"
FED_SHARE, DEAL_SEED = 0.75, 8
FEWEST_PATTERNS, MOST_PATTERNS = 12, 256
SEARCH_PHOTONS, SEARCH_PATTERNS = 1e6, (48, 256)
"""The search for the defocus takes as many patterns as have so many photons, within these bounds."""
SEARCH_STEPS = 12
MOST_ROUNDS = 6
LEAST_EXPLAINED = 1e-3
"""Of the deviance of an empty field of view: less says nothing of an object, and so nothing of a probe."""
CLEAR_SHARE = 0.05
"""Of what the best start explains beyond an empty field of view: by less the other side of the focus is not ruled out."""
_MOST_PIXELS = 128 * 128**2
_DIAMETER_SHARE = 0.25
"""Of N: how large a probe is taken for, where the densest patterns are chosen before it is known."""
_TWIN = (
    "both axes of all positions turned, with the conjugate mirror image of probe and object, would explain the patterns as well: "
    "only what you know of the beamline tells the two apart"
)


@dataclass(frozen=True, eq=False)
class FoundProbe:
    """The dataset with its probe, and what to say of it."""

    dataset: PtychoDataset
    found: tuple[str, ...]
    assumed: tuple[str, ...]


def find_probe(dataset: PtychoDataset, source: Path, *, from_mean_pattern: bool) -> FoundProbe:
    """Make a scan's probe of its mean pattern, or keep its own, and refine it together with an object, which is thrown away.

    Parameters
    ----------
    dataset
        With an intensity scale; the probe that comes out has the energy of its own.
    source
        The file that messages name.
    from_mean_pattern
        Begin with the mean pattern, brought back out of focus by the amount that held-out photons choose, instead of the
        dataset's own probe.

    Raises
    ------
    DataContractError
        There are too few patterns, or their photons tell no start from an empty field of view.
    """
    lit = np.flatnonzero(dataset.diffraction.any(axis=(1, 2)))
    if len(lit) < FEWEST_PATTERNS:
        raise DataContractError(
            f"{source}: {len(lit)} patterns with photons are too few to refine a probe; needed are {FEWEST_PATTERNS}.",
            hint="Name a probe with --probe FILE[:KEY], and leave --refine-probe out.",
        )
    device, warnings = choose_device("auto", "the device")
    with repeatable(deterministic=True, threads=None):
        words: list[str] = []
        assumed = [*warnings, _TWIN] if from_mean_pattern else list(warnings)
        facts: dict[str, Any] = {"from": "mean pattern" if from_mean_pattern else "a given probe"}
        if from_mean_pattern:
            start, radius = _search(dataset, lit, device, source, words, assumed)
            facts["shadow_rms_radius_px"] = radius
            dataset = replace(dataset, probe_guess=start)
        exposures = _exposures(dataset, lit, MOST_PATTERNS, device)
        result = refine_probe(exposures, MOST_ROUNDS)
    return _as_found(dataset, exposures, result, words, assumed, facts)


def _as_found(
    dataset: PtychoDataset, exposures: Exposures, result: ProbeRounds, words: list[str], assumed: list[str], facts: dict[str, Any]
) -> FoundProbe:
    n_patterns, n_of = len(exposures.whole), len(dataset.diffraction)
    photons = float(exposures.held.counts.sum(dtype=torch.float64))
    begin, end = result.deviances[0], min(result.deviances)
    judged = f"by {photons:.3g} held-out photons of {n_patterns} of {n_of} patterns"
    if result.rounds:
        words.append(
            f"the probe is refined in {result.rounds} rounds: {judged}, the deviance a photon of an object reconstructed with it "
            f"falls from {begin:.4g} to {end:.4g}"
        )
    else:
        words.append(f"refining the probe would do no good, so it stays: {judged}, the deviance a photon is {begin:.4g}")
    assumed.append("the probe has seen photons of the whole scan, of both halves of any split: only its object was thrown away")
    own = dataset.probe_guess.astype(np.complex128)
    probe = settled(result.probe.cpu().numpy().astype(np.complex128), own) if result.rounds else own
    facts |= {"rounds": result.rounds, "held_out_deviances": list(result.deviances), "n_patterns": n_patterns}
    refined = replace(dataset, probe_guess=probe.astype(np.complex64), metadata=dataset.metadata | {METADATA_KEY: facts})
    return FoundProbe(refined, tuple(words), tuple(assumed))


def _search(
    dataset: PtychoDataset,
    lit: npt.NDArray[np.int64],
    device: torch.device,
    source: Path,
    words: list[str],
    assumed: list[str],
) -> tuple[npt.NDArray[np.complex64], float]:
    """The start of the defocus that held-out photons like best, with the energy of the dataset's probe, and its radius [px]."""
    mean_counts = _mean_counts(dataset)
    most = int(np.clip(SEARCH_PHOTONS / float(mean_counts.sum()), *SEARCH_PATTERNS))
    exposures = _exposures(dataset, lit, most, device)
    mean = torch.from_numpy(np.fft.ifftshift(mean_counts)).float().to(device)

    def scores(radii: tuple[float, ...]) -> dict[float, float]:
        starts = defocused_starts(mean, radii)
        return {radius: joint_deviance(with_probe(exposures, start), SEARCH_STEPS) for radius, start in starts.items()}

    tried = scores(usual_radii())
    tried |= scores(nearer_radii(min(tried, key=lambda radius: tried[radius])))
    radius = min(tried, key=lambda one: tried[one])
    start = defocused_starts(mean, (radius,))[radius]
    empty = with_probe(exposures, start)
    flat = object_deviance(empty.held.flat_object(bounding_shape(empty.held)), empty.held)
    explained = flat - tried[radius]
    if not explained > LEAST_EXPLAINED * flat:
        raise DataContractError(
            f"{source}: of {len(tried)} probes made of the mean pattern none explains held-out photons of {len(exposures.whole)} "
            "patterns better than an empty field of view does: too few photons, too little overlap, or wrong positions.",
            hint="Check the positions' unit and order, or name a probe with --probe FILE[:KEY].",
        )
    size_px, other = dataset.patch_size_px, min(tried[one] for one in tried if one * radius <= 0 and one != radius)
    lead = (other - tried[radius]) / explained
    words.append(
        f"a probe is made of the mean pattern, its shadow of {abs(radius) * size_px:.3g} px rms radius"
        + (f", on the {'far' if radius > 0 else 'near'} side of the focus" if radius else ", in focus")
        + f": of {len(tried)} starts the best by held-out photons"
    )
    if lead < CLEAR_SHARE:
        assumed.append(
            f"the focus of the probe is hardly told by the photons: the best start on no or the other side of it is worse "
            f"by {lead:.1%} of what is explained"
        )
    energy = np.linalg.norm(dataset.probe_guess)
    made = start.cpu().numpy().astype(np.complex128)
    return (made * (energy / np.linalg.norm(made))).astype(np.complex64), radius * size_px


def _mean_counts(dataset: PtychoDataset) -> npt.NDArray[np.float64]:
    """(N, N), zero frequency at the centre."""
    n, total = len(dataset.diffraction), np.zeros(dataset.diffraction.shape[1:])
    for first in range(0, n, MOST_PATTERNS):
        total += dataset.counts(slice(first, first + MOST_PATTERNS)).sum(axis=0, dtype=np.float64)
    return total / n


def _exposures(dataset: PtychoDataset, lit: npt.NDArray[np.int64], most: int, device: torch.device) -> Exposures:
    """Patterns that lie densest, from the origin on, their photons dealt."""
    size_px = dataset.patch_size_px
    most = min(most, max(2 * FEWEST_PATTERNS, _MOST_PIXELS // size_px**2))
    diameter_px = min(probe_diameter_px(dataset.probe_guess), _DIAMETER_SHARE * size_px)
    few = dataset.select(lit[dense_neighbourhood(dataset.positions_yx[lit], diameter_px, most)])
    yx = few.positions_yx - np.floor(few.positions_yx.min(axis=0)) + size_px // 2
    laid = replace(few, ycoords=yx[:, 0].copy(), xcoords=yx[:, 1].copy(), object_guess=None)
    return part_scan(scan_tensors(laid, 1.0, device), FED_SHARE, counter_seed(DEAL_SEED))
