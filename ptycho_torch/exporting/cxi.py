"""A CXI 1.6 file: counts, probe, positions and object, for cdtools, ptychodus and others.

The sign of the translations: cdtools takes them for the sample's and turns them round, and with this basis (rows grow with -y,
columns with -x) its steps are those of our pixels again; ptychodus takes them for the probe's as they are.
"""

from pathlib import Path
from typing import Any

import numpy as np

from ptycho_torch.exporting.content import ExportContent
from ptycho_torch.exporting.hdf5_bytes import new_hdf5
from ptycho_torch.exporting.whole_geometry import metres_from_middle, require_whole

CXI_VERSION = 160
JOULE_PER_EV = 1.602176634e-19
"""Exact since the SI of 2019."""
SOURCE, DETECTOR = "entry_1/instrument_1/source_1", "entry_1/instrument_1/detector_1"
TRANSLATION = "entry_1/sample_1/geometry_1/translation"
PROBE, OBJECT = "entry_1/image_1", "entry_1/image_2"
EXTENSION = "entry_1/ptychodus"
"""What CXI has no word for, in those of ptychodus."""


def write_cxi(content: ExportContent, path: Path) -> None:
    """Write counts (where the scan knows them), probe, positions and object.

    Raises
    ------
    ConfigError
        The geometry is not known.
    """
    require_whole(content.geometry, "A CXI file")
    with new_hdf5(path) as file:
        file["cxi_version"], file["number_of_entries"] = CXI_VERSION, 1
        file["entry_1/title"], file["entry_1/experiment_description"] = content.title, content.origin
        _write_instrument(file, content)
        _write_positions(file, content)
        _write_image(file, PROBE, content.probe, content)
        _write_image(file, OBJECT, content.object_yx, content)
        _link(file, f"{SOURCE}/illumination", f"{PROBE}/data")
        _write_extension(file, content)


def _write_instrument(file: Any, content: ExportContent) -> None:
    geometry = content.geometry
    distance_m, pixel_m = geometry.detector_distance_m or 0.0, geometry.detector_pixel_size_m or 0.0
    file[f"{SOURCE}/energy"] = (geometry.photon_energy_eV or 0.0) * JOULE_PER_EV
    file[f"{SOURCE}/wavelength"] = geometry.wavelength_m
    file[f"{DETECTOR}/distance"] = distance_m
    file[f"{DETECTOR}/x_pixel_size"] = file[f"{DETECTOR}/y_pixel_size"] = pixel_m
    file[f"{DETECTOR}/basis_vectors"] = np.array([[0.0, -pixel_m], [-pixel_m, 0.0], [0.0, 0.0]])
    corner_m = pixel_m * content.scan.patch_size_px / 2  # the zero frequency is pixel N/2
    file[f"{DETECTOR}/corner_position"] = np.array([corner_m, corner_m, distance_m])
    file[f"{DETECTOR}/mask"] = np.zeros(content.probe.shape, np.uint32)
    if content.scan.intensity_scale is not None:
        counts = content.scan.counts()
        data = file.create_dataset(f"{DETECTOR}/data", data=counts, compression="gzip", chunks=(1, *counts.shape[1:]))
        data.attrs["axes"] = "translation:y:x"
        _link(file, "entry_1/data_1/data", f"{DETECTOR}/data")


def _write_positions(file: Any, content: ExportContent) -> None:
    height, width = content.object_yx.shape
    pixel_m = content.pixel_size_m or 0.0
    x_m = metres_from_middle(content.scan.xcoords, width, pixel_m)
    y_m = metres_from_middle(content.scan.ycoords, height, pixel_m)
    file[TRANSLATION] = np.stack([x_m, y_m, np.zeros_like(x_m)], axis=1)
    _link(file, "entry_1/data_1/translation", TRANSLATION)
    _link(file, f"{DETECTOR}/translation", TRANSLATION)


def _write_image(file: Any, where: str, image: Any, content: ExportContent) -> None:
    pixel_m = content.pixel_size_m or 0.0
    height, width = image.shape
    file[f"{where}/data"] = image
    file[f"{where}/data"].attrs["axes"] = "y:x"
    file[f"{where}/data_space"] = "real"
    file[f"{where}/is_fft_shifted"] = 0
    file[f"{where}/image_size"] = np.array([width * pixel_m, height * pixel_m, 0.0])


def _write_extension(file: Any, content: ExportContent) -> None:
    facts = {"probe_position_indexes": content.scan_index, "object_center_x_m": 0.0, "object_center_y_m": 0.0}
    for name in ("object_pixel_width_m", "object_pixel_height_m", "probe_pixel_width_m", "probe_pixel_height_m"):
        facts[name] = content.pixel_size_m
    if content.probe_photons is not None:
        facts["probe_photon_count"] = content.probe_photons
    for name, value in facts.items():
        file[f"{EXTENSION}/{name}"] = value


def _link(file: Any, name: str, target: str) -> None:
    import h5py

    file[name] = h5py.SoftLink(f"/{target}")
