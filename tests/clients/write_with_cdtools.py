"""Write the scan in FOLDER/known.npz as cdtools does, into FOLDER/cdtools.cxi; a CXI file of cdtools has no probe.

cdtools takes the probe's translations, with rows along -y and columns along -x of the laboratory.
"""

import sys
from pathlib import Path

import numpy as np
from cdtools.datasets import Ptycho2DDataset


def main() -> None:
    folder = Path(sys.argv[1])
    with np.load(folder / "known.npz") as file:
        known = dict(file)
    side_m, distance_m = float(known["detector_pixel_size_m"]), float(known["detector_distance_m"])
    height, width = known["counts"].shape[1:]
    y_m, x_m = known["yx_m"].T
    dataset = Ptycho2DDataset(
        np.stack([-x_m, -y_m, np.zeros_like(x_m)], axis=1),
        known["counts"].astype(np.float32),
        axes=["translation", "y", "x"],
        wavelength=float(known["wavelength_m"]),
        detector_geometry={
            "distance": distance_m,
            "basis": np.array([[0, -side_m], [-side_m, 0], [0, 0]]),
            "corner": np.array([side_m * width / 2, side_m * height / 2, distance_m]),
        },
        mask=np.ones((height, width), dtype=bool),
    )
    dataset.to_cxi(folder / "cdtools.cxi")


if __name__ == "__main__":
    main()
