"""A new scan with the bundle of a job: no study, no halves, no truth needed.

The photons are dealt in two as in an evaluation: what the fed ones give is held to the others, beside what a flat object would
get. It tells without a truth whether the object explains the scan at all.
"""

import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from ptycho_torch.atomic_files import sha256_file
from ptycho_torch.bundle import bundle_job, load_model
from ptycho_torch.config import JobConfig
from ptycho_torch.dataset import counter_seed
from ptycho_torch.devices import choose_device, repeatable
from ptycho_torch.errors import ConfigError, DataContractError, SolverDivergedError
from ptycho_torch.held_out import noise_deviance
from ptycho_torch.model import PtychoModel
from ptycho_torch.network_evaluation import by_network, refined_from
from ptycho_torch.network_object import in_larger_batches
from ptycho_torch.npz_contract import PtychoDataset, check_grouping, read_dataset
from ptycho_torch.precision import precision_on
from ptycho_torch.reconstruction import Reconstruction
from ptycho_torch.scan_geometry import ScanGeometry, geometry_of
from ptycho_torch.scan_result import ScanReconstruction
from ptycho_torch.yardstick import DEAL_SEED, FED_SHARE, Reconstructed, Yardstick, laid_out

DISTRIBUTION = "fly64-hpc"
FLAT, NETWORK, REFINED, NOISE = "flat", "network", "refined", "noise"
MOST_UNEXPLAINED_SHARE = 1 / 3
"""Above it the scan is doubted. Measured on fly64_demo: .02 to .18 where all is right (nine networks); .56 to .80 with a probe
magnified by a tenth or conjugated or positions mirrored, .37 to .67 with one of half again its power (the three sparse ones)."""
NOISE_PURPOSE = 1
"""Tells the seed of the noise from that of the deal."""
OLD_BUNDLE = (
    "The bundle is of a version that did not keep the seed of its training, by which a refiner adapts: 0 was taken, and the "
    "job's own refined object may differ a little."
)


def reconstruct_scan(
    bundle: Path | str,
    scan: Path | str,
    *,
    refine: bool = False,
    device: str = "auto",
    batch_patterns: int | None = None,
    photons_per_pattern: float | None = None,
    threads: int | None = None,
) -> ScanReconstruction:
    """Reconstruct a scan by a trained network, and refine that where it is asked for.

    The same bundle, scan and arguments give the same object on the same machine, and that of the job's own test half is the one
    in its reconstruction.npz. Of torch's settings none is left changed.

    Parameters
    ----------
    bundle
        The folder with `model.safetensors` and `model.json`, as a job or an attempt has it.
    scan
        A DATA-001 file.
    refine
        Refine the network's object: by the bundle's refiner, which first goes on learning on this scan, and by data-consistency
        steps from there; by these alone where the bundle has no refiner.
    device
        `auto`, `cpu`, `cuda` or `mps`; `auto` takes a GPU where there is one.
    batch_patterns
        How many patterns the network sees at a time; None: as many as a job does after its training, see `in_larger_batches`.
    photons_per_pattern
        Mean photons of a pattern, for a file that has no `intensity_scale`.
    threads
        CPU threads; None: as many as torch takes.

    Raises
    ------
    CheckpointError
        The bundle is missing, damaged or of another version.
    DataContractError
        The file is refused, has no photon scale, or its patterns are of another size than the network's, or too few.
    DeviceError
        This machine has no such device.
    ConfigError
        An argument cannot be.
    """
    folder, npz = Path(bundle), Path(scan)
    model, facts = load_model(folder)
    job = _in_batches_of(bundle_job(facts), batch_patterns)
    chosen, warnings = choose_device(device, "device")
    laid, geometry = _lay_out(npz, model, job, photons_per_pattern, chosen)
    if refine and model.refiner is not None and "training_seed" not in facts:
        warnings = [*warnings, OLD_BUNDLE]
    sources = {"bundle": _bundle_facts(facts), "scan": {"file": npz.name, "sha256": sha256_file(npz)}}
    with repeatable(deterministic=job.training.deterministic, threads=threads):
        made = _make(model.to(chosen), job, laid, refine=refine)
        deviances = {name: held_out_deviance(laid, one) for name, one in made.items()} | {NOISE: _noise(laid, made[NETWORK])}
        return ScanReconstruction(
            made=_on_cpu(made, laid),
            positions_yx=laid.exposures.whole.positions_yx,
            probe=laid.exposures.whole.probe.cpu().numpy(),
            truth=laid.truth,
            geometry=geometry,
            held_out_deviance=deviances,
            scores=_scores(made, laid),
            provenance=sources | _how(model, job, laid, made, chosen) | {"version": _version()},
            warnings=(*warnings, *doubts(deviances)),
        )


def doubts(held_out_deviance: dict[str, float]) -> list[str]:
    """What held-out photons warn of: a network that leaves much of what O = 1 leaves unexplained was fed what is not so.

    A refined object is a poor witness: its steps bend it towards the counts whatever probe it is given.
    """
    share = unexplained_share(held_out_deviance)
    if share <= MOST_UNEXPLAINED_SHARE:
        return []
    figures = ", ".join(f"{name} {held_out_deviance[name]:.4g}" for name in (NETWORK, FLAT, NOISE))
    left = f"{100 * share:.0f} %" if share < 1 else "all"
    return [
        f"The network's object leaves {left} of what a flat one leaves unexplained of held-out photons, noise taken off "
        f"(deviance per photon: {figures}): the probe, the positions or the photon scale of the scan is likely wrong, or the "
        "scan is unlike what the network has learnt. Check these first: with a wrong probe, refinement makes an object worse."
    ]


def unexplained_share(held_out_deviance: dict[str, float]) -> float:
    """(network - noise) / (flat - noise); where a flat object is as good as the noise allows, 1 unless the network beats it."""
    network, flat, noise = (held_out_deviance[name] for name in (NETWORK, FLAT, NOISE))
    if flat <= noise:
        return 0.0 if network < flat else 1.0
    return (network - noise) / (flat - noise)


def _lay_out(
    npz: Path, model: PtychoModel, job: JobConfig, photons_per_pattern: float | None, device: torch.device
) -> tuple[Yardstick, ScanGeometry]:
    """The scan as tensors, its photons dealt; the file's own arrays are let go."""
    dataset = read_dataset(npz)
    _require_size(dataset, job, npz)
    if model.canvas_network is None and model.mixes_channels:
        check_grouping(len(dataset.diffraction), gridsize=job.gridsize, neighbor_count=job.neighbor_count, source=npz)
    photons = _photons(dataset, photons_per_pattern, npz)
    try:
        geometry = geometry_of(dataset.metadata)
    except ValueError as error:
        raise DataContractError(
            f"{npz}: `geometry` in `metadata_json` is no geometry of a scan: {' '.join(str(error).split())}.",
            hint="Allowed are photon_energy_eV, detector_distance_m, detector_pixel_size_m and object_pixel_size_m, above 0.",
        ) from error
    return laid_out(dataset, dose_photons=photons, device=device), geometry


def _require_size(dataset: PtychoDataset, job: JobConfig, npz: Path) -> None:
    if dataset.patch_size_px != job.patch_size_px:
        raise DataContractError(
            f"{npz}: got patterns of {dataset.patch_size_px} px; the network ({job.job_id}) takes patterns of "
            f"{job.patch_size_px} px.",
            hint=f"Crop or bin the patterns to {job.patch_size_px} px, or take a network of design.patch_size_px "
            f"{dataset.patch_size_px}.",
        )


def _photons(dataset: PtychoDataset, photons_per_pattern: float | None, npz: Path) -> float:
    """The mean photons of a pattern that a file without a scale is taken to have; of one with a scale, anything."""
    if photons_per_pattern is not None and not photons_per_pattern > 0:
        raise ConfigError(f"photons per pattern: got {photons_per_pattern:g}; allowed is a number above 0.")
    if dataset.intensity_scale is None and photons_per_pattern is None:
        raise DataContractError(
            f"{npz}: has no `intensity_scale`, so how many photons its patterns hold is not known, and a network is fed photons.",
            hint="Say how many a pattern holds on average (--photons-per-pattern, in Python photons_per_pattern=), or store "
            "`intensity_scale`.",
        )
    if dataset.intensity_scale is not None and photons_per_pattern is not None:
        raise ConfigError(
            f"{npz}: has an `intensity_scale` of its own, and photons per pattern were given beside it.",
            hint="Leave them out: the file says how many there are.",
        )
    return photons_per_pattern or 1.0


def _in_batches_of(job: JobConfig, batch_patterns: int | None) -> JobConfig:
    if batch_patterns is None:
        return in_larger_batches(job)
    if batch_patterns < 1:
        raise ConfigError(f"patterns in a batch: got {batch_patterns}; allowed is 1 or more.")
    return job.model_copy(update={"training": job.training.model_copy(update={"batch_size": batch_patterns})})


def _make(model: PtychoModel, job: JobConfig, laid: Yardstick, *, refine: bool) -> dict[str, Reconstructed]:
    started = time.perf_counter()
    flat = laid.exposures.whole.flat_object(laid.object_shape)
    network = by_network(model, job, laid)
    made = {FLAT: Reconstructed(flat, flat, 0.0), NETWORK: network}
    if refine:
        made[REFINED] = refined_from(network, model, job, laid, known=False, started=started)
    for name, one in made.items():
        if not bool(torch.isfinite(torch.view_as_real(one.object_hw)).all()):
            raise SolverDivergedError(
                f"The object by the {name} method became infinite or not a number.",
                hint="Is the probe of the scan as bright as its patterns? If it is, the network is at fault: take another job's.",
            )
    return made


def held_out_deviance(laid: Yardstick, made: Reconstructed) -> float:
    """Half the Poisson deviance per held-out photon of what was made without them."""
    deviance = laid.held_out_deviance(made.fed_object_hw)
    assert deviance is not None
    return deviance


def _noise(laid: Yardstick, network: Reconstructed) -> float:
    assert network.fed_object_hw is not None
    return noise_deviance(network.fed_object_hw, laid.exposures.held, counter_seed(DEAL_SEED, NOISE_PURPOSE))


def _how(
    model: PtychoModel, job: JobConfig, laid: Yardstick, made: dict[str, Reconstructed], device: torch.device
) -> dict[str, Any]:
    """How it was done and how fast, as JSON values."""
    scan, network = laid.exposures.whole, made[NETWORK]
    sees_canvas = model.canvas_network is not None
    methods = {
        NETWORK: {"how": "network", "steps": None, "seconds": round(network.seconds, 3)},
        **({REFINED: _refinement(model, job, made[REFINED])} if REFINED in made else {}),
    }
    return {
        "n_patterns": len(scan),
        "photons_per_pattern": float(scan.counts.sum(dtype=torch.float64)) / len(scan),
        "groups": None if sees_canvas else len(scan),
        "group_size": None if sees_canvas else job.group_size if model.mixes_channels else 1,
        "batch_patterns": job.training.batch_size,
        "methods": methods,
        "patterns_per_s": round(len(scan) / max(network.seconds, 1e-9), 1),
        "device": str(device),
        "threads": torch.get_num_threads(),
        "precision": precision_on(device, job.training.precision),
        "fed_share": FED_SHARE,
        "deal_seed": DEAL_SEED,
    }


def _refinement(model: PtychoModel, job: JobConfig, refined: Reconstructed) -> dict[str, Any]:
    steps = f"{refined.steps} data-consistency steps"
    config = job.training.refiner
    if model.refiner is None or config is None:
        how = f"{steps} from the network's object; the bundle has no refiner"
    else:
        how = f"refiner, after {config.adaptation_epochs} epochs on this scan, then {steps}"
    return {"how": how, "steps": refined.steps, "seconds": round(refined.seconds, 3)}


def _bundle_facts(facts: dict[str, Any]) -> dict[str, Any]:
    names = ("job_id", "config_sha256", "weights_sha256", "gridsize", "patch_size_px", "dose_photons")
    return {"architecture": facts["training"].get("architecture")} | {name: facts.get(name) for name in names}


def _on_cpu(made: dict[str, Reconstructed], laid: Yardstick) -> Reconstruction:
    network, refined = made[NETWORK].object_hw, made[REFINED].object_hw if REFINED in made else None
    return Reconstruction(network.cpu().numpy(), None if refined is None else refined.cpu().numpy(), laid.light, laid.box)


def _scores(made: dict[str, Reconstructed], laid: Yardstick) -> dict[str, dict[str, Any]] | None:
    if laid.truth is None:
        return None
    return {name: laid.scores(one.object_hw.cpu().numpy()) for name, one in made.items()}


def _version() -> str | None:
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:  # the frozen code of a study runs from an archive
        return None
