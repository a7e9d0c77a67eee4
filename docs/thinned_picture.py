"""Draw what each method makes of a hundredth of a measured scan's photons, beside the gradient's image from all of them.

python docs/thinned_picture.py outputs/measured_scan outputs/measured_scan_thinned docs/measured_scan_thinned.png
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from study_picture import show

from fly64_hpc.collector import look
from fly64_hpc.comparison import Measurement, comparison
from fly64_hpc.job_paths import StudyPaths
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
COLUMNS, WIDTH_IN = 2, 5.0

_Phase = npt.NDArray[np.float64]


def panels(all_photons: Path, thinned: Path) -> dict[str, _Phase]:
    """The phase (h, w) [rad] of each image by its heading: the one from all photons first."""
    arrays = read_arrays(next(all_photons.glob("evaluation/**/refined_test.npz")), ("expected", "light", "box"))
    box = Box(*(int(edge) for edge in arrays["box"]))
    expected, light = arrays["expected"].astype(np.complex128), box.cut(arrays["light"]).astype(np.float64)
    drawn = {"all photons: gradient": np.angle(expected)}
    made = _of_unseen_half(StudyPaths(thinned))
    for method, heading in METHODS.items():
        image, held_out = made[method].image, made[method].figures["held_out_deviance"]
        assert image is not None
        result = box.cut(read_arrays(image, ("object",))["object"]).astype(np.complex128)
        scores = score(result, expected, light)
        words = f"{heading}: {scores.phase_mae_rad:.3f} rad, NMSE {scores.nmse:.4f}, held-out deviance {held_out:.3f}"
        drawn[words] = np.angle(align(result, expected, (light > 0).astype(np.float64)))
    return drawn


def _of_unseen_half(paths: StudyPaths) -> dict[str, Measurement]:
    """What each method made of it, by its name."""
    cells = comparison(look(paths), look(paths.phase_f))
    return {cell.method: cell.measurements[0] for cell in cells if cell.half == "test" and cell.measurements}


def figure(drawn: dict[str, _Phase]) -> Figure:
    """Every image on one scale."""
    phases = list(drawn.values())
    low, high = np.percentile(phases[0], (1, 99))
    height_in = WIDTH_IN * phases[0].shape[0] / phases[0].shape[1] + 0.3
    rows = -(-len(drawn) // COLUMNS)
    size = (WIDTH_IN * COLUMNS, height_in * rows + 0.7)
    made, axes = plt.subplots(rows, COLUMNS, figsize=size, layout="constrained")
    for place, (heading, phase) in zip(axes.flat, drawn.items(), strict=True):
        image = show(place, phase, (low, high), heading)
    made.colorbar(image, ax=axes, orientation="horizontal", fraction=0.03, pad=0.02, aspect=60, label="phase [rad], unseen half")
    return made


if __name__ == "__main__":
    figure(panels(Path(sys.argv[1]), Path(sys.argv[2]))).savefig(sys.argv[3], dpi=110)
