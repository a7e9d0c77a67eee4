"""The eight ways in which a beamline may count scan positions: rows and columns swapped or not, each axis turned or not.

An `AxisTurn` swaps first and turns signs second, as `--position-order` and `--flip-positions` do. The eight are the symmetries of
the square: any two after one another are one of them again, and each has an inverse.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Flips = Literal["none", "y", "x", "yx"]


@dataclass(frozen=True)
class AxisTurn:
    """One of the eight."""

    is_swapped: bool = False
    """What counted rows counts columns."""
    flips_y: bool = False
    """Rows then grow the other way."""
    flips_x: bool = False
    """Columns then grow the other way."""

    @property
    def signs(self) -> npt.NDArray[np.float64]:
        """(2,) of y and x, after the swap."""
        return np.where([self.flips_y, self.flips_x], -1.0, 1.0)

    @property
    def flips(self) -> Flips:
        """As `--flip-positions` has it."""
        names: tuple[Flips, ...] = ("none", "y", "x", "yx")
        return names[self.flips_y + 2 * self.flips_x]

    def apply(self, yx: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Positions (n, 2), rows first, in any unit; about the origin."""
        return (yx[:, ::-1] if self.is_swapped else yx) * self.signs

    def after(self, first: "AxisTurn") -> "AxisTurn":
        """The turn that does `first`, and then this one."""
        flips = (first.flips_x, first.flips_y) if self.is_swapped else (first.flips_y, first.flips_x)
        return AxisTurn(self.is_swapped != first.is_swapped, self.flips_y != flips[0], self.flips_x != flips[1])

    @property
    def inverse(self) -> "AxisTurn":
        """The turn that undoes this one."""
        return AxisTurn(True, self.flips_x, self.flips_y) if self.is_swapped else self

    def __str__(self) -> str:
        flips = {"none": "", "y": "y turned", "x": "x turned", "yx": "both axes turned"}[self.flips]
        parts = ["rows and columns swapped"] * self.is_swapped + [flips] * (self.flips != "none")
        return ", ".join(parts) or "as they are"


AS_THEY_ARE = AxisTurn()
ALL_TURNS = tuple(AxisTurn(swapped, y, x) for swapped in (False, True) for y in (False, True) for x in (False, True))
"""In the order of ptypy's codes 0 to 7: 4 · swapped + 2 · y + x."""
