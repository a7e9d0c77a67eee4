"""Makes the pictures of docs/your-own-scan.md from what its commands leave in outputs/: `make own-scan-pictures`.

python docs/own_scan_pictures.py outputs docs
"""

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from ptycho_torch.npz_archive import read_arrays

COLOURS, WIDTH_PX = 256, 800
"""Enough for a page, and few enough for small files."""
PANEL_IN, DPI = 4.0, 100
PANELS = {"object": "network alone", "refined": "network, refined"}


def reconstruction(file: Path) -> Image.Image:
    """The phase of the whole scan by the network alone and refined, on one scale, inside the box where the beam went."""
    arrays = read_arrays(file, (*PANELS, "box"))
    top, bottom, left, right = arrays["box"]
    phases = {name: _phase(arrays[key][top:bottom, left:right]) for key, name in PANELS.items()}
    low, high = np.percentile(phases["network, refined"], (1, 99))
    figure = Figure(figsize=(2 * PANEL_IN, PANEL_IN + 0.2), layout="constrained")
    panels: Any = figure.subplots(1, 2)
    for panel, (name, phase) in zip(panels, phases.items(), strict=True):
        shown = panel.imshow(phase, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        panel.set(title=name, xticks=[], yticks=[])
    figure.colorbar(shown, ax=panels, label="phase [rad]", shrink=0.8)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DPI)
    return Image.open(stream).convert("L")


def _phase(image: Any) -> Any:
    """About its mean: a global phase means nothing."""
    return np.angle(image * np.exp(-1j * np.angle(image.mean())))


def save(picture: Image.Image, path: Path) -> None:
    """As small as a page needs it."""
    plain = picture if picture.mode == "L" else picture.convert("RGB")
    plain.thumbnail((WIDTH_PX, WIDTH_PX))
    if plain.mode == "L":
        plain.save(path, optimize=True)
        return
    plain.quantize(COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)


def main(outputs: Path, docs: Path) -> None:
    """Write the three pictures."""
    save(Image.open(outputs / "star.png"), docs / "your-own-scan-ingest.png")
    save(reconstruction(outputs / "star_object.npz"), docs / "your-own-scan-reconstruction.png")
    save(Image.open(outputs / "export" / "star_object-refined.png"), docs / "your-own-scan-export.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
