"""The one form that a scan of any format is read into, before anything is done to it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from ptycho_torch.foreign_scans.pattern_sources import PatternSource
from ptycho_torch.scan_geometry import ScanGeometry

Quantity = Literal["intensity", "amplitude"]
Corner = Literal["center", "corner"]
Mask = npt.NDArray[np.bool_]
Modes = npt.NDArray[np.complex128]


@dataclass(frozen=True, eq=False)
class Positions:
    """Where the beam was: one row a pattern, or one row an index where the file numbers its patterns."""

    yx: npt.NDArray[np.float64]
    """(m, 2), rows first, growing as the object's row and column numbers do."""
    unit: Literal["px", "m"]
    """Pixels of the measured patterns in real space, counted as DATA-001 counts them, or metres."""
    index: npt.NDArray[np.int64] | None = None
    """(m,) the patterns' own numbers, by which positions and patterns are paired; None: row by row."""


@dataclass(frozen=True, eq=False)
class ForeignScan:
    """A scan as its file has it; what the file does not say is None."""

    format: str
    """The format's name, for people."""
    patterns: PatternSource
    """(n, H, W), read when they are needed."""
    positions: Positions | None
    patterns_name: str = "patterns"
    """What the file calls them, for messages."""
    pattern_index: npt.NDArray[np.int64] | None = None
    """(n,) the number of each pattern; None: its row."""
    probe: Modes | None = None
    """(modes, H, W)."""
    object_hw: npt.NDArray[np.complex64] | None = None
    """(H, W), on which positions in pixels count."""
    geometry: ScanGeometry = field(default_factory=ScanGeometry)
    bad_pixels: Mask | None = None
    """(H, W), True where a pixel is bad."""
    quantity: Quantity | None = None
    """What the format's patterns are by definition."""
    dc: Corner | None = None
    """Where the format keeps the zero frequency by definition."""
    found: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    other_files: tuple[Path, ...] = ()
    """What was read beside the source."""
