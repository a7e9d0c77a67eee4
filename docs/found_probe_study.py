"""How good a probe is that `ingest --probe mean-pattern` makes: the figures of the how-to. `python docs/found_probe_study.py`.

A scan is simulated and ingested as if nobody knew its probe; then the gradient reconstructs it with the true probe, the start
and the refined one. Probes are first brought into the gauge of the true one, so that objects lie in register. Beside them
the measured scan, whose own probe is thrown away: `python docs/found_probe_study.py measured`.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ptycho_torch import found_probe
from ptycho_torch.alignment import align, level
from ptycho_torch.base_object import load_base
from ptycho_torch.config import BaseConfig, DatasetRecipe, ProceduralBase, ScanConfig, SplitConfig
from ptycho_torch.data_consistency import reconstruct_by_gradient
from ptycho_torch.dataset import scan_tensors
from ptycho_torch.held_out import part_scan
from ptycho_torch.measured_scan import IngestOptions, ingest
from ptycho_torch.network_object import bounding_shape
from ptycho_torch.npz_contract import PtychoDataset, read_dataset
from ptycho_torch.probe_gauge import settled
from ptycho_torch.simulation import make_dataset

DATA = Path("../shared/data")
BASES = {
    "zone plate, star": BaseConfig(procedural=ProceduralBase(size=(230, 230))),
    "experimental probe and object": BaseConfig(npz=str(DATA / "siemens_epie_reconstruction.npz")),
}
PATCH_SIZE_PX, POSITIONS, DOSES = 64, 500, (1e4, 1e5)
SIMULATED_STEPS, MEASURED_STEPS = 60, 30
Image = npt.NDArray[np.complex128]


def main() -> None:
    """Print a row for each scan."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", choices=("simulated", "measured"), default="simulated")
    with tempfile.TemporaryDirectory() as folder:
        measured(Path(folder)) if parser.parse_args().what == "measured" else simulated(Path(folder))


def simulated(folder: Path) -> None:
    """The error of each probe, and the phase error [rad] of the gradient's object with each."""
    for name, base in BASES.items():
        truth, _ = load_base(base, PATCH_SIZE_PX)
        for dose in DOSES:
            scan = _whole(base, dose, folder)
            right = scan.probe_guess.astype(np.complex128)
            probes = {"true": right, "start": _made(scan, rounds=0), "refined": _made(scan, rounds=found_probe.MOST_ROUNDS)}
            cells = []
            for probe in probes.values():
                placed = settled(probe, right)
                error = np.linalg.norm(placed - right) / np.linalg.norm(right)
                made, held_out = _gradient(scan, placed, SIMULATED_STEPS)
                cells.append(f"{error:.3f}, {held_out:.4f}, {_phase_error(made, truth, scan):.3f}")
            print(f"| {name} | {dose:g} | " + " | ".join(cells) + " |", flush=True)  # noqa: T201


def measured(folder: Path) -> None:
    """The held-out deviance of the gradient's object with ePIE's probe (of the whole scan), the made and the file's own one,
    and the correlation of its phase with that of the first."""
    source, options = DATA / "siemens-star-small.npz.bz2", IngestOptions()
    scans = {}
    for name, chosen in {"given": options, "made": options.model_copy(update={"probe": "mean-pattern"})}.items():
        print("\n".join(ingest(source, folder / f"{name}.npz", options=chosen).as_lines()), flush=True)  # noqa: T201
        scans[name] = read_dataset(folder / f"{name}.npz")
    with np.load(DATA / "siemens_epie_reconstruction.npz", allow_pickle=False) as arrays:
        epie = arrays["probe"].astype(np.complex128)
    given, made = (scans[name].probe_guess.astype(np.complex128) for name in ("given", "made"))
    probes = {"ePIE": epie, "made": settled(made, epie), "given": settled(given, epie)}
    first = None
    for name, probe in probes.items():
        result, held_out = _gradient(scans["given"], probe, MEASURED_STEPS)
        inner = _inner(scans["given"], result.shape)
        first = level(result[inner]) if first is None else first
        alike = np.corrcoef(np.angle(first).ravel(), np.angle(align(result[inner], first)).ravel())[0, 1]
        error = np.linalg.norm(probe - epie) / np.linalg.norm(epie)
        print(f"{name}: {error:.3f} from ePIE's, held-out deviance {held_out:.4f}, correlation {alike:.3f}", flush=True)  # noqa: T201


def _whole(base: BaseConfig, dose: float, folder: Path) -> PtychoDataset:
    """A scan that time splits, both halves of it: one raster over the object."""
    recipe = DatasetRecipe(
        base=base,
        base_sha256=None,
        scan=ScanConfig(positions=POSITIONS),
        split=SplitConfig(axis="time"),
        dose_photons=dose,
        patch_size_px=PATCH_SIZE_PX,
        simulation_seed=3042,
    )
    make_dataset(recipe, folder)
    halves = [read_dataset(folder / f"patched_{half}.npz") for half in ("train", "test")]
    arrays = {
        name: np.concatenate([getattr(half, name) for half in halves])
        for name in ("diffraction", "xcoords", "ycoords", "scan_index")
    }
    return PtychoDataset(
        **arrays, intensity_scale=halves[0].intensity_scale, probe_guess=halves[0].probe_guess, object_guess=None
    )


def _made(scan: PtychoDataset, rounds: int) -> Image:
    usual = found_probe.MOST_ROUNDS
    found_probe.MOST_ROUNDS = rounds
    try:
        made = found_probe.find_probe(scan, Path("simulated"), from_mean_pattern=True).dataset.probe_guess
    finally:
        found_probe.MOST_ROUNDS = usual
    return made.astype(np.complex128)


def _gradient(scan: PtychoDataset, probe: Image, most_steps: int) -> tuple[Image, float]:
    """The gradient's object with a probe (N, N), and the deviance a held-out photon."""
    energy = np.linalg.norm(scan.probe_guess) / np.linalg.norm(probe)
    lit = PtychoDataset(**{**vars(scan), "probe_guess": (probe * energy).astype(np.complex64)})
    tensors = scan_tensors(lit, 1.0, torch.device("cpu"))
    result = reconstruct_by_gradient(part_scan(tensors, 0.75, 1), bounding_shape(tensors), most_steps)
    return result.object_hw.numpy().astype(np.complex128), min(result.deviances)


def _inner(scan: PtychoDataset, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Where patterns overlap well: within the outermost positions."""
    low, high = scan.positions_yx.min(axis=0).astype(int), scan.positions_yx.max(axis=0).astype(int)
    return slice(low[0], min(high[0], shape[0])), slice(low[1], min(high[1], shape[1]))


def _phase_error(made: Image, truth: npt.NDArray[np.complex64], scan: PtychoDataset) -> float:
    inner = _inner(scan, made.shape)
    right = truth[inner].astype(np.complex128)
    return float(np.abs(np.angle(align(made[inner], right) * right.conj())).mean())


if __name__ == "__main__":
    main()
