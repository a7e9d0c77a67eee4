"""The probe of a scan whose patterns are cropped and binned: one mode, on the pixels and in the window that a patch then has."""

from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from ptycho_torch.errors import DataContractError
from ptycho_torch.foreign_scans.detector_window import DetectorWindow
from ptycho_torch.foreign_scans.foreign_scan import Modes
from ptycho_torch.foreign_scans.pattern_survey import beam_center

CLEARLY_STRONGEST = 0.9
"""A mode that holds this share of a probe's power may stand for all."""
_LEAST_KEPT = 0.9
"""A binned patch is smaller: less of the probe's power than this inside it, and the patterns' fringes are lost."""

Probe = npt.NDArray[np.complex128]


def one_mode(modes: Modes, choice: Literal["auto", "strongest"], source: Path) -> tuple[Probe, str | None]:
    """The strongest mode (H, W) of a probe (modes, H, W), and what to say of the others.

    Raises
    ------
    DataContractError
        No mode holds nearly all of the power, and nobody chose.
    """
    powers = (np.abs(modes) ** 2).sum(axis=(1, 2))
    strongest, share = int(powers.argmax()), float(powers.max() / powers.sum())
    if len(modes) == 1:
        return modes[0], None
    if choice == "auto" and share < CLEARLY_STRONGEST:
        raise DataContractError(
            f"{source}: `probe` has shape {modes.shape}, more than one mode, the strongest of which holds {share:.0%} of the "
            f"power; allowed is a single coherent mode, or one that holds {CLEARLY_STRONGEST:.0%}.",
            hint="Keep the strongest with --probe-mode strongest, or reconstruct with one.",
        )
    return modes[
        strongest
    ], f"of {len(modes)} probe modes the one that holds {share:.1%} of the power is kept, number {strongest}"


def far_field_center(probe: Probe) -> tuple[float, float]:
    """The centroid (row, column) of the probe's own far field, zero frequency at the centre."""
    return beam_center(np.abs(_far_field(probe)) ** 2)


def cut_probe(probe: Probe, window: DetectorWindow, source: Path) -> tuple[Probe, float]:
    """The probe as the cropped and binned detector sees it, and the share of its power that a patch keeps.

    A crop of the far field makes larger pixels, binning makes the window smaller. A block's middle lies (b - 1) / 2 detector
    pixels beyond the frequency that DATA-001 takes it for: the probe takes that ramp.

    Parameters
    ----------
    probe
        (H, W), as large as a pattern.
    window
        What is kept of a pattern.
    source
        The file that messages name.

    Raises
    ------
    DataContractError
        The probe does not fit into the window that binning leaves.
    """
    if probe.shape != (window.side_px, window.side_px):
        probe = _back(_far_field(probe)[window.slices])
    if window.bin_px == 1:
        return probe, 1.0
    side, margin = window.patch_size_px, (window.side_px - window.patch_size_px) // 2
    inside = probe[margin : margin + side, margin : margin + side]
    kept = float((np.abs(inside) ** 2).sum() / (np.abs(probe) ** 2).sum())
    if kept < _LEAST_KEPT:
        raise DataContractError(
            f"{source}: bins of {window.bin_px} px leave a patch of {side} px, in which {kept:.0%} of the probe's power lies; "
            f"allowed is {_LEAST_KEPT:.0%} at least.",
            hint="Choose a smaller --bin-px.",
        )
    ramp = np.exp(-1j * np.pi * (window.bin_px - 1) / window.side_px * (np.arange(side) - side // 2))
    return inside * ramp[:, np.newaxis] * ramp, kept


def _far_field(probe: Probe) -> Probe:
    return np.asarray(np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(probe), norm="ortho")))


def _back(far_field: Probe) -> Probe:
    return np.asarray(np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(far_field), norm="ortho")))
