"""A product of ptychodus (1.7) as HDF5, which silx, NeXpy and other NeXus tools open on the phase.

ptychodus ignores the NeXus group, and the tools the rest. The lengths are metres; a position's pixel is
(x - center_x) / pixel + (S - 1) / 2 on an object of S columns, for the middle of its patch.
"""

from pathlib import Path
from typing import Any

import numpy as np

from ptycho_torch.exporting.content import ExportContent
from ptycho_torch.exporting.hdf5_bytes import new_hdf5
from ptycho_torch.exporting.whole_geometry import metres_from_middle, pixel_centres, require_whole

ENTRY, PLOT = "reconstruction", "image"
UM_PER_M = 1e6


def write_product(content: ExportContent, path: Path) -> None:
    """Write object, probe and positions.

    Raises
    ------
    ConfigError
        The geometry is not known.
    """
    require_whole(content.geometry, "A ptychodus product")
    with new_hdf5(path) as file:
        _write_facts(file, content)
        _write_positions(file, content)
        _write_images(file, content)
        _write_default_plot(file, content)


def _write_facts(file: Any, content: ExportContent) -> None:
    file.attrs["name"] = content.title
    file.attrs["comments"] = content.origin
    file.attrs["detector_object_distance_m"] = content.geometry.detector_distance_m
    file.attrs["photon_energy_eV"] = content.geometry.photon_energy_eV
    file.attrs["far_field"] = True
    if content.probe_photons is not None:
        file.attrs["probe_photon_count"] = content.probe_photons


def _write_positions(file: Any, content: ExportContent) -> None:
    height, width = content.object_yx.shape
    pixel_m = content.pixel_size_m or 0.0
    file["probe_position_indexes"] = content.scan_index
    file["probe_position_x_m"] = metres_from_middle(content.scan.xcoords, width, pixel_m)
    file["probe_position_y_m"] = metres_from_middle(content.scan.ycoords, height, pixel_m)


def _write_images(file: Any, content: ExportContent) -> None:
    pixel = {"pixel_width_m": content.pixel_size_m, "pixel_height_m": content.pixel_size_m}
    file["object"] = content.object_yx[None]
    file["object"].attrs.update(pixel | {"center_x_m": 0.0, "center_y_m": 0.0})
    file["object_layer_spacing_m"] = np.empty(0)
    file["probe"] = content.probe[None, None]
    file["probe"].attrs.update(pixel)


def _write_default_plot(file: Any, content: ExportContent) -> None:
    """Amplitude and phase inside the box as NXdata, to which the `default` of the root leads."""
    height, width = content.object_yx.shape
    pixel_um = UM_PER_M * (content.pixel_size_m or 0.0)
    box, image = content.box, content.boxed
    file.attrs.update({"NX_class": "NXroot", "default": ENTRY})
    entry = file.create_group(ENTRY)
    entry.attrs.update({"NX_class": "NXentry", "default": PLOT})
    plot = entry.create_group(PLOT)
    plot.attrs.update({"NX_class": "NXdata", "signal": "phase"})
    plot.attrs["auxiliary_signals"], plot.attrs["axes"] = ["amplitude"], ["y", "x"]
    plot["title"] = content.title
    arrays = {
        "phase": (np.angle(image), "rad"),
        "amplitude": (np.abs(image), ""),
        "y": (pixel_centres(box.top, box.bottom, height, pixel_um), "um"),
        "x": (pixel_centres(box.left, box.right, width, pixel_um), "um"),
    }
    for name, (array, units) in arrays.items():
        plot[name] = array
        plot[name].attrs["units"] = units
