"""What a user may say of a scan that its file does not say of itself."""

from pathlib import Path
from typing import Literal

from ptycho_torch.scan_geometry import ScanGeometry
from ptycho_torch.strict_model import Count, PatchSize, Positive, Strict

FormatName = Literal[
    "auto", "tike-npz", "ptychopinn-npz", "ptychodus-training", "ptychodus-product", "cxi", "ptypy-ptyd", "arrays"
]


MEAN_PATTERN = "mean-pattern"
"""In place of a probe's file: there is none, make one. A file of that name is `./mean-pattern`."""


class IngestOptions(Strict):
    """What the user says of a scan; `auto` is found from the file, or told by its format."""

    format: FormatName = "auto"
    """Which program's file the source is; `arrays`: the source holds patterns alone, as `FILE` or `FILE:KEY`."""
    patch_size_px: PatchSize | None = None
    """Side of the patterns that are written, about the beam's centre [px]; null keeps them as measured, but for `bin_px`."""
    bin_px: Count = 1
    """Blocks of so many by so many detector pixels become one, which holds the sum of their counts."""
    dc: Literal["auto", "corner", "center"] = "auto"
    """Where the zero frequency lies in the source's patterns."""
    quantity: Literal["auto", "intensity", "amplitude"] = "auto"
    """What the source's patterns hold."""
    pattern_axes: Literal["auto", "nhw", "nwh", "hwn", "whn"] = "auto"
    """Order of the patterns' axes as numpy sees them: number, height (rows), width (columns)."""
    position_unit: Literal["auto", "px", "m", "um"] = "auto"
    """Unit of the positions; pixels are those of the source's own patterns in real space."""
    position_order: Literal["auto", "yx", "xy"] = "auto"
    """Which of a position's two numbers comes first: that along rows' numbers (y) or along columns' (x)."""
    flip_positions: Literal["auto", "none", "y", "x", "yx"] = "auto"
    """Coordinates that grow the other way than the object's row and column numbers: their sign is turned; `auto` turns none, but
    leaves it to `find_orientation`."""
    find_orientation: bool = False
    """Find the order and signs of positions from the patterns; `position_order` and `flip_positions` settle a tie."""
    position_scale: Positive = 1.0
    """A factor that positions are multiplied with."""
    probe_mode: Literal["auto", "strongest"] = "auto"
    """Of a probe of several modes: `strongest` keeps that one, whatever the others hold."""
    keep_object: bool = False
    """Keep the source's object as `objectGuess`, against which results are then scored as if it were the truth."""
    diffraction: Path | None = None
    """The file of the patterns, where the source is a ptychodus product; null: `diffraction.h5` beside it."""
    positions: str | None = None
    """`FILE` or `FILE:KEY` of the positions, instead of the source's own."""
    probe: str | None = None
    """`FILE` or `FILE:KEY` of the probe, instead of the source's own; `mean-pattern` makes one of the patterns."""
    refine_probe: bool = False
    """Refine the probe together with an object; one that is made of the patterns always is."""
    bad_pixels: str | None = None
    """`FILE` or `FILE:KEY` of a mask (H, W) that is not zero where a pixel is bad, beside the source's own."""
    geometry: ScanGeometry = ScanGeometry()
    """What is known of energy, distance and pixels; it wins over what the source says."""

    @property
    def makes_probe(self) -> bool:
        """The probe is made of the patterns."""
        return self.probe == MEAN_PATTERN
