"""Which of several readings of the same positions explains held-out photons best, and whether by enough to believe it.

A reading is an orientation or a scale. Each pattern k of a few says how badly its held-out photons fit, D_k. A reading loses by

    margin = Σ(D - D_best) / Σ(D_empty - D_best)        z = Σd / √(n · var d),  d_k = D_k - D_best,k

The margin is a share of all that the best reading explains beyond an empty field of view: the photons' own noise, which is in
every D alike, cancels. z counts standard errors, for margins that few photons make by chance.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

Deviances = npt.NDArray[np.float64]
"""(n,) one of each pattern."""

Reading = TypeVar("Reading")


@dataclass(frozen=True)
class Lead:
    """By how much the best reading is better than another."""

    margin: float
    standard_errors: float

    def __str__(self) -> str:
        return f"a margin of {self.margin:.1%} at {self.standard_errors:.1f} standard errors"

    def reaches(self, least: "Lead") -> bool:
        """Both numbers do."""
        return self.margin >= least.margin and self.standard_errors >= least.standard_errors


@dataclass(frozen=True, eq=False)
class Contest(Generic[Reading]):
    """The readings, the best first."""

    best: Reading
    leads: Mapping[Reading, Lead]
    """Of the best over each of the others; the nearest first."""
    explains: Lead
    """Of the best over an empty field of view: its margin is 1, or 0 where nothing is explained."""

    def tied(self, least: Lead) -> tuple[Reading, ...]:
        """The best, and the others over which its lead does not reach `least`."""
        return (self.best, *(reading for reading, lead in self.leads.items() if not lead.reaches(least)))


def contest(fitted: Mapping[Reading, Deviances], empty: Deviances) -> Contest[Reading]:
    """Compare readings by the deviances (n,) of the same held-out photons.

    Parameters
    ----------
    fitted
        Of each reading; not finite where its reconstruction was not.
    empty
        Of an empty field of view.
    """
    total = {reading: float(each.sum()) if np.isfinite(each).all() else np.inf for reading, each in fitted.items()}
    order = sorted(fitted, key=lambda reading: total[reading])
    best = fitted[order[0]]
    explained = float((empty - best).sum())
    return Contest(order[0], {other: _lead(fitted[other], best, explained) for other in order[1:]}, _lead(empty, best, explained))


def _lead(other: Deviances, best: Deviances, explained: float) -> Lead:
    if not np.isfinite(other).all():
        return Lead(np.inf, np.inf)
    differences = other - best
    error = float(np.sqrt(len(differences) * differences.var(ddof=1))) if len(differences) > 1 else 0.0
    total = float(differences.sum())
    return Lead(total / explained if explained > 0 else 0.0, total / error if error > 0 else 0.0)
