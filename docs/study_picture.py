"""Draw a study: the truth, every network's reconstruction of the unseen half, and the loss curves.

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
VIEW_COLOURS = {"baseline": "#3b6ea5", "dense": "#c44e52", "sparse": "#8a9a2b"}


def study_figure(root: Path) -> Figure:
    """A row for each dose: the truth, one phase image for each view, and the loss curves."""
    manifest = json.loads((root / "training_manifest.json").read_text())
    doses = sorted({job["dose"] for job in manifest["jobs"]})
    views = list(dict.fromkeys(job["view"] for job in manifest["jobs"]))
    size = 3.6 * (len(views) + 2), 1.75 * len(doses) + 0.6
    figure, axes = plt.subplots(len(doses), len(views) + 2, figsize=size, squeeze=False, layout="constrained")
    jobs = {(job["dose"], job["view"]): job for job in manifest["jobs"] if job["state"] == "succeeded"}
    truth = np.load(root / next(iter(jobs.values()))["artifact_dir"] / "reconstruction.npz", allow_pickle=False)["truth"]
    limits = float(np.angle(truth).min()), float(np.angle(truth).max())
    for row, dose in zip(axes, doses, strict=True):
        image = show(row[0], np.angle(truth), limits, "truth")
        for place, view in zip(row[1:-1], views, strict=True):
            draw_reconstruction(place, root, jobs.get((dose, view)), limits, f"{view}, {dose:g} photons")
        draw_losses(row[-1], root, [jobs[dose, view] for view in views if (dose, view) in jobs])
    figure.colorbar(
        image, ax=axes[:, :-1], orientation="horizontal", fraction=0.03, aspect=60, label="phase of the unseen half [rad]"
    )
    return figure


def draw_reconstruction(place: Axes, root: Path, job: dict[str, Any] | None, limits: tuple[float, float], title: str) -> None:
    """One network's phase, the global phase and ramp removed, with its scores."""
    if job is None:
        place.set_axis_off()
        place.set_title(f"{title}: none")
        return
    with np.load(root / job["artifact_dir"] / "reconstruction.npz", allow_pickle=False) as arrays:
        top, bottom, left, right = arrays["box"]
        result = arrays["object"][top:bottom, left:right].astype(np.complex128)
        aligned = align(
            result, arrays["truth"].astype(np.complex128), arrays["weight"][top:bottom, left:right].astype(np.float64)
        )
    metrics = job["result"]["metrics"]
    show(place, np.angle(aligned), limits, f"{title}: error {metrics['nmse']:.4f}, {metrics['phase_mae_rad']:.3f} rad")


def show(place: Axes, phase: npt.NDArray[np.float64], limits: tuple[float, float], title: str) -> Any:
    """One phase image."""
    place.set_axis_off()
    place.set_title(title, fontsize=9)
    return place.imshow(phase, vmin=limits[0], vmax=limits[1], cmap=PHASE_COLOURS, interpolation="nearest")


def draw_losses(place: Axes, root: Path, jobs: list[dict[str, Any]]) -> None:
    """Training and validation loss of the networks of one dose."""
    for job in jobs:
        lines = (root / job["artifact_dir"] / "history.jsonl").read_text().splitlines()
        rows = [json.loads(line) for line in lines]
        epochs, colour = [row["epoch"] for row in rows], VIEW_COLOURS.get(job["view"])
        place.plot(epochs, [row["train_loss"] for row in rows], color=colour, label=job["view"])
        place.plot(epochs, [row["val_loss"] for row in rows], color=colour, linestyle=":")
    place.set_title("deviance a photon: training, validation (dots)", fontsize=9)
    place.set_xlabel("epoch", fontsize=8)
    place.tick_params(labelsize=8)
    place.legend(fontsize=8, frameon=False)


if __name__ == "__main__":
    study_figure(Path(sys.argv[1])).savefig(sys.argv[2], dpi=110)
