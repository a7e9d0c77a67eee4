"""Draw what each method makes of a hundredth of a measured scan's photons, beside the gradient's image from all of them.

python docs/thinned_picture.py outputs/measured_scan outputs/measured_scan_thinned docs/measured_scan_thinned.png
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
from matplotlib.figure import Figure

from ptycho_torch.alignment import align
from ptycho_torch.evaluation import Box, score
from ptycho_torch.npz_archive import read_arrays

METHODS = {
    "epie": "ePIE",
    "lsqml_poisson": "LSQML Poisson",
    "gradient": "gradient",
    "network": "network alone",
    "refined": "network, refined",
}
NETWORKS = ("network", "refined")
COLUMNS, WIDTH_IN = 2, 5.0

_Phase = npt.NDArray[np.float64]


def panels(all_photons: Path, thinned: Path) -> dict[str, _Phase]:
    """The phase (h, w) [rad] of each image by its heading: the one from all photons first."""
    arrays = read_arrays(next(all_photons.glob("evaluation/**/refined_test.npz")), ("expected", "light", "box"))
    box = Box(*(int(edge) for edge in arrays["box"]))
    expected, light = arrays["expected"].astype(np.complex128), box.cut(arrays["light"]).astype(np.float64)
    drawn = {"all photons: gradient": np.angle(expected)}
    for method, heading in METHODS.items():
        file, held_out = _result(thinned, method)
        result = box.cut(read_arrays(file, ("object",))["object"]).astype(np.complex128)
        scores = score(result, expected, light)
        words = f"{heading}: {scores.phase_mae_rad:.3f} rad, NMSE {scores.nmse:.4f}, held-out deviance {held_out:.3f}"
        drawn[words] = np.angle(align(result, expected, (light > 0).astype(np.float64)))
    return drawn


def _result(study: Path, method: str) -> tuple[Path, float]:
    """A method's image of the unseen half, and the deviance of photons that it was not given."""
    if method in NETWORKS:
        record = next(study.glob("evaluation/**/evaluation.json"))
        facts: dict[str, Any] = json.loads(record.read_text())
        return record.parent / f"{method}_test.npz", facts["halves"]["test"]["methods"][method]["held_out_deviance"]
    folder = next(study.glob(f"phase_f_iterative/dose_*/*/{method}"))
    facts = json.loads((folder / "attempts" / "001" / "result.json").read_text())["result"]["metrics"]
    return folder / "reconstruction_test.npz", facts["halves"]["test"]["methods"]["solver"]["held_out_deviance"]


def figure(drawn: dict[str, _Phase]) -> Figure:
    """Every image on one scale."""
    phases = list(drawn.values())
    limits = tuple(np.percentile(phases[0], (1, 99)))
    height_in = WIDTH_IN * phases[0].shape[0] / phases[0].shape[1] + 0.3
    rows = -(-len(drawn) // COLUMNS)
    size = (WIDTH_IN * COLUMNS, height_in * rows + 0.7)
    made, axes = plt.subplots(rows, COLUMNS, figsize=size, layout="constrained")
    for place, (heading, phase) in zip(axes.flat, drawn.items(), strict=True):
        image = place.imshow(phase, cmap="inferno", vmin=limits[0], vmax=limits[1], interpolation="nearest")
        place.set_title(heading, fontsize=9)
        place.set_axis_off()
    made.colorbar(image, ax=axes, orientation="horizontal", fraction=0.03, pad=0.02, aspect=60, label="phase [rad], unseen half")
    return made


if __name__ == "__main__":
    figure(panels(Path(sys.argv[1]), Path(sys.argv[2]))).savefig(sys.argv[3], dpi=110)
