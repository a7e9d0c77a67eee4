"""Draw a study: the phase of the unseen half, the truth above, then what each view's network alone and its refiner made of it.

python docs/study_picture.py outputs/fly64_demo docs/fly64_demo.png
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ptycho_torch.evaluation import align

PHASE_COLOURS = "inferno"
STEPS = {"object": "network alone", "refined": "refined"}
"""The arrays of reconstruction.npz, and what they are called."""
WIDTH_IN, GAP_IN = 4.0, 0.34
SCALE_BAR_PX = 20


def study_figure(root: Path) -> Figure:
    """A column for each dose; a row for the truth, and two for each view."""
    jobs = {(job["dose"], job["view"]): job for job in json.loads((root / "training_manifest.json").read_text())["jobs"]}
    doses, views = sorted({dose for dose, _ in jobs}), list(dict.fromkeys(view for _, view in jobs))
    rows = [(view, step) for view in views for step in STEPS]
    truth = _arrays(root, next(iter(jobs.values())))["truth"]
    height_in = WIDTH_IN * truth.shape[0] / truth.shape[1] + GAP_IN
    size = (WIDTH_IN * len(doses) + 0.4, height_in * (len(rows) + 1) + 0.7)
    figure, axes = plt.subplots(len(rows) + 1, len(doses), figsize=size, squeeze=False, layout="constrained")
    limits = float(np.angle(truth).min()), float(np.angle(truth).max())
    for column, dose in zip(axes.T, doses, strict=True):
        image = show(column[0], np.angle(truth), limits, f"truth ({dose:,.0f} photons a pattern)")
        for place, (view, step) in zip(column[1:], rows, strict=True):
            draw_reconstruction(place, root, jobs[dose, view], step, limits)
    draw_scale_bar(axes[0, 0], truth.shape)
    label = "phase [rad] of the half of the object that no network was trained on; global phase and ramp removed"
    figure.colorbar(image, ax=axes, orientation="horizontal", fraction=0.02, pad=0.01, aspect=70, label=label)
    return figure


def draw_reconstruction(place: Axes, root: Path, job: dict[str, Any], step: str, limits: tuple[float, float]) -> None:
    """One job's phase, aligned with the truth, and its phase error."""
    if job["state"] != "succeeded":
        place.set_axis_off()
        place.set_title(f"{job['view']}: {job['state']}", fontsize=9)
        return
    arrays, metrics = _arrays(root, job), job["result"]["metrics"]
    top, bottom, left, right = arrays["box"]
    result = arrays[step][top:bottom, left:right].astype(np.complex128)
    weight = arrays["weight"][top:bottom, left:right].astype(np.float64)
    aligned = align(result, arrays["truth"].astype(np.complex128), weight)
    error_rad = (metrics if step == "object" else metrics["refined"])["phase_mae_rad"]
    show(place, np.angle(aligned), limits, f"{job['view']}, {STEPS[step]}: mean error {error_rad:.3f} rad")


def show(place: Axes, phase: npt.NDArray[np.float64], limits: tuple[float, float], title: str) -> Any:
    """One phase image."""
    place.set_axis_off()
    place.set_title(title, fontsize=9)
    return place.imshow(phase, vmin=limits[0], vmax=limits[1], cmap=PHASE_COLOURS, interpolation="nearest")


def draw_scale_bar(place: Axes, shape: tuple[int, ...]) -> None:
    """A bar of twenty pixels in the lower left corner."""
    y, x = shape[0] - 5, 4
    place.plot((x, x + SCALE_BAR_PX), (y, y), color="white", linewidth=3, solid_capstyle="butt")
    place.text(
        x + SCALE_BAR_PX / 2,
        y - 2,
        f"{SCALE_BAR_PX} px",
        color="white",
        ha="center",
        va="bottom",
        fontsize=8,
        backgroundcolor="black",
    )


def _arrays(root: Path, job: dict[str, Any]) -> dict[str, npt.NDArray[Any]]:
    with np.load(root / job["artifact_dir"] / "reconstruction.npz", allow_pickle=False) as arrays:
        return dict(arrays)


if __name__ == "__main__":
    study_figure(Path(sys.argv[1])).savefig(sys.argv[2], dpi=110)
