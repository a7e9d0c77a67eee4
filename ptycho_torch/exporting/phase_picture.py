"""A picture to look at: the phase in grey with its scale, and the whole complex object in colours with their wheel."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho_torch.atomic_files import replacing
from ptycho_torch.exporting.content import ExportContent

Picture = npt.NDArray[np.float64]

PHASE_MAP = "gray"
AMPLITUDE_QUANTILE = 0.99
"""An amplitude at least this high is drawn as bright as can be."""
PANEL_IN, LEGEND_IN, DPI = 4.5, 1.0, 150
WHEEL_PX = 128
WHEEL_MARKS = (
    ("0", 1.1, 0, "left", "center"),
    ("π/2", 0, 1.1, "center", "bottom"),
    ("±π", -1.1, 0, "right", "center"),
    ("−π/2", 0, -1.1, "center", "top"),
)
"""What stands at the rim, where (x, y), and on which side of that place."""
UM_PER_M = 1e6


def complex_colours(image: npt.NDArray[Any], brightest: float) -> Picture:
    """Red, green and blue (H, W, 3) in [0, 1]: the phase as the hue, 0 red, the amplitude as the brightness."""
    from matplotlib.colors import hsv_to_rgb

    hue = np.angle(image) / (2 * np.pi) % 1.0
    value = np.clip(np.abs(image) / brightest, 0, 1)
    colours: Picture = hsv_to_rgb(np.stack([hue, np.ones_like(hue), value], axis=-1).astype(np.float64))
    return colours


def wheel(side_px: int = WHEEL_PX) -> Picture:
    """The colours of all complex numbers up to 1, as red, green, blue and opacity (H, W, 4); the imaginary axis goes up."""
    up, right = np.meshgrid(np.linspace(1, -1, side_px), np.linspace(-1, 1, side_px), indexing="ij")
    numbers = right + 1j * up
    return np.concatenate([complex_colours(numbers, 1.0), (np.abs(numbers) <= 1)[..., None]], axis=-1)


def write_png(content: ExportContent, path: Path) -> None:
    """Draw what is inside the box; without times in the file, so that the same object gives the same bytes."""
    from matplotlib.figure import Figure  # takes half a second to import

    image = content.boxed
    aspect = image.shape[0] / image.shape[1]
    figure = Figure(figsize=(2 * PANEL_IN, PANEL_IN * aspect + LEGEND_IN + 1.2), layout="constrained")
    panels = figure.subplot_mosaic([["phase", "complex"], ["bar", "wheel"]], height_ratios=(PANEL_IN * aspect, LEGEND_IN))
    unit, edges = _edges(content)
    shown = panels["phase"].imshow(np.angle(image), cmap=PHASE_MAP, extent=edges, interpolation="nearest")
    _draw_bar(figure, panels["bar"], shown)
    brightest = float(np.quantile(np.abs(image), AMPLITUDE_QUANTILE)) or 1.0
    panels["complex"].imshow(complex_colours(image, brightest), extent=edges, interpolation="nearest")
    _draw_wheel(panels["wheel"], brightest)
    for panel in (panels["phase"], panels["complex"]):
        panel.set(xlabel=f"x [{unit}]", ylabel=f"y [{unit}]")
    figure.suptitle(content.title, fontsize=10)
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=DPI, metadata={"Software": None})


def _edges(content: ExportContent) -> tuple[str, tuple[float, float, float, float]]:
    """The unit of the axes, and the edges left, right, bottom, top: rows and columns of the object, or µm from its middle."""
    box = content.box
    rows, columns = np.array([box.bottom, box.top]) - 0.5, np.array([box.left, box.right]) - 0.5
    if content.pixel_size_m is None:
        return "px", (float(columns[0]), float(columns[1]), float(rows[0]), float(rows[1]))
    height, width = content.object_yx.shape
    pixel_um = UM_PER_M * content.pixel_size_m
    columns, rows = pixel_um * (columns - (width - 1) / 2), pixel_um * (rows - (height - 1) / 2)
    return "µm", (float(columns[0]), float(columns[1]), float(rows[0]), float(rows[1]))


def _draw_bar(figure: Any, place: Any, shown: Any) -> None:
    """The scale of the phase, in a thin strip at the top of its place."""
    place.set_axis_off()
    strip = place.inset_axes((0.1, 0.8, 0.8, 0.12))
    figure.colorbar(shown, cax=strip, orientation="horizontal", label="phase [rad]")


def _draw_wheel(place: Any, brightest: float) -> None:
    """The legend of the colours: a direction is a phase, the centre is black."""
    place.imshow(wheel(), interpolation="bilinear", extent=(-1, 1, -1, 1))
    place.set_axis_off()
    for text, x, y, across, up in WHEEL_MARKS:
        place.text(x, y, text, ha=across, va=up, fontsize=7)
    place.set_title(f"colour: phase; brightness: amplitude, full at {brightest:.3g}", fontsize=7, pad=14)
