"""ptychodus' HDF5 files: the training file, which holds all, and the product, whose patterns lie in a diffraction file.

Of ptychodus 1.7.0, `ptychodus.api.io`. Its object's centre is at index (S - 1) / 2, so that its positions in pixels are half a
pixel below DATA-001. Patterns are intensity, zero frequency at the centre.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho_torch.errors import DataContractError
from ptycho_torch.foreign_scans.checked_arrays import as_coordinates, as_mask, as_modes, as_object, opr_words
from ptycho_torch.foreign_scans.foreign_scan import ForeignScan, Positions
from ptycho_torch.foreign_scans.hdf5_reading import attribute, names_of, need, need_complex, number, opened, read_dataset_of
from ptycho_torch.foreign_scans.ingest_options import IngestOptions
from ptycho_torch.foreign_scans.pattern_sources import Hdf5Patterns
from ptycho_torch.foreign_scans.ptychopinn_npz import PTYCHODUS_HALF_PIXEL
from ptycho_torch.npz_archive import AnyArray
from ptycho_torch.scan_geometry import ScanGeometry

DIFFRACTION_NAME = "diffraction.h5"
_SQUARE_WITHIN = 1e-3


def read_training_file(source: Path, options: IngestOptions) -> ForeignScan:
    """What `save_training_data` wrote.

    Raises
    ------
    DataContractError
        The file is damaged, near-field, or lacks a dataset.
    """
    with opened(source) as file:
        _refuse_near_field(file, source)
        yx = _coordinates(file, ("probe_position_y_px", "probe_position_x_px"), source)
        pixel_size_m = _square(
            number(file, "object_pixel_height_m", source), number(file, "object_pixel_width_m", source), source
        )
        return ForeignScan(
            format="ptychodus' training HDF5",
            patterns=Hdf5Patterns(source, "patterns", _axes(options)),
            positions=Positions(yx + PTYCHODUS_HALF_PIXEL, "px"),
            probe=as_modes(need_complex(file, "probe", source), "probe", source),
            object_hw=_optional_object(file, source),
            geometry=ScanGeometry(
                photon_energy_eV=number(file, "photon_energy_eV", source),
                detector_distance_m=number(file, "detector_object_distance_m", source),
                object_pixel_size_m=pixel_size_m,
            ),
            bad_pixels=as_mask(read_dataset_of(file, "bad_pixels", source)),
            quantity="intensity",
            dc="center",
            found=("positions of ptychodus, half a pixel below DATA-001: 0.5 px added",),
        )


def read_product_file(source: Path, options: IngestOptions) -> ForeignScan:
    """What `save_product` wrote, and the patterns that `save_diffraction_data` wrote.

    Raises
    ------
    DataContractError
        A file is missing, damaged or near-field, or lacks a dataset.
    """
    diffraction = options.diffraction or source.with_name(DIFFRACTION_NAME)
    if not diffraction.is_file():
        raise DataContractError(
            f"{source}: a ptychodus product holds no patterns, and {diffraction} is no file.",
            hint="Name the file of the patterns with --diffraction FILE.",
        )
    with opened(diffraction) as file:
        index = need(file, "indexes", diffraction).astype(np.int64)
        bad_pixels = as_mask(read_dataset_of(file, "bad_pixels", diffraction))
        need_patterns(file, diffraction)
        attributes = file["patterns"]
        sides = (attribute(attributes, "detector_pixel_height_m"), attribute(attributes, "detector_pixel_width_m"))
    with opened(source) as file:
        _refuse_near_field(file, source)
        energy_eV = attribute(file, "photon_energy_eV") or attribute(file, "probe_energy_eV")
        object_pixel_m, positions = _product_positions(file, source)
        probe = need_complex(file, "probe", source)
        return ForeignScan(
            format="ptychodus' product HDF5",
            patterns=Hdf5Patterns(diffraction, "patterns", _axes(options)),
            positions=positions,
            pattern_index=index,
            probe=as_modes(probe, "probe", source),
            object_hw=_optional_object(file, source),
            geometry=ScanGeometry(
                photon_energy_eV=energy_eV,
                detector_distance_m=attribute(file, "detector_object_distance_m"),
                detector_pixel_size_m=_square(*sides, diffraction),
                object_pixel_size_m=object_pixel_m,
            ),
            bad_pixels=bad_pixels,
            quantity="intensity",
            dc="center",
            found=(f"patterns of {diffraction.name}, paired with positions by their index",),
            assumed=opr_words(probe.shape),
            other_files=(diffraction,),
        )


def need_patterns(file: Any, path: Path) -> None:
    """Refuse a file without `patterns`.

    Raises
    ------
    DataContractError
        There are none.
    """
    if not hasattr(file.get("patterns"), "shape"):
        raise DataContractError(
            f"{path}: missing dataset `patterns`; it holds {', '.join(names_of(file)) or 'nothing'}.", hint="Name another file."
        )


def _product_positions(file: Any, source: Path) -> tuple[float, Positions]:
    """Size of the object's pixel [m], and positions on the object: (x - centre) / pixel + S / 2."""
    shape = need(file, "object", source).shape
    attrs = file["object"].attrs
    pixel_m = _square(attribute(file["object"], "pixel_height_m"), attribute(file["object"], "pixel_width_m"), source)
    missing = [key for key in ("center_y_m", "center_x_m") if key not in attrs]
    if pixel_m is None or missing:
        lacking = missing or ["pixel_width_m", "pixel_height_m"]
        raise DataContractError(
            f"{source}: `object` lacks the attribute {', '.join(lacking)}, so its positions in metres have no pixels.",
            hint="Save the product again with ptychodus.",
        )
    yx_m = _coordinates(file, ("probe_position_y_m", "probe_position_x_m"), source)
    center_yx_m = np.array([float(attrs["center_y_m"]), float(attrs["center_x_m"])])
    index = need(file, "probe_position_indexes", source).astype(np.int64)
    return pixel_m, Positions((yx_m - center_yx_m) / pixel_m + np.array(shape[-2:]) / 2, "px", index)


def _coordinates(file: Any, keys: tuple[str, str], source: Path) -> npt.NDArray[np.float64]:
    y, x = (as_coordinates(need(file, key, source), key, source) for key in keys)
    if len(y) != len(x):
        raise DataContractError(
            f"{source}: `{keys[0]}` has {len(y)} entries and `{keys[1]}` has {len(x)}; lengths must be equal.",
            hint="Export anew.",
        )
    return np.stack([y, x], axis=1)


def _optional_object(file: Any, source: Path) -> npt.NDArray[np.complex64] | None:
    """The object, where it is complex and of one layer; a template without content is none."""
    array: AnyArray | None = read_dataset_of(file, "object", source)
    is_image = array is not None and array.dtype.kind == "c" and (array.ndim == 2 or len(array) == 1)
    return as_object(array, "object", source) if array is not None and is_image else None


def _square(height_m: float | None, width_m: float | None, source: Path) -> float | None:
    """The side of a square pixel."""
    if height_m is None or width_m is None:
        return height_m or width_m
    if abs(height_m - width_m) > _SQUARE_WITHIN * width_m:
        raise DataContractError(
            f"{source}: a pixel is {height_m:g} m high and {width_m:g} m wide; allowed are square pixels.",
            hint="Crop patterns to a square in ptychodus, and export anew.",
        )
    return width_m


def _refuse_near_field(file: Any, source: Path) -> None:
    if "far_field" in file.attrs and not bool(file.attrs["far_field"]):
        raise DataContractError(
            f"{source}: a near-field scan (its attribute far_field is false); allowed are far-field scans, where a pattern is "
            "the Fourier transform of the wave behind the object.",
            hint="Reconstruct it with a program that propagates over short distances.",
        )


def _axes(options: IngestOptions) -> str:
    return "nhw" if options.pattern_axes == "auto" else options.pattern_axes
