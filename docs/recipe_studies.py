"""The studies behind `docs/recipe.md`: `python docs/recipe_studies.py NAME ...`, or all of them with `make recipe-studies`.

Each is a few submissions of one job or more on the object and probe of `siemens_star`, changed by a line of settings. What tuning
saw is `ablation` alone: the rows of the object that lie under the training half, with a simulation seed of their own. The others
are scored once.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates

from ptycho_torch.base_object import load_base
from ptycho_torch.config import BaseConfig, ProceduralBase
from ptycho_torch.objects import make_object
from ptycho_torch.probes import zone_plate_probe

SOURCE = Path("../shared/data/siemens_epie_reconstruction.npz")
ROOT = Path("outputs/recipe")
STUDY = "configs/siemens_star.yaml"
PATCH_SIZE_PX = 64
VALIDATION_ROWS = 114
"""Object rows under the training half's windows; no pattern of the test half sees any of them."""
VALIDATION = (
    "scan.positions=620",
    "design.split.axis=x",
    "design.seeds.simulation=1042",
)
PTYCHOPINN = ("training.architecture=ptychopinn", "training.learning_rate=1e-3", "training.n_filters_scale=1")
ABLATION = {
    "the recipe": (),
    "all photons fed and scored": ("training.photon_split=null",),
    "diffraction patterns, no physics layer (ptychopinn)": PTYCHOPINN,
    "each pattern alone, predictions averaged": ("training.fuse_groups=false",),
    "one pattern a group": ("design.views={baseline: {gridsize: 1}}",),
    "not turned and mirrored": ("training.augment=false",),
    "constant rate": ("training.schedule=constant",),
    "plain Glorot head": ("training.head_gain=1",),
    "no refiner": ("training.refiner=null",),
    "refiner without the network's object": ("training.refiner.sees_network=false",),
    "refiner shown the network's object and one other": ("training.refiner.descent_shares=[1.0]",),
    "refiner not adapted": ("training.refiner.adaptation_epochs=0",),
    "whole canvas (canvas_unet)": ("training.architecture=canvas_unet", "training.epochs=20", "training.batch_size=96"),
}
DENSE = "design.views={dense: {gridsize: 2, nominal_overlap: 0.7}}"

_Image = npt.NDArray[np.complex64]


def main() -> None:
    """Run the studies that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *STUDIES], help="which; all of them where none is named")
    for name in parser.parse_args().names or STUDIES:
        STUDIES[name]()


def ablation() -> None:
    """What each part of the recipe brings, on the validation region."""
    object_yx, probe = load_base(BaseConfig(npz=str(SOURCE)), PATCH_SIZE_PX)
    base = _save("validation.npz", object_yx[:VALIDATION_ROWS], probe)
    for number, settings in enumerate(ABLATION.values()):
        doses = "design.doses_photons=[1e3]"
        study = _run(f"ablation/{number:02d}", (f"base.npz={base}", DENSE, doses, *VALIDATION, *settings))
        if "training.refiner=null" in settings:  # what the steps alone make of it
            _verb("evaluate", *study)


def objects() -> None:
    """Objects of two other classes, and another probe."""
    object_yx, probe = load_base(BaseConfig(npz=str(SOURCE)), PATCH_SIZE_PX)
    height, width = object_yx.shape
    bases = {
        name: _save(f"{name}.npz", make_object(ProceduralBase(object=name, size=(height, width), seed=7)), probe)
        for name in ("weak_contrast", "random_edges")
    }
    bases["zone_plate"] = _save("zone_plate.npz", object_yx, zone_plate_probe(PATCH_SIZE_PX))
    for name, base in bases.items():
        _run(f"objects/{name}", (f"base.npz={base}", DENSE, "design.doses_photons=[1e3, 1e4]"), with_gradient=True)


def larger() -> None:
    """N = 128, dense."""
    one = ("design.doses_photons=[1e4]", "design.patch_size_px=128", "training.epochs=5")
    _run("n128", (f"base.npz={SOURCE}", DENSE, *one))


def canvas() -> None:
    """The canvas network beside the one that the views ask for."""
    sparse = "{gridsize: 2, image_fraction: 0.0625, groups: 224, nominal_overlap: 0.2}"
    views = f"design.views={{dense: {{gridsize: 2}}, sparse: {sparse}}}"
    settings = ("training.architecture=canvas_unet", "training.epochs=20", "training.batch_size=96")
    _run("canvas", (f"base.npz={SOURCE}", views, "design.doses_photons=[1e3]", *settings))


def ptychopinn() -> None:
    """The published architecture, five seeds at both sizes: does it collapse?"""
    five = (*PTYCHOPINN, "design.seeds.training=[0,1,2,3,4]", "training.refiner=null")
    one = ("design.doses_photons=[1e4]", "design.views={baseline: {gridsize: 1}}", "training.epochs=4")
    _run("ptychopinn_64", (f"base.npz={SOURCE}", *five, *one))
    _run("ptychopinn_128", (f"base.npz={SOURCE}", *five, *one, "design.patch_size_px=128", "training.batch_size=8"))


def wrong_probe() -> None:
    """The scan of 10⁴ photons, dense, with a probe that is a tenth too wide: magnified, or out of focus."""
    right = ROOT / "right_probe"
    shorter = [f"training.{key}=8" for key in ("refiner.epochs", "refiner.adaptation_epochs")]
    settings = (f"base.npz={SOURCE}", DENSE, "design.doses_photons=[1e4]", "training.epochs=12", *shorter)
    _run("right_probe", settings, with_gradient=True)
    for name, wrong in {"magnified": magnified, "defocused": defocused}.items():
        data = ROOT / f"{name}_data"
        for file in (right / "siemens_star" / "data").rglob("*.npz"):
            copy = data / file.relative_to(right / "siemens_star" / "data")
            copy.parent.mkdir(parents=True, exist_ok=True)
            with np.load(file, allow_pickle=False) as arrays:
                np.savez(copy, **{**arrays, "probeGuess": wrong(arrays["probeGuess"])})
        roots = ("--phase-c-root", str(data / "phase_c"), "--phase-d-root", str(data / "phase_d"))
        _run(name, settings, *roots, with_gradient=True)


def magnified(probe: _Image, factor: float = 1.1) -> _Image:
    """A probe (N, N) that is so many times as wide about its centre pixel, of the same energy."""
    centre = len(probe) // 2
    rows = centre + (np.arange(len(probe)) - centre) / factor
    grid = np.meshgrid(rows, rows, indexing="ij")
    wider = map_coordinates(probe.real, grid, order=3) + 1j * map_coordinates(probe.imag, grid, order=3)
    return (wider * (np.linalg.norm(probe) / np.linalg.norm(wider))).astype(np.complex64)


def defocused(probe: _Image, factor: float = 1.1) -> _Image:
    """A probe (N, N) propagated by Fresnel's phase until its rms radius is so many times as large."""
    frequencies = np.fft.fftfreq(len(probe))
    squares = frequencies[:, None] ** 2 + frequencies**2
    spectrum = np.fft.fft2(probe)

    def propagated(curvature_px2: float) -> npt.NDArray[np.complex128]:
        return np.asarray(np.fft.ifft2(spectrum * np.exp(1j * curvature_px2 * squares)))

    wanted = factor * rms_radius_px(probe)
    ways = [curvature for curvature in np.linspace(-400, 400, 801) if rms_radius_px(propagated(curvature)) >= wanted]
    return propagated(min(ways, key=abs)).astype(np.complex64)


def rms_radius_px(probe: npt.NDArray[np.complexfloating[Any, Any]]) -> float:
    """The root of the mean squared distance of a probe's light from its centre of mass [px]."""
    light = np.abs(probe) ** 2 / np.sum(np.abs(probe) ** 2)
    y, x = np.indices(probe.shape)
    return float(np.sqrt(np.sum(light * ((y - np.sum(light * y)) ** 2 + (x - np.sum(light * x)) ** 2))))


def _save(name: str, object_yx: _Image, probe: _Image) -> Path:
    ROOT.mkdir(parents=True, exist_ok=True)
    np.savez(ROOT / name, objectGuess=object_yx, probeGuess=probe)
    return ROOT / name


def _run(folder: str, settings: Sequence[str], *flags: str, with_gradient: bool = False) -> tuple[str, ...]:
    """Train one study, and let the gradient reconstruct its scans where that is asked for; its flags are returned."""
    where = ("--output-root", str(ROOT / folder))
    study = ("--study", STUDY, *where, *(part for setting in settings for part in ("--set", setting)))
    here = (*flags, "--executor", "local", "--wait", "--yes")
    _verb("submit", *study, *here)
    if with_gradient:
        gradient = "iterative.solvers={gradient: {method: gradient}}"
        _verb("submit", *study, *here, "--set", gradient, "--phase-f")
    return study


def _verb(verb: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", f"fly64_hpc.{verb}", *arguments], check=True)


STUDIES = {
    "ablation": ablation,
    "objects": objects,
    "larger": larger,
    "canvas": canvas,
    "ptychopinn": ptychopinn,
    "wrong_probe": wrong_probe,
}

if __name__ == "__main__":
    main()
