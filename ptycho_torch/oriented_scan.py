"""A scan whose axes of positions were searched for: what is decided of them, in words, and by how much.

A wrong sign or swapped axes still reconstruct something, so that orientation is decided by photons that the reconstruction did
not see, and only by a clear lead. Where orientations tie, none is chosen but by what the user says of them.

One tie is physics: |F f| stays when f(r) becomes conj f(-r). A probe that is its own conjugate mirror image cannot tell positions
from those with both axes turned; the object is then turned by half a turn and conjugated.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho_torch.errors import DataContractError
from ptycho_torch.foreign_scans.ingest_options import IngestOptions
from ptycho_torch.npz_contract import PtychoDataset
from ptycho_torch.position_axes import ALL_TURNS, AS_THEY_ARE, AxisTurn
from ptycho_torch.position_contest import Contest, Lead, contest
from ptycho_torch.position_trials import FEWEST_PATTERNS, PositionTrials

ORIENTATION_NEEDS = Lead(0.05, 5.0)
"""On a measured scan with its own probe the right orientation leads by 16 % at 12 standard errors; ties by under 1 %."""
SCALE_NEEDS = Lead(0.002, 5.0)
"""Simulated, an error of 7 % is seen at 6 to 10 standard errors from 10⁴ photons a pattern on; whether one of 5 % is seen depends
on how the photons fall, up to 4·10⁴."""
ORIENTATION_STEPS, SCALE_STEPS = 10, 25
"""Gradient steps of each reconstruction, at most: what a wrong scale costs is small, and shows only near the end of a descent."""
FEWEST_STEPS = 5
"""Where noise ends a descent sooner, too small a scale looks best, for patches then overlap more and noise is averaged."""
SCALES = tuple(round(0.9 + 0.025 * step, 3) for step in range(9))
METADATA_KEY = "orientation_search"
_SAME_PX = 1e-6
_ASSUMED = "orientation is relative to the probe, whose focus is taken to have the right sign: the other would turn both axes"


@dataclass(frozen=True, eq=False)
class OrientedScan:
    """The dataset with its positions turned, and what to say of it."""

    dataset: PtychoDataset
    found: tuple[str, ...]
    assumed: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Search:
    """The contest of orientations, each by its turn of the positions as the source has them."""

    source: Path
    dataset: PtychoDataset
    trials: PositionTrials
    told: AxisTurn
    """What was done to the source's positions already, as the options say."""
    options: IngestOptions
    contest: Contest[AxisTurn]

    @property
    def needed(self) -> str:
        return f"{ORIENTATION_NEEDS.margin:.0%} at {ORIENTATION_NEEDS.standard_errors:g} are needed"

    @property
    def judged_by(self) -> str:
        return f"{self.trials.held_photons:.3g} held-out photons of {len(self.trials)} neighbouring patterns"

    def is_admissible(self, turn: AxisTurn) -> bool:
        """The options do not exclude it."""
        order_fits = self.options.position_order == "auto" or turn.is_swapped == self.told.is_swapped
        return order_fits and (self.options.flip_positions == "auto" or turn.flips == self.told.flips)


def find_orientation(dataset: PtychoDataset, options: IngestOptions, source: Path) -> OrientedScan:
    """Turn a scan's positions as its held-out photons want them, and compare their scale with its neighbours.

    Parameters
    ----------
    dataset
        With an intensity scale, and positions as the options alone make them.
    options
        `position_order` and `flip_positions` settle a tie; they are never overruled.
    source
        The file that messages name.

    Raises
    ------
    DataContractError
        There are too few patterns or photons, orientations tie, or the options contradict the clear winner.
    """
    trials = PositionTrials(dataset)
    if len(trials) < FEWEST_PATTERNS:
        raise DataContractError(
            f"{source}: {len(trials)} patterns with photons at places of their own are too few to find the orientation of "
            f"positions; needed are {FEWEST_PATTERNS}.",
            hint="Leave --find-orientation out, and say what you know with --position-order and --flip-positions.",
        )
    told = AxisTurn(options.position_order == "xy", "y" in options.flip_positions, "x" in options.flip_positions)
    empty = trials.empty()
    fitted = {turn: trials.fitted(turn.after(told.inverse), 1.0, ORIENTATION_STEPS).deviances for turn in ALL_TURNS}
    search = _Search(source, dataset, trials, told, options, contest(fitted, empty))
    turn, words = _settle(search)
    relative = turn.after(told.inverse)
    fits = {scale: trials.fitted(relative, scale, SCALE_STEPS) for scale in SCALES}
    scales = contest({scale: fit.deviances for scale, fit in fits.items()}, empty)
    scale_words, is_stored = _of_scale(scales, fits[scales.best].steps)
    return OrientedScan(
        _turned(dataset, relative, _as_metadata(turn, search.contest, scales)),
        found=(words, scale_words) if is_stored else (words,),
        assumed=(_ASSUMED,) if is_stored else (_ASSUMED, scale_words),
    )


def _settle(search: _Search) -> tuple[AxisTurn, str]:
    """The orientation, and the sentence that says how sure it is."""
    best, leads, explains = search.contest.best, search.contest.leads, search.contest.explains
    if explains.margin <= 0 or explains.standard_errors < ORIENTATION_NEEDS.standard_errors:
        raise DataContractError(
            f"{search.source}: no orientation of positions explains {search.judged_by} clearly better than an empty field of "
            "view does: too few photons, too little overlap, or a wrong probe.",
            hint="Say what you know with --position-order and --flip-positions, and leave --find-orientation out.",
        )
    tied = search.contest.tied(ORIENTATION_NEEDS)
    admissible = [turn for turn in tied if search.is_admissible(turn)]
    if not admissible:
        raise _contradicted(search)
    if len(admissible) > 1:
        raise _undecided(search, admissible)
    (turn,) = admissible
    if len(tied) == 1:
        rival, lead = next(iter(leads.items()))
        return best, f"orientation: {_named(best)}, by {search.judged_by}: {lead} over the next best ({rival}); {search.needed}"
    others = ", ".join(_named(other) for other in tied if other != turn)
    why = _why_tied(search, [turn, *(other for other in tied if other != turn)])
    return turn, f"orientation: {_named(turn)}, as the option says: by {search.judged_by} it is tied with {others}: {why}"


def _undecided(search: _Search, tied: list[AxisTurn]) -> DataContractError:
    best, leads = search.contest.best, search.contest.leads
    rival = next(turn for turn in tied if turn != best)
    names = ", or ".join(map(_named, tied)) if len(tied) == 2 else "; ".join(map(str, tied))
    return DataContractError(
        f"{search.source}: {len(tied)} orientations of positions are tied: {names}. By {search.judged_by} {best} leads {rival} "
        f"by {leads[rival]}; {search.needed}. The reason: {_why_tied(search, tied)}.",
        hint="Choose one with --position-order and --flip-positions, from the beamline's habits or the sign of the focus.",
    )


def _contradicted(search: _Search) -> DataContractError:
    told = next(turn for turn in search.contest.leads if search.is_admissible(turn))
    return DataContractError(
        f"{search.source}: of what the options allow, the best is: {_named(told)}; but {search.judged_by} say: "
        f"{_named(search.contest.best)}, by {search.contest.leads[told]}; {search.needed}.",
        hint="Leave --position-order and --flip-positions out, or --find-orientation.",
    )


def _named(turn: AxisTurn) -> str:
    return f"{turn} (--position-order {'xy' if turn.is_swapped else 'yx'} --flip-positions {turn.flips})"


def _why_tied(search: _Search, tied: list[AxisTurn]) -> str:
    """What makes the first and the others of a tie alike, as far as it can be told."""
    if any(_is_same_path(search.dataset.positions_yx, tied[0], other, search.told) for other in tied[1:]):
        return "the positions lie on a line, so that these are the same but for a shift"
    if {other.after(tied[0].inverse) for other in tied[1:]} == {AxisTurn(flips_y=True, flips_x=True)}:
        return (
            "they differ by a turn of both axes, a point reflection, and a conjugated object turned by half a turn makes the "
            "same patterns as far as the probe is its own conjugate mirror image, as this one is to "
            f"{_mirror_likeness(search.dataset.probe_guess):.0%}"
        )
    return "too few photons, too little overlap, a wrong probe, or an object that looks the same along an axis"


def _is_same_path(yx: npt.NDArray[np.float64], turn: AxisTurn, other: AxisTurn, told: AxisTurn) -> bool:
    first, second = (each.after(told.inverse).apply(yx) for each in (turn, other))
    apart = first - second
    return bool((np.ptp(apart, axis=0) < _SAME_PX).all())


def _mirror_likeness(probe: npt.NDArray[np.complex64]) -> float:
    """The overlap of a probe (N, N) with conj P(-r), whose spectrum is conj F P, at the best shift: max |F⁻¹ (F P)²| / Σ|P|²."""
    values = probe.astype(np.complex128)
    return float(np.abs(np.fft.ifft2(np.fft.fft2(values) ** 2)).max() / (np.abs(values) ** 2).sum())


def _of_scale(scales: Contest[float], steps: int) -> tuple[str, bool]:
    """What to say of the positions' scale, and whether the stored one may stay without a warning."""
    tried = f"of {SCALES[0]:g} to {SCALES[-1]:g} times the stored positions, in steps of {SCALES[1] - SCALES[0]:.3g},"
    if scales.best == 1:
        nearest, lead = next(iter(scales.leads.items()))
        return f"position scale: {tried} the stored one is the best, by {lead} over {nearest:g}", True
    lead = scales.leads[1.0]
    if steps < FEWEST_STEPS:
        return f"position scale: too few photons to tell it, for they end a descent after {steps} of {SCALE_STEPS} steps", True
    if not lead.reaches(SCALE_NEEDS):
        return f"position scale: {tried} {scales.best:g} is the best, but not clearly: it has {lead} over the stored one", True
    beyond = " or beyond" if scales.best in (SCALES[0], SCALES[-1]) else ""
    return (
        f"positions keep their scale, but {tried} {scales.best:g}{beyond} is clearly the best, by {lead} over the stored one: "
        f"check their unit, energy, distance and pixels, or set --position-scale {scales.best:g}"
    ), False


def _turned(dataset: PtychoDataset, relative: AxisTurn, facts: dict[str, Any]) -> PtychoDataset:
    """Positions turned, the least of each axis where it was."""
    metadata = dataset.metadata | {METADATA_KEY: facts}
    if relative == AS_THEY_ARE:
        return replace(dataset, metadata=metadata)
    yx = relative.apply(dataset.positions_yx)
    moved = dataset.positions_yx.min(axis=0) - yx.min(axis=0)
    offset = relative.apply(np.array([dataset.metadata["position_offset_yx_px"]]))[0] + moved
    metadata["position_offset_yx_px"] = offset.tolist()
    return replace(dataset, ycoords=yx[:, 0] + moved[0], xcoords=yx[:, 1] + moved[1], metadata=metadata)


def _as_metadata(turn: AxisTurn, turns: Contest[AxisTurn], scales: Contest[float]) -> dict[str, Any]:
    return {
        "position_order": "xy" if turn.is_swapped else "yx",
        "flip_positions": turn.flips,
        "margins": {str(other): lead.margin for other, lead in turns.leads.items()},
        "best_scale": scales.best,
        "scale_margins": {f"{other:g}": lead.margin for other, lead in scales.leads.items()},
    }
