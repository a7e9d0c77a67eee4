"""How large a pixel of a scan is: what a detector, its distance and the photons' energy say of it.

A DATA-001 file keeps it in its `metadata_json`, under `geometry`; what nobody knows is left out.
"""

from collections.abc import Mapping
from typing import Any

from ptycho_torch.strict_model import Positive, Strict

METADATA_KEY = "geometry"
PIXELS_AGREE_WITHIN = 0.01
"""Share by which a stored pixel may differ from that of energy, distance and detector: rounding, not another experiment."""
PLANCK_TIMES_LIGHT_EV_M = 1.239841984332e-6
"""h·c [eV·m], exact since the SI of 2019 but for its last digit."""


class ScanGeometry(Strict):
    """Energy, distance and pixels of a far-field scan."""

    photon_energy_eV: Positive | None = None
    detector_distance_m: Positive | None = None
    detector_pixel_size_m: Positive | None = None
    """Of the patterns as they are in the file: after binning, where they were binned."""
    object_pixel_size_m: Positive | None = None
    """Where it is known without the others."""

    @property
    def wavelength_m(self) -> float | None:
        """λ = h·c / E."""
        return None if self.photon_energy_eV is None else PLANCK_TIMES_LIGHT_EV_M / self.photon_energy_eV

    def pixel_size_m(self, patch_size_px: int) -> float | None:
        """The side of a pixel of the object, λ·distance / (N·detector pixel) in the far field; None where it is not known."""
        if self.object_pixel_size_m is not None:
            return self.object_pixel_size_m
        return self.pixel_size_by_detector_m(patch_size_px)

    def pixel_size_by_detector_m(self, patch_size_px: int) -> float | None:
        """The same by energy, distance and detector alone, whatever `object_pixel_size_m` says."""
        wavelength_m = self.wavelength_m
        if wavelength_m is None or self.detector_distance_m is None or self.detector_pixel_size_m is None:
            return None
        return wavelength_m * self.detector_distance_m / (patch_size_px * self.detector_pixel_size_m)

    def as_metadata(self) -> dict[str, Any]:
        """What goes into `metadata_json`."""
        return {METADATA_KEY: self.model_dump(exclude_none=True)}


def geometry_of(metadata: Mapping[str, Any]) -> ScanGeometry:
    """The geometry in a dataset's metadata; an empty one where there is none."""
    return ScanGeometry.model_validate(metadata.get(METADATA_KEY, {}))
