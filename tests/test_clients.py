"""What `export` writes is opened by ptychodus, silx and cdtools themselves, and what they write is read by `ingest`.

Each of them runs in a process of its own, by a script in tests/clients/ that knows nothing of our code. They lie in
build/clients, apart from .venv, of which they take numpy, h5py and torch.
"""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import REPOSITORY
from foreign_files import CENTER_YX_M, N_PATTERNS, PIXEL_M, known_scan
from foreign_files import GEOMETRY as KNOWN_GEOMETRY
from foreign_files import N as KNOWN_N
from small_reconstruction import BOX, GEOMETRY, SHAPE, N, small_object, small_scan, small_source, write_reconstruction

from ptycho_torch.exporting.content import ExportSource
from ptycho_torch.exporting.formats import export_reconstruction
from ptycho_torch.measured_scan import IngestOptions, ingest
from ptycho_torch.npz_archive import AnyArray
from ptycho_torch.npz_contract import PtychoDataset, read_dataset, write_dataset
from ptycho_torch.scan_geometry import ScanGeometry, geometry_of

SCRIPTS = Path(__file__).with_name("clients")
REQUIREMENTS = SCRIPTS / "requirements.txt"
INSTALLED = REPOSITORY / "build" / "clients"
KNOWN = replace(known_scan(), yx=known_scan().yx + np.random.default_rng(6).uniform(-0.5, 0.5, (N_PATTERNS, 2)))
"""Between pixels; what the patterns show plays no part in reading them."""
INSIDE = np.s_[BOX[0] : BOX[1], BOX[2] : BOX[3]]
EXACT_PX = 1e-9
CDTOOLS_PX = 2e-5
"""cdtools calculates in float32 (translations, the pixel's side, their ratio) and writes the energy and the distance so: a few
roundings by 2**-24, of at most 90 pixels."""
FLOAT32 = 1e-6
FROM_PTYCHODUS = {
    "training": ("training.h5", {}),
    "ptychopinn": ("pinn.npz", {}),
    "product": ("product.h5", {}),
    "cxi": ("product.cxi", {"diffraction": "diffraction.cxi"}),
}

clients = pytest.mark.clients


def pinned() -> dict[str, str]:
    lines = [line for line in REQUIREMENTS.read_text().splitlines() if "==" in line]
    return dict(line.split("==") for line in lines)


@pytest.fixture(scope="module")
def installed() -> None:
    """Skips where nobody has installed them; others than those that are asked for are no reason to skip."""
    if not (INSTALLED / ".installed").exists():
        pytest.skip(f"{', '.join(pinned())} are not in {INSTALLED}: run `make test-clients`, which installs them there")
    assert {one.name: one.version for one in distributions(path=[str(INSTALLED)])} == pinned(), "run `make test-clients`"


def run(script: str, *words: object) -> Any:
    """What a script of the clients says, in a process that has their packages before those of .venv."""
    command = [sys.executable, str(SCRIPTS / f"{script}.py"), *map(str, words)]
    environment = os.environ | {"PYTHONPATH": str(INSTALLED), "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout else None


def sha256(array: AnyArray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


@pytest.fixture(scope="module")
def exported(installed: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Positions between pixels, an object that is no square, indices in disorder."""
    folder = tmp_path_factory.mktemp("exported")
    export_reconstruction(small_source(folder), ["ptychodus", "cxi"], folder)
    return folder / "small-refined"


def assert_is_ours(seen: dict[str, Any]) -> None:
    """Object and probe to the bit, positions to 1e-9 px: ptychodus has the middle of a patch, half a pixel below ours."""
    scan = small_scan()
    assert (seen["object_shape"], seen["object_dtype"]) == (list(SHAPE), "complex64")
    assert seen["object_sha256"] == sha256(small_object(6))
    assert (seen["probe_shape"], seen["probe_dtype"]) == ([1, N, N], "complex64")
    assert seen["probe_sha256"] == sha256(scan.probe_guess)
    np.testing.assert_array_equal(seen["indexes"], scan.scan_index)
    np.testing.assert_allclose(np.add(seen["x_px"], 0.5), scan.xcoords, rtol=0, atol=EXACT_PX)
    np.testing.assert_allclose(np.add(seen["y_px"], 0.5), scan.ycoords, rtol=0, atol=EXACT_PX)
    assert seen["pixel_size_m"] == pytest.approx([GEOMETRY.pixel_size_m(N)] * 2, rel=1e-12)
    assert seen["photon_energy_eV"] == pytest.approx(GEOMETRY.photon_energy_eV, rel=1e-12)
    assert seen["detector_distance_m"] == GEOMETRY.detector_distance_m
    assert seen["probe_photon_count"] == pytest.approx(4 * np.sum(np.abs(scan.probe_guess) ** 2.0))
    assert seen["name"] == "small-refined"


@clients
def test_ptychodus_reads_our_product_and_its_copy_of_it(exported: Path, tmp_path: Path) -> None:
    seen = run("read_with_ptychodus", "HDF5", exported.with_suffix(".h5"), tmp_path / "copy.h5")
    assert_is_ours(seen)
    assert_is_ours(seen["copy"])


@clients
def test_ptychodus_reads_our_cxi_as_a_product_and_as_patterns(exported: Path) -> None:
    seen = run("read_with_ptychodus", "CXI", exported.with_suffix(".cxi"))
    assert_is_ours(seen)
    counts = small_scan().counts()
    assert seen["patterns_shape"] == list(counts.shape)
    assert seen["patterns_sha256"] == sha256(counts.astype(np.float64))
    assert (seen["bad_pixels"], seen["detector_pixel_m"]) == (0, GEOMETRY.detector_pixel_size_m)


@clients
def test_silx_opens_our_product_on_the_phase(exported: Path) -> None:
    seen = run("open_with_silx", exported.with_suffix(".h5"))
    phase = np.angle(small_object(6)[INSIDE])
    assert (seen["is_valid"], seen["is_image"], seen["signal"], seen["auxiliary"]) == (True, True, "phase", ["amplitude"])
    assert (seen["shape"], seen["sha256"]) == (list(phase.shape), sha256(phase))
    assert (seen["axes"], seen["units"]) == (["y", "x"], ["um", "um"])


@clients
def test_steps_of_our_cxi_are_the_same_pixels_for_cdtools(exported: Path) -> None:
    scan = small_scan()
    corner_yx = scan.positions_yx[0] - N / 2
    seen = run("read_with_cdtools", exported.with_suffix(".cxi"), *corner_yx)
    steps, ours = np.array(seen["yx_px"]), scan.positions_yx
    np.testing.assert_allclose(steps - steps[0], ours - ours[0], rtol=0, atol=CDTOOLS_PX)
    assert seen["counts"] == pytest.approx(scan.counts().sum(), rel=FLOAT32)
    assert seen["wavelength_m"] == pytest.approx(GEOMETRY.wavelength_m, rel=FLOAT32)
    assert (seen["distance_m"], seen["good_pixels"]) == (pytest.approx(1.9, rel=FLOAT32), N * N)


def bright_scan() -> PtychoDataset:
    """What the small object shows at whole positions, with so many photons that whole numbers of them round little."""
    rng = np.random.default_rng(8)
    corners = rng.integers(0, np.array(SHAPE) - N, (9, 2))
    probe = small_scan().probe_guess
    patches = np.stack([small_object()[top : top + N, left : left + N] for top, left in corners])
    waves = np.fft.fft2(np.fft.ifftshift(probe * patches, axes=(1, 2)), norm="ortho")
    amplitude = np.abs(np.fft.fftshift(waves, axes=(1, 2)))
    y, x = (corners + N / 2).T
    return small_scan(9, diffraction=amplitude.astype(np.float32), intensity_scale=1e4, xcoords=x, ycoords=y, scan_index=None)


@clients
def test_the_model_of_cdtools_sees_our_patterns_in_our_cxi(installed: None, tmp_path: Path) -> None:
    """Its signs, axes, centre and probe are ours: with the object of the file it gives the patterns of the file."""
    scan = bright_scan()
    write_reconstruction(tmp_path / "reconstruction.npz", refined=None)
    write_dataset(tmp_path / "scan.npz", scan)
    source = ExportSource(tmp_path / "reconstruction.npz", tmp_path / "scan.npz", name="bright")
    export_reconstruction(source, ["cxi"], tmp_path)
    seen = run("read_with_cdtools", tmp_path / "bright-network.cxi", *(scan.positions_yx[0] - N / 2))
    assert seen["misfit"] < 1e-9
    assert seen["moved"] > 0.01


def write_known(folder: Path) -> None:
    """The scan that every writer of the clients is given."""
    np.savez(
        folder / "known.npz",
        counts=KNOWN.counts,
        probe=KNOWN.probe,
        object_hw=KNOWN.object_hw,
        yx_m=KNOWN.yx_m,
        center_yx_m=CENTER_YX_M,
        pixel_size_m=PIXEL_M,
        wavelength_m=KNOWN_GEOMETRY.wavelength_m or 0.0,
        **KNOWN_GEOMETRY.model_dump(exclude_none=True),
    )


@pytest.fixture(scope="module")
def by_ptychodus(installed: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("by_ptychodus")
    write_known(folder)
    run("write_with_ptychodus", folder)
    return folder


def assert_is_known(dataset: PtychoDataset, atol_px: float = EXACT_PX) -> None:
    """Counts and probe exactly, positions but for where they begin."""
    np.testing.assert_array_equal(dataset.counts(), KNOWN.counts)
    expected = KNOWN.yx - KNOWN.yx.min(axis=0) + KNOWN_N / 2 + 2
    np.testing.assert_allclose(dataset.positions_yx, expected, rtol=0, atol=atol_px)
    np.testing.assert_array_equal(dataset.probe_guess, KNOWN.probe)


def assert_geometry(found: ScanGeometry, rel: float) -> None:
    for name, value in KNOWN_GEOMETRY.model_dump(exclude_none=True).items():
        assert getattr(found, name) == pytest.approx(value, rel=rel), name


@clients
@pytest.mark.parametrize("name", FROM_PTYCHODUS)
def test_what_ptychodus_writes_is_ingested(by_ptychodus: Path, tmp_path: Path, name: str) -> None:
    file_name, beside = FROM_PTYCHODUS[name]
    options = IngestOptions(**{option: by_ptychodus / other for option, other in beside.items()})
    ingest(by_ptychodus / file_name, tmp_path / "out.npz", options=options)
    dataset = read_dataset(tmp_path / "out.npz")
    assert_is_known(dataset)
    if name != "ptychopinn":  # it has no metres
        assert_geometry(geometry_of(dataset.metadata), 1e-12)


@clients
@pytest.mark.parametrize("name", ["training", "ptychopinn", "product"])
def test_an_object_of_ptychodus_lies_where_its_positions_say(by_ptychodus: Path, tmp_path: Path, name: str) -> None:
    ingest(by_ptychodus / FROM_PTYCHODUS[name][0], tmp_path / "out.npz", options=IngestOptions(keep_object=True))
    dataset = read_dataset(tmp_path / "out.npz")
    np.testing.assert_allclose(dataset.positions_yx, KNOWN.yx, rtol=0, atol=EXACT_PX)
    assert dataset.object_guess is not None
    np.testing.assert_array_equal(dataset.object_guess, KNOWN.object_hw)


@clients
def test_what_cdtools_writes_is_ingested(installed: None, tmp_path: Path) -> None:
    write_known(tmp_path)
    run("write_with_cdtools", tmp_path)
    np.save(tmp_path / "probe.npy", KNOWN.probe)
    ingest(tmp_path / "cdtools.cxi", tmp_path / "out.npz", options=IngestOptions(probe=str(tmp_path / "probe.npy")))
    dataset = read_dataset(tmp_path / "out.npz")
    assert_is_known(dataset, CDTOOLS_PX)
    assert_geometry(geometry_of(dataset.metadata), FLOAT32)


def test_the_reference_names_the_versions_that_are_checked() -> None:
    reference = (REPOSITORY / "docs" / "reference.md").read_text()
    assert [f"{name} {version}" for name, version in pinned().items() if f"{name} {version}" not in reference] == []
