"""The geometry of a scan from what its file and its user say, and after its patterns were cropped and binned."""

from pathlib import Path

from ptycho_torch.errors import DataContractError
from ptycho_torch.foreign_scans.detector_window import DetectorWindow
from ptycho_torch.scan_geometry import PIXELS_AGREE_WITHIN, ScanGeometry

_ENERGY_RANGE_EV = (10.0, 1e6)


def merge_geometry(
    by_file: ScanGeometry, told: ScanGeometry, shape: tuple[int, ...], source: Path
) -> tuple[ScanGeometry, list[str]]:
    """What the user says, else what the file says, of patterns (H, W) as measured; and what is only assumed.

    Raises
    ------
    DataContractError
        The energy is none of X-rays in eV, or the stored pixel of the object is not what energy, distance and detector give.
    """
    said, stored = told.model_dump(exclude_none=True), by_file.model_dump(exclude_none=True)
    merged = ScanGeometry.model_validate(stored | said)
    notes = [
        f"{key} is {value:g} (as the option says)" + (f", the file has {stored[key]:g}" if key in stored else "")
        for key, value in said.items()
    ]
    _check_energy(merged.photon_energy_eV, source)
    if "object_pixel_size_m" in said:
        return merged, notes
    by_detector_m = merged.pixel_size_by_detector_m(shape[-1])
    stored_m = merged.object_pixel_size_m
    if by_detector_m is not None and stored_m is not None and shape[0] == shape[1]:
        if abs(by_detector_m - stored_m) > PIXELS_AGREE_WITHIN * stored_m:
            raise DataContractError(
                f"{source}: the object's pixel is {stored_m:g} m by the file, but {by_detector_m:g} m by energy, distance and "
                f"detector pixel of {shape[-1]} px.",
                hint="Say which holds with --object-pixel-size-m, or correct --photon-energy-ev, --detector-distance-m or "
                "--detector-pixel-size-m.",
            )
        if said:
            merged = merged.model_copy(update={"object_pixel_size_m": None})
    return merged, notes


def geometry_in_window(measured: ScanGeometry, shape: tuple[int, ...], window: DetectorWindow) -> ScanGeometry:
    """The geometry of the patterns in the window: bins make the detector's pixel larger, a crop the object's.

    Parameters
    ----------
    measured
        Of the patterns (H, W) as they were measured.
    shape
        H and W.
    window
        What is kept of them.
    """
    object_m, detector_m = measured.object_pixel_size_m, measured.detector_pixel_size_m
    wavelength_m, distance_m = measured.wavelength_m, measured.detector_distance_m
    if detector_m is None and object_m is not None and wavelength_m is not None and distance_m is not None:
        detector_m = wavelength_m * distance_m / (shape[-1] * object_m)
    return measured.model_copy(
        update={
            "detector_pixel_size_m": None if detector_m is None else detector_m * window.bin_px,
            "object_pixel_size_m": None if object_m is None else object_m * (shape[-1] / window.side_px),
        }
    )


def _check_energy(energy_eV: float | None, source: Path) -> None:
    low, high = _ENERGY_RANGE_EV
    if energy_eV is not None and not low <= energy_eV <= high:
        raise DataContractError(
            f"{source}: the photons' energy is {energy_eV:g} eV; allowed is {low:g} to {high:g} eV.",
            hint="Was it in keV or joule? Say it with --photon-energy-ev.",
        )
