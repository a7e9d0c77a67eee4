"""The geometry of a scan made whole: of pixel, energy, distance and detector pixel any three give the fourth.

And where a position lies in metres: programs that count in metres put the origin at the middle of the object.
"""

import numpy as np
import numpy.typing as npt

from ptycho_torch.errors import ConfigError
from ptycho_torch.scan_geometry import PIXELS_AGREE_WITHIN, ScanGeometry

FLAGS = {
    "object_pixel_size_m": "--pixel-size-m",
    "photon_energy_eV": "--energy-ev",
    "detector_distance_m": "--distance-m",
    "detector_pixel_size_m": "--detector-pixel-m",
}
"""How a user of `export` says each of the four."""
ENOUGH = 3


def whole_geometry(geometry: ScanGeometry, patch_size_px: int) -> ScanGeometry:
    """The geometry with what follows from it: pixel = h·c · distance / (energy · N · detector pixel), in the far field.

    Where fewer than three of the four are known, it comes back as it is.

    Raises
    ------
    ConfigError
        All four are known, and contradict each other.
    """
    missing = [field for field in FLAGS if getattr(geometry, field) is None]
    if not missing:
        _refuse_contradiction(geometry, patch_size_px)
    if len(missing) != 1:
        return geometry
    return geometry.model_copy(update={missing[0]: _fourth(geometry, missing[0], patch_size_px)})


def _fourth(geometry: ScanGeometry, missing: str, patch_size_px: int) -> float:
    pixel_m = geometry.pixel_size_m(patch_size_px)
    if missing == "object_pixel_size_m" and pixel_m is not None:
        return pixel_m
    assumed = geometry.model_copy(update={missing: 1.0, "object_pixel_size_m": None})
    share = (geometry.object_pixel_size_m or 0.0) / (assumed.pixel_size_m(patch_size_px) or 1.0)
    return share if missing == "detector_distance_m" else 1 / share  # a pixel grows with the distance alone


def _refuse_contradiction(geometry: ScanGeometry, patch_size_px: int) -> None:
    stated_m = geometry.object_pixel_size_m or 0.0
    computed_m = geometry.pixel_size_by_detector_m(patch_size_px) or 0.0
    if abs(stated_m - computed_m) > PIXELS_AGREE_WITHIN * computed_m:
        raise ConfigError(
            f"The object's pixel is said to be {stated_m:.4g} m, but energy, distance and detector pixel make it "
            f"{computed_m:.4g} m at N = {patch_size_px}.",
            hint=f"Correct one of {', '.join(FLAGS.values())}; the others come from the scan's metadata.",
        )


def require_whole(geometry: ScanGeometry, what: str) -> None:
    """Refuse a geometry in which one of the four is not known; `what` is the format that needs them.

    Raises
    ------
    ConfigError
        Naming the flags.
    """
    missing = [flag for field, flag in FLAGS.items() if getattr(geometry, field) is None]
    if not missing:
        return
    needed = ENOUGH - (len(FLAGS) - len(missing))
    raise ConfigError(
        f"{what} is in metres, and neither the scan's metadata nor a flag says enough of the scan's geometry: "
        f"{', '.join(missing)} are not known.",
        hint=f"Give {needed} of these flags; the last follows from the others.",
    )


def metres_from_middle(pixels: npt.NDArray[np.float64], side_px: int, pixel_size_m: float) -> npt.NDArray[np.float64]:
    """Positions (n,) on an object of so many pixels as metres from its middle, dx · (x - S/2).

    A position x of ours has its patch on the pixels x - N/2 to x + N/2 - 1, whose middle is x - 1/2; the middle of an array of S
    pixels is (S - 1)/2.
    """
    metres: npt.NDArray[np.float64] = pixel_size_m * (pixels - side_px / 2)
    return metres


def pixel_centres(first: int, last: int, side_px: int, pixel_size: float) -> npt.NDArray[np.float64]:
    """Where the pixels `first` to `last` - 1 of S lie from the middle, in the unit of the pixel's size."""
    centres: npt.NDArray[np.float64] = pixel_size * (np.arange(first, last, dtype=np.float64) - (side_px - 1) / 2)
    return centres
