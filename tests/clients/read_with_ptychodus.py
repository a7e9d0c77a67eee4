"""Read a product by the reader of that name, and say it as JSON: `FORMAT FILE [COPY]`; COPY is written by ptychodus again.

With the format CXI the file's patterns are read too.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from ptychodus.api.io import load_product, save_product
from ptychodus.api.plugins import PluginRegistry


def sha256(array: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def described(product: Any) -> dict[str, Any]:
    object_yx, probe = product.object_.get_layer(0), product.probes.get_probe_no_opr().get_array()
    geometry, positions = product.object_.get_geometry(), product.probe_positions
    return {
        "object_shape": object_yx.shape,
        "object_dtype": str(object_yx.dtype),
        "object_sha256": sha256(object_yx),
        "probe_shape": probe.shape,
        "probe_dtype": str(probe.dtype),
        "probe_sha256": sha256(probe),
        "indexes": positions.get_indexes().tolist(),
        "x_px": geometry.map_probe_positions_to_object_x_px(positions).tolist(),
        "y_px": geometry.map_probe_positions_to_object_y_px(positions).tolist(),
        "pixel_size_m": [geometry.pixel_height_m, geometry.pixel_width_m],
        "photon_energy_eV": product.metadata.photon_energy_eV,
        "detector_distance_m": product.metadata.detector_distance_m,
        "probe_photon_count": product.metadata.probe_photon_count,
        "name": product.metadata.name,
    }


def patterns_of(path: Path, plugins: Any) -> dict[str, Any]:
    dataset = plugins.diffraction_file_readers.get_strategy_by_name("CXI").read(path)
    patterns, bad_pixels = np.concatenate([array.get_patterns() for array in dataset]), dataset.get_bad_pixels()
    return {
        "patterns_shape": patterns.shape,
        "patterns_sha256": sha256(patterns.astype(np.float64)),
        "bad_pixels": 0 if bad_pixels is None else int(np.sum(bad_pixels)),
        "detector_pixel_m": dataset.get_metadata().detector_pixel_geometry.width_m,
    }


def main() -> None:
    plugins, name, path = PluginRegistry.load_plugins(), sys.argv[1], Path(sys.argv[2])
    product = plugins.product_file_readers.get_strategy_by_name(name).read(path)
    said = described(product) | (patterns_of(path, plugins) if name == "CXI" else {})
    if len(sys.argv) > 3:
        save_product(Path(sys.argv[3]), product)
        said["copy"] = described(load_product(Path(sys.argv[3])))
    json.dump(said, sys.stdout)


if __name__ == "__main__":
    main()
