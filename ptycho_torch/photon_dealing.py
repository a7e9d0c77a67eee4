"""How to hold photons out: each goes by chance to one of two parts (binomial thinning).

A network that is scored on the counts it was fed learns their noise. Poisson counts can be split instead: of n photons each goes
to the first part with probability p, and the two parts are exactly independent Poisson counts of means p·I and (1 - p)·I.

Up to 255 photons of a pixel are dealt by an alias table for each n [Walker, Electronics Letters 10, 127 (1974)]: probabilities
are laid out in columns of one height, none of which holds more than two outcomes, and a random number hits one of them. That
takes a third of the time of `torch.binomial`, which deals where there are more.
"""

from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Generator, Tensor

COLUMN_BITS, HEIGHT_BITS = 8, 23
"""Of a pixel's random number of 31 bits: those that choose a column, and the height at which it is hit. A column is parted to
2⁻²⁴ of its height, so that the probability q of an outcome is off by 2⁻³² for each column that it shares: 256 of them, or one
where q < 2⁻⁸. What that adds to the chi-square of m pixels of one n is m · 2⁻⁴⁸ / q, or m · 2⁻⁶⁴ / q: of 10⁹ pixels less than
0.001 where q is large, less than 0.1 for all that happens once."""
COLUMNS = 1 << COLUMN_BITS
MOST_BY_TABLE = COLUMNS - 1
"""The largest n that has a table."""
DEALT_AT_ONCE = 1 << 22
"""Pixels whose photons are dealt in one call: bounds the memory, and on a CPU the same photons are dealt whatever it is."""


def dealing_device(device: torch.device) -> torch.device:
    """Where the photons of tensors on `device` are dealt: there, or on the CPU where torch has no binomial for it, as on MPS."""
    return device if device.type in ("cpu", "cuda") else torch.device("cpu")


def split_photons(counts: Tensor, fraction: float, generator: Generator) -> tuple[Tensor, Tensor]:
    """Deal each photon to one of two parts by chance.

    Parameters
    ----------
    counts
        Photons, whole numbers in a float tensor of any shape.
    fraction
        The chance that a photon goes to the first part, 0 to 1.
    generator
        On `dealing_device(counts.device)`, or any other that has a binomial: photons are dealt on the generator's device. The
        same state deals the same photons.

    Returns
    -------
    The two parts, on the device of `counts`; they sum to `counts`.

    Raises
    ------
    ValueError
        The fraction is not in this range.
    """
    fed = torch.zeros_like(counts, memory_format=torch.contiguous_format)
    for photons, dealt in _a_few_at_a_time(counts, fed, generator.device):
        lit = _more_than(0, photons)
        _lay(dealt, lit, _by_table(photons.index_select(0, lit), fraction, generator))
    if counts.numel() and counts.max() > MOST_BY_TABLE:
        for photons, dealt in _a_few_at_a_time(counts, fed, generator.device):
            bright = _more_than(MOST_BY_TABLE, photons)
            many = photons.index_select(0, bright)
            _lay(dealt, bright, torch.binomial(many, torch.full_like(many, fraction), generator=generator))
    return fed, counts - fed


def _a_few_at_a_time(counts: Tensor, fed: Tensor, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Flat photons on the dealing device, and where their first part belongs."""
    for photons, dealt in zip(counts.reshape(-1).split(DEALT_AT_ONCE), fed.view(-1).split(DEALT_AT_ONCE), strict=True):
        yield photons.to(device), dealt


def _lay(dealt: Tensor, pixels: Tensor, photons: Tensor) -> None:
    dealt.scatter_(0, pixels.to(dealt.device), photons.to(dealt))


def _more_than(least: int, photons: Tensor) -> Tensor:
    """The rows of pixels (m,) with more photons: NumPy finds them in a fifth of the time that PyTorch takes on a CPU."""
    if photons.device.type == "cpu":
        return torch.from_numpy(np.flatnonzero(photons.numpy() > least))
    return (photons > least).nonzero()[:, 0]


def _by_table(photons: Tensor, fraction: float, generator: Generator) -> Tensor:
    """How many of some pixels' photons (m,), on the generator's device, go to the first part; of too many, anything."""
    partings, outcomes = _tables(fraction, generator.device)
    numbers = torch.empty(photons.shape, dtype=torch.int32, device=photons.device).random_(generator=generator)
    columns = (numbers & MOST_BY_TABLE).add_(photons.clamp(max=MOST_BY_TABLE).int(), alpha=COLUMNS)
    above = numbers.bitwise_right_shift_(COLUMN_BITS) >= partings.index_select(0, columns)
    # The one or the other is looked up: `torch.where` takes longer where chance alone decides.
    return outcomes.index_select(0, columns.mul_(2).add_(above))


@lru_cache(maxsize=8)
def _tables(fraction: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """For each n and column: how high it is parted (int32), and the outcomes below and above (float32, two by two); flat."""
    heights, others = alias_tables(fraction)
    partings = np.rint(heights * (1 << HEIGHT_BITS)).astype(np.int32)
    outcomes = np.stack(np.broadcast_arrays(np.arange(COLUMNS), others), axis=-1).astype(np.float32)
    return torch.from_numpy(partings.ravel()).to(device), torch.from_numpy(outcomes.ravel()).to(device)


def alias_tables(fraction: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Tables of the binomial distributions of up to 255 photons, (256, 256) each: a row for each n, of as many columns.

    Returns
    -------
    Up to which share of its height, 0 to 1, a column holds its own number as the outcome, and the outcome above.

    Raises
    ------
    ValueError
        The fraction is not from 0 to 1.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"photons can't be dealt with a chance of {fraction}: 0 to 1 is allowed")
    parted = [_parted(row) for row in _binomial(fraction)]
    return np.array([heights for heights, _ in parted]), np.array([others for _, others in parted])


def _binomial(fraction: float) -> npt.NDArray[np.float64]:
    """(256, 256) probabilities of k of n photons, a row for each n: by Pascal's rule, in which nothing is subtracted."""
    rows = np.zeros((COLUMNS, COLUMNS))
    rows[0, 0] = 1
    for before, row in pairwise(rows):
        row[:] = (1 - fraction) * before
        row[1:] += fraction * before[:-1]
    return rows


def _parted(probabilities: npt.NDArray[np.float64]) -> tuple[list[float], list[int]]:
    """A distribution in columns [Vose, IEEE Trans. Softw. Eng. 17, 972 (1991)]: those that overflow fill those that lack."""
    heights: list[float] = (probabilities * COLUMNS).tolist()
    others = list(range(COLUMNS))
    lacking = [column for column, height in enumerate(heights) if height < 1]
    overflowing = [column for column, height in enumerate(heights) if height >= 1]
    while lacking and overflowing:
        column, giver = lacking.pop(), overflowing[-1]
        others[column] = giver
        heights[giver] -= 1 - heights[column]
        if heights[giver] < 1:
            lacking.append(overflowing.pop())
    for column in lacking + overflowing:  # full, but for what rounding left
        heights[column] = 1.0
    return heights, others
