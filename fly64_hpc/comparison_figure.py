"""comparison.png: the phase error over dose for each view, and every reconstruction of the unseen half beside the truth."""

import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fly64_hpc.comparison import FLAT, Cell
from fly64_hpc.comparison_table import cell_mean
from fly64_hpc.job_matrix import Condition
from ptycho_torch.npz_contract import read_arrays

LABELS = {"network": "network", "refined": "network, refined", "gradient": "gradient, no network", FLAT: "flat"}
"""How methods are written; a solver goes by its own name."""
COLORS = ("#0072B2", "#009E73", "#D55E00", "#CC79A7", "#E69F00", "#56B4E9", "#332288", "#999933")
"""Told apart by the colour-blind (Okabe and Ito)."""
MARKERS = "os^vDPX*"
LINE = "phase_mae_rad"
HALF_LINES: dict[str, tuple[Any, float]] = {"unseen half (bars: 95 % over seeds)": ("-", 1.4), "training half": (":", 0.8)}
PHASE_MAP = "gray"
MOST_CONDITIONS, MOST_PANELS = 36, 9
"""Rows of reconstructions and panels of curves, so that the picture can be looked at; comparison.csv has every cell."""
DPI = 150
PANEL_WIDTH_IN = 2.1
GAP_IN = 0.42
CURVES_HEIGHT_IN = 3.2


def comparison_png(study: str, cells: Sequence[Cell]) -> bytes:
    """The figure of a study's comparison, as a PNG file; without times in it, so that the same figures give the same bytes."""
    methods = [method for method in dict.fromkeys(cell.method for cell in cells) if method != FLAT]
    every = list(dict.fromkeys(cell.condition for cell in cells))
    conditions = every[:MOST_CONDITIONS]
    cells = [cell for cell in cells if cell.condition in conditions]
    panel_height_in = PANEL_WIDTH_IN * _aspect(cells)
    columns = max(len(methods) + 1, min(MOST_PANELS, len({one.words for one in conditions})))
    gallery_height_in = len(conditions) * (panel_height_in + GAP_IN)
    figure = Figure(figsize=(columns * PANEL_WIDTH_IN + 0.6, CURVES_HEIGHT_IN + gallery_height_in + 0.9), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=(CURVES_HEIGHT_IN, gallery_height_in))
    curves, gallery = parts
    _draw_curves(curves, cells, methods)
    _draw_gallery(gallery, cells, conditions, methods)
    some = f" (the first {len(conditions)} of {len(every)} conditions)" if len(every) > len(conditions) else ""
    figure.suptitle(f"{study}: networks and iterative solvers on the same photons{some}", fontsize=11)
    stream = io.BytesIO()
    figure.savefig(stream, dpi=DPI, metadata={"Software": None})
    return stream.getvalue()


def _draw_curves(figure: Any, cells: Sequence[Cell], methods: Sequence[str]) -> None:
    views = list(dict.fromkeys(cell.condition.words for cell in cells))[:MOST_PANELS]
    panels = figure.subplots(1, len(views), sharey=True, squeeze=False)[0]
    for panel, view in zip(panels, views, strict=True):
        own = [cell for cell in cells if cell.condition.words == view]
        panel.set(xlim=_dose_limits(cells), xlabel="photons per frame")
        panel.set_title(_lines(view), fontsize=7 if ", " in view else None)
        panel.set(xscale="log", yscale="log")
        for number, method in enumerate([*methods, FLAT]):
            _draw_curve(panel, own, method, COLORS[number % len(COLORS)], MARKERS[number % len(MARKERS)])
        panel.grid(alpha=0.3, which="both", linewidth=0.4)
    panels[0].set_ylabel("phase MAE [rad]")
    handles, labels = panels[0].get_legend_handles_labels()
    halves = [Line2D([], [], color="0.3", linestyle=style, linewidth=width) for style, width in HALF_LINES.values()]
    figure.legend(
        [*handles, *halves],
        [*labels, *HALF_LINES],
        loc="outside lower center",
        ncols=(len(handles) + len(halves) + 1) // 2,
        fontsize=7,
        frameon=False,
    )


def _dose_limits(cells: Sequence[Cell]) -> tuple[float, float]:
    doses = [cell.condition.dose_photons for cell in cells]
    return min(doses) / 1.6, max(doses) * 1.6


def _draw_curve(panel: Axes, cells: Sequence[Cell], method: str, color: str, marker: str) -> None:
    """The unseen half as a line with its 95 % interval, the training half dashed and thin."""
    for half, (style, width) in zip(("test", "train"), HALF_LINES.values(), strict=True):
        known = [
            (cell.condition.dose_photons, cell_mean(cell, LINE)) for cell in cells if (cell.method, cell.half) == (method, half)
        ]
        points = [(dose, mean.value, mean.half_width or 0.0) for dose, mean in known if mean is not None and mean.value > 0]
        if not points or (method == FLAT and half == "train"):
            continue
        doses, values, widths = zip(*points, strict=True)
        is_main = half == "test"
        label = f"{label_of(method)}" if is_main else None
        panel.errorbar(
            doses,
            values,
            # a logarithmic axis has no place for what reaches below zero
            yerr=([min(w, 0.9 * v) for v, w in zip(values, widths, strict=True)], widths) if is_main and any(widths) else None,
            color="0.6" if method == FLAT else color,
            linestyle="--" if method == FLAT else style,
            marker=None if method == FLAT else marker,
            markersize=4 if is_main else 2.5,
            linewidth=width,
            alpha=1.0 if is_main else 0.6,
            capsize=2,
            label=label,
        )


def _draw_gallery(figure: Any, cells: Sequence[Cell], conditions: Sequence[Condition], methods: Sequence[str]) -> None:
    panels = figure.subplots(len(conditions), len(methods) + 1, squeeze=False)
    limits, aspect = _phase_limits(cells), _aspect(cells)
    for row, condition in zip(panels, conditions, strict=True):
        own = {cell.method: cell for cell in cells if (cell.condition, cell.half) == (condition, "test")}
        _draw_truth(row[0], own, limits, aspect)
        label = f"{_lines(condition.words)}\n{condition.dose_photons:g} photons"
        row[0].set_ylabel(label, fontsize=5.5 if condition.sweep else 7)
        for panel, method in zip(row[1:], methods, strict=True):
            _draw_cell(panel, own[method], limits, aspect)
    for panel, title in zip(panels[0], [_truth_title(cells), *map(label_of, methods)], strict=True):
        panel.annotate(title, (0.5, 1), (0, 18), "axes fraction", "offset points", ha="center", fontsize=8, fontweight="bold")
    scale = ScalarMappable(Normalize(*limits), cmap=PHASE_MAP)
    figure.colorbar(scale, ax=panels, location="bottom", fraction=0.02, shrink=0.3, aspect=40, label="phase [rad], unseen half")


def _lines(words: str) -> str:
    """A view and its place of the sweep, an axis a line."""
    return words.replace(", ", "\n")


def label_of(method: str) -> str:
    """What the figure calls a method."""
    return LABELS.get(method, method.replace("_", " "))


def _truth_title(cells: Sequence[Cell]) -> str:
    against = next((one.scored_against for cell in cells for one in cell.measurements), "truth")
    return against.split()[0] if against == "truth" else "reference"


def _draw_truth(panel: Axes, own: dict[str, Cell], limits: tuple[float, float], aspect: float) -> None:
    image = _first_image(own.values())
    _bare(panel)
    panel.set_box_aspect(aspect)
    if image is not None:
        panel.imshow(_phase(image["expected"], image["expected"]), cmap=PHASE_MAP, vmin=limits[0], vmax=limits[1])


def _draw_cell(panel: Axes, cell: Cell, limits: tuple[float, float], aspect: float) -> None:
    """The first seed's phase, under it the cell's figures."""
    _bare(panel)
    image = _image(cell)
    if image is None:
        panel.set_facecolor("0.93")
        panel.set_box_aspect(aspect)
        panel.text(0.5, 0.5, "missing", transform=panel.transAxes, ha="center", va="center", fontsize=7, color="0.4")
        return
    panel.imshow(_phase(image["aligned"], image["expected"]), cmap=PHASE_MAP, vmin=limits[0], vmax=limits[1])
    panel.set_title(_caption(cell), fontsize=5.5, pad=2)


def _caption(cell: Cell) -> str:
    """What stands over a reconstruction: its error, what held-out photons say where there is no truth, and its seconds."""
    nmse, mae, deviance = (cell_mean(cell, name) for name in ("nmse", LINE, "held_out_deviance"))
    seconds, training = (cell_mean(cell, name) for name in ("reconstruction_s", "training_s"))
    errors = "the reference" if mae is None or nmse is None else f"{mae.value:.3g} rad, NMSE {nmse.value:.2g}"
    is_measured = any(one.scored_against != "truth" for one in cell.measurements)
    held_out = f", held-out {deviance.value:.5g}" if is_measured and deviance is not None else ""
    trained = f" after {training.value:.0f} s of training" if training is not None else ""
    return f"{errors}{held_out}\n" + ("" if seconds is None else f"{seconds.value:.1f} s{trained}")


def _bare(panel: Axes) -> None:
    panel.set(xticks=[], yticks=[])


def _image(cell: Cell) -> dict[str, npt.NDArray[np.complex64]] | None:
    """`aligned` and `expected` of the cell's first measurement, (H, W) inside the box."""
    paths = [one.image for one in cell.measurements if one.image is not None and one.image.is_file()]
    return read_arrays(paths[0], ("aligned", "expected")) if paths else None


def _first_image(cells: Iterable[Cell]) -> dict[str, npt.NDArray[np.complex64]] | None:
    """The first that there is of the unseen half: all of one scan have the same `expected`."""
    return next((image for cell in cells if cell.half == "test" and (image := _image(cell)) is not None), None)


def _phase(image: npt.NDArray[np.complex64], expected: npt.NDArray[np.complex64]) -> npt.NDArray[np.float32]:
    """The phase about the mean one of what is expected, so that it does not wrap where that does not [rad]."""
    phase: npt.NDArray[np.float32] = np.angle(image * np.conj(expected.mean() / abs(expected.mean())))
    return phase


def _phase_limits(cells: Sequence[Cell]) -> tuple[float, float]:
    """What the truths of all scans span, but for a hundredth at each end."""
    places = dict.fromkeys(cell.condition.sweep for cell in cells)
    images = [_first_image(cell for cell in cells if cell.condition.sweep == place) for place in places]
    truths = [image["expected"] for image in images if image is not None]
    if not truths:
        return -np.pi, np.pi
    limits = [np.quantile(_phase(truth, truth), (0.01, 0.99)) for truth in truths]
    return float(min(low for low, _ in limits)), float(max(high for _, high in limits))


def _aspect(cells: Sequence[Cell]) -> float:
    """Height of a reconstruction over its width."""
    image = _first_image(cells)
    return 0.5 if image is None else image["expected"].shape[0] / image["expected"].shape[1]
