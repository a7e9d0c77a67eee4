"""A picture of a scan as it will be trained on: what a person looks at before hours of training.

The mean pattern on a logarithmic scale, the probe, and where the beam went, in which order, with the beam itself as a disc beside
the steps. A zero frequency beside the centre, swapped axes, a wrong unit and a probe of another scan show here at a glance.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho_torch.atomic_files import replacing
from ptycho_torch.dense_neighbourhood import median_step_px, probe_diameter_px
from ptycho_torch.npz_contract import PtychoDataset, read_dataset
from ptycho_torch.scan_geometry import ScanGeometry, geometry_of

PATTERN_MAP, AMPLITUDE_MAP, PHASE_MAP, ORDER_MAP = "magma", "gray", "twilight", "viridis"
DARK = 0.05
"""Of the largest amplitude: below it a phase means nothing, and is not drawn."""
DARKEST = 1e-6
"""Of the brightest pixel: what is darker is drawn so dark."""
SIZE_IN, DPI, BAR = (8.0, 6.8), 100, 0.9
PLACES = {"left": 0.1, "right": 0.95, "bottom": 0.08, "top": 0.9, "wspace": 0.35, "hspace": 0.3}
"""Set by hand: a layout that is sought takes as long again as all the drawing."""
MM_PER_M, UM_PER_M = 1e3, 1e6

Image = npt.NDArray[np.float64]
Unit = tuple[str, float]
"""What lengths are called, and a pixel in it."""


def draw_scan(scan: Path) -> Path:
    """Draw a DATA-001 file beside it, as `<its name>.png`; one that is there is replaced.

    Without times in the file, so that the same scan gives the same bytes.

    Raises
    ------
    DataContractError
        The file cannot be read.
    """
    path = scan.with_suffix(".png")
    figure = scan_figure(read_dataset(scan), scan.name)
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=DPI, metadata={"Software": None})
    return path


def scan_figure(dataset: PtychoDataset, name: str) -> Any:
    """The figure (of Matplotlib): pattern, positions, and the probe's amplitude and phase.

    Lengths are in metres where the scan's geometry says them, else in pixels of the detector or the object.
    """
    from matplotlib.figure import Figure  # takes half a second to import

    geometry = geometry_of(dataset.metadata)
    figure = Figure(figsize=SIZE_IN)
    panels: Any = figure.subplots(2, 2, gridspec_kw=PLACES)
    mean = mean_pattern(dataset)
    _draw_pattern(figure, panels[0, 0], mean, dataset, geometry)
    _draw_positions(figure, panels[0, 1], dataset, geometry)
    _draw_probe(figure, panels[1], dataset, geometry)
    counted = "" if dataset.intensity_scale is None else f", {mean.sum():.4g} photons each"
    n, side = dataset.diffraction.shape[:2]
    figure.suptitle(f"{name}: {n} patterns of {side} px{counted}", fontsize=11)
    return figure


def mean_pattern(dataset: PtychoDataset) -> Image:
    """(N, N) the mean pattern: photons a pixel, or relative intensity where the scan does not know its scale; one at a time."""
    total = np.zeros(dataset.diffraction.shape[1:])
    for amplitude in dataset.diffraction:
        total += np.square(amplitude, dtype=np.float64)
    return total * (dataset.intensity_scale or 1.0) ** 2 / len(dataset.diffraction)


def _draw_pattern(figure: Any, panel: Any, mean: Image, dataset: PtychoDataset, geometry: ScanGeometry) -> None:
    from matplotlib.colors import LogNorm

    top = float(mean.max()) or 1.0
    least = max(float(mean[mean > 0].min(initial=top)), top * DARKEST)
    is_counted = dataset.intensity_scale is not None
    pixel_m = geometry.detector_pixel_size_m
    unit: Unit = ("px", 1.0) if pixel_m is None else ("mm", MM_PER_M * pixel_m)
    shown = panel.imshow(
        np.maximum(mean, least), norm=LogNorm(min(least, top / 2), top), cmap=PATTERN_MAP, extent=_about_zero(mean, unit)
    )
    panel.set(title="mean pattern", xlabel=f"from the zero frequency [{unit[0]}]", ylabel=f"[{unit[0]}]")
    figure.colorbar(shown, ax=panel, label="photons per pixel" if is_counted else "intensity, relative", shrink=BAR)


def _draw_probe(figure: Any, panels: Any, dataset: PtychoDataset, geometry: ScanGeometry) -> None:
    amplitude = np.abs(dataset.probe_guess).astype(np.float64)
    phase = np.where(amplitude > DARK * amplitude.max(), np.angle(dataset.probe_guess), np.nan)
    unit = _object_unit(dataset, geometry)
    edges = _about_zero(amplitude, unit)
    shown = panels[0].imshow(amplitude / amplitude.max(), cmap=AMPLITUDE_MAP, extent=edges)
    figure.colorbar(shown, ax=panels[0], label="of the largest", shrink=BAR)
    shown = panels[1].imshow(phase, cmap=PHASE_MAP, extent=edges, vmin=-np.pi, vmax=np.pi, interpolation="nearest")
    figure.colorbar(shown, ax=panels[1], label="rad", shrink=BAR)
    for panel, name in zip(panels, ("amplitude", "phase"), strict=True):
        panel.set(title=f"probe: {name}", xlabel=f"x [{unit[0]}]", ylabel=f"y [{unit[0]}]")


def _draw_positions(figure: Any, panel: Any, dataset: PtychoDataset, geometry: ScanGeometry) -> None:
    """The path, coloured by its order, and the beam at its first place; y grows downwards as the rows of an image."""
    from matplotlib.patches import Circle

    name, pixel = _object_unit(dataset, geometry)
    y, x = pixel * dataset.positions_yx.T
    width_px, step_px = probe_diameter_px(dataset.probe_guess), median_step_px(dataset.positions_yx)
    panel.plot(x, y, color="0.75", linewidth=0.5, zorder=1)
    shown = panel.scatter(x, y, c=np.arange(len(x)), s=6, cmap=ORDER_MAP, zorder=2)
    disc = {"facecolor": "tab:orange", "edgecolor": "tab:red", "alpha": 0.35}
    panel.add_patch(Circle((float(x[0]), float(y[0])), pixel * width_px / 2, zorder=3, **disc))
    steps = "" if step_px is None else f"steps {step_px * pixel:.3g}, "
    panel.set(title=f"{steps}beam {width_px * pixel:.3g} {name}", xlabel=f"x [{name}]", ylabel=f"y [{name}]", aspect="equal")
    panel.autoscale_view()
    panel.invert_yaxis()
    figure.colorbar(shown, ax=panel, label="order", shrink=BAR)


def _object_unit(dataset: PtychoDataset, geometry: ScanGeometry) -> Unit:
    pixel_m = geometry.pixel_size_m(dataset.patch_size_px)
    return ("px", 1.0) if pixel_m is None else ("µm", UM_PER_M * pixel_m)


def _about_zero(image: Image, unit: Unit) -> tuple[float, float, float, float]:
    """Edges left, right, bottom, top of an image (N, N) whose pixel N/2 lies at 0."""
    low = (-image.shape[0] / 2 - 0.5) * unit[1]
    high = (image.shape[0] / 2 - 0.5) * unit[1]
    return low, high, high, low
