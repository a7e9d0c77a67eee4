"""Amplitude and phase as a stack of two pictures that ImageJ, Fiji and napari open, with the size of a pixel."""

from pathlib import Path

import numpy as np

from ptycho_torch.atomic_files import replacing
from ptycho_torch.exporting.content import ExportContent

LABELS = ("amplitude", "phase [rad]")
UM_PER_M = 1e6


def write_tiff(content: ExportContent, path: Path) -> None:
    """Write what is inside the box, float32, axes CYX; in pixels where nobody knows how large they are.

    A complex TIFF is left alone: hardly any program opens one.
    """
    import tifffile

    image, box = content.boxed, content.box
    stack = np.stack([np.abs(image), np.angle(image)]).astype(np.float32)
    pixels_per_unit = 1.0 if content.pixel_size_m is None else 1 / (UM_PER_M * content.pixel_size_m)
    place = f"rows {box.top} to {box.bottom - 1}, columns {box.left} to {box.right - 1} of the object"
    metadata = {
        "axes": "CYX",
        "unit": "pixel" if content.pixel_size_m is None else "um",
        "mode": "grayscale",  # each channel alone, instead of both as one picture in colours
        "Labels": list(LABELS),
        "Ranges": tuple(float(edge) for channel in stack for edge in (channel.min(), channel.max())),
        "Info": f"{content.title}\n{place}\n{content.origin}",
    }
    with replacing(path) as file:
        tifffile.imwrite(file, stack, imagej=True, resolution=(pixels_per_unit, pixels_per_unit), metadata=metadata)
