"""Read FILE, a CXI file, build cdtools' model of it, and say as JSON where and what that model sees: `FILE Y X`.

Y and X are the first pixel of the first patch in the file's object. With its object and probe replaced by those of the file, the
model's patterns are held against the file's; `moved` is the same with the object one pixel off.
"""

import json
import sys
from typing import Any

import h5py
import numpy as np
import torch
from cdtools.datasets import Ptycho2DDataset
from cdtools.models import FancyPtycho
from cdtools.tools.interactions import translations_to_pixel

PADDING_PX = 8


def pixels(model: Any, dataset: Any) -> Any:
    """Row and column of every patch's first pixel in the object of cdtools."""
    return translations_to_pixel(model.obj_basis, dataset.translations).numpy() - model.min_translation.numpy()


def misfit(model: Any, dataset: Any, object_yx: Any, corner_yx: Any) -> float:
    """Squared difference of the patterns, over their squares, with the best factor."""
    canvas = np.ones(model.obj.shape[-2:], np.complex64)
    height, width = np.minimum(object_yx.shape, np.array(canvas.shape) - corner_yx)
    from_y, from_x = np.maximum(-corner_yx, 0)
    top, left = np.maximum(corner_yx, 0)
    canvas[top : corner_yx[0] + height, left : corner_yx[1] + width] = object_yx[from_y:height, from_x:width]
    model.obj.data = torch.from_numpy(canvas).reshape(model.obj.shape)
    inputs, measured = dataset[:]
    with torch.no_grad():
        seen = model.forward(*inputs).double()
    factor = (seen * measured).sum() / (seen**2).sum()
    return float(((factor * seen - measured) ** 2).sum() / (measured.double() ** 2).sum())


def main() -> None:
    path, first_corner_yx = sys.argv[1], np.array([float(number) for number in sys.argv[2:4]])
    dataset = Ptycho2DDataset.from_cxi(path)
    model = FancyPtycho.from_dataset(dataset, probe_support_radius=None, obj_padding=PADDING_PX)
    with h5py.File(path) as file:
        object_yx, probe = file["entry_1/image_2/data"][()], file["entry_1/instrument_1/source_1/illumination"][()]
    model.probe.data = torch.from_numpy(probe).reshape(model.probe.shape)
    yx_px = pixels(model, dataset)
    corner_yx = np.rint(yx_px[0] - first_corner_yx).astype(int)
    said = {
        "yx_px": yx_px.tolist(),
        "misfit": misfit(model, dataset, object_yx, corner_yx),
        "moved": misfit(model, dataset, object_yx, corner_yx + 1),
        "counts": float(dataset.patterns.double().sum()),
        "wavelength_m": float(dataset.wavelength),
        "distance_m": float(dataset.detector_geometry["distance"]),
        "good_pixels": int(dataset.mask.sum()),
    }
    json.dump(said, sys.stdout)


if __name__ == "__main__":
    main()
