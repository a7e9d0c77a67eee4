"""Write the scan in FOLDER/known.npz in every format of ptychodus: FOLDER/training.h5, pinn.npz, product.h5 with diffraction.h5,
product.cxi with diffraction.cxi. The positions of a product lie in another order than its patterns; in CXI, which keeps no
numbers of patterns, their numbers are rows.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from ptychodus.api.assemble import AssembledDiffractionData
from ptychodus.api.diffraction import (
    DiffractionDatasetLayoutNode,
    DiffractionMetadata,
    SimpleDiffractionArray,
    SimpleDiffractionDataset,
)
from ptychodus.api.geometry import ImageExtent, PixelGeometry
from ptychodus.api.io import save_diffraction_data, save_product, save_ptychopinn_training_data, save_training_data
from ptychodus.api.object import Object, ObjectCenter
from ptychodus.api.plugins import PluginRegistry
from ptychodus.api.probe import ProbeSequence
from ptychodus.api.probe_positions import ProbePosition, ProbePositionSequence
from ptychodus.api.product import Product, ProductMetadata
from ptychodus.api.reconstruct import ReconstructInput


def square(side_m: float) -> Any:
    return PixelGeometry(width_m=side_m, height_m=side_m)


def product_of(known: dict[str, Any], order: Iterable[int], first_index: int = 0) -> Any:
    y_m, x_m = known["yx_m"].T
    center_y_m, center_x_m = known["center_yx_m"]
    positions = [ProbePosition(int(row) + first_index, x_m[row] + center_x_m, y_m[row] + center_y_m) for row in order]
    geometry = square(float(known["pixel_size_m"]))
    return Product(
        metadata=ProductMetadata(
            name="known",
            comments="",
            detector_distance_m=float(known["detector_distance_m"]),
            photon_energy_eV=float(known["photon_energy_eV"]),
            probe_photon_count=1e4,
            exposure_time_s=0.1,
            mass_attenuation_m2_per_kg=0.0,
            tomography_angle_deg=0.0,
        ),
        probe_positions=ProbePositionSequence(positions),
        probes=ProbeSequence(known["probe"][np.newaxis, np.newaxis], opr_weights=None, pixel_geometry=geometry),
        object_=Object(
            known["object_hw"][np.newaxis], geometry, ObjectCenter(x_m=center_x_m, y_m=center_y_m), layer_spacing_m=[]
        ),
        losses=[],
    )


def dataset_of(known: dict[str, Any]) -> Any:
    counts = known["counts"]
    height, width = counts.shape[1:]
    metadata = DiffractionMetadata(
        num_patterns_per_array=[len(counts)],
        pattern_dtype=counts.dtype,
        detector_distance_m=float(known["detector_distance_m"]),
        detector_extent=ImageExtent(width, height),
        detector_pixel_geometry=square(float(known["detector_pixel_size_m"])),
        photon_energy_eV=float(known["photon_energy_eV"]),
    )
    array = SimpleDiffractionArray("known", np.arange(len(counts)), counts)
    return SimpleDiffractionDataset(metadata, DiffractionDatasetLayoutNode.create_root(), [array])


def main() -> None:
    folder, plugins = Path(sys.argv[1]), PluginRegistry.load_plugins()
    with np.load(folder / "known.npz") as file:
        known = dict(file)
    counts, bad_pixels = known["counts"], np.zeros(known["counts"].shape[1:], dtype=bool)
    ordered = ReconstructInput(counts, bad_pixels, product_of(known, range(len(counts))))
    save_training_data(folder / "training.h5", ordered)
    save_ptychopinn_training_data(folder / "pinn.npz", ordered)
    order, first_index = np.random.default_rng(1).permutation(len(counts)), 100
    detector, indexes = square(float(known["detector_pixel_size_m"])), np.arange(len(counts)) + first_index
    save_diffraction_data(folder / "diffraction.h5", AssembledDiffractionData(indexes, counts, detector, bad_pixels))
    save_product(folder / "product.h5", product_of(known, order, first_index))
    plugins.product_file_writers.get_strategy_by_name("CXI").write(folder / "product.cxi", product_of(known, order))
    plugins.diffraction_file_writers.get_strategy_by_name("CXI").write(folder / "diffraction.cxi", dataset_of(known))


if __name__ == "__main__":
    main()
