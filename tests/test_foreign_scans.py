"""Every format of one scan ends in the same DATA-001 arrays, and what a file says of itself is found."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import numpy as np
import pytest
from foreign_files import (
    GEOMETRY,
    N_PATTERNS,
    PIXEL_M,
    KnownScan,
    N,
    S,
    known_scan,
    write_cxi,
    write_product,
    write_ptychopinn,
    write_ptyd,
    write_tike,
    write_training,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from fly64_hpc import ingest as verb
from ptycho_torch.foreign_scans import pattern_sources
from ptycho_torch.measured_scan import IngestOptions, ingest
from ptycho_torch.npz_contract import PtychoDataset, read_dataset
from ptycho_torch.scan_geometry import geometry_of

SCAN = known_scan()
Writer = Callable[..., Path]
WRITERS: dict[str, tuple[Writer, str]] = {
    "tike": (write_tike, "scan.npz"),
    "ptychopinn": (write_ptychopinn, "scan.npz"),
    "training": (write_training, "training.h5"),
    "product": (write_product, "product.h5"),
    "cxi": (write_cxi, "scan.cxi"),
    "ptyd": (write_ptyd, "scan.ptyd"),
}
WITH_GEOMETRY = ("training", "product", "cxi", "ptyd")
WITH_OBJECT = ("ptychopinn", "training", "product")


def options_for(name: str, folder: Path, **said: Any) -> IngestOptions:
    """A .ptyd brings no probe."""
    if name == "ptyd":
        np.save(folder / "probe.npy", SCAN.probe)
        said["probe"] = str(folder / "probe.npy")
    return IngestOptions(**said)


def ingested(name: str, folder: Path, **said: Any) -> PtychoDataset:
    writer, file_name = WRITERS[name]
    ingest(writer(folder / file_name, SCAN), folder / "out.npz", options=options_for(name, folder, **said))
    return read_dataset(folder / "out.npz")


def assert_is_scan(dataset: PtychoDataset, scan: KnownScan = SCAN) -> None:
    """Its counts exactly, its positions to 1e-9 px but for where they begin, its probe."""
    np.testing.assert_array_equal(dataset.counts(), scan.counts)
    np.testing.assert_allclose(dataset.positions_yx, scan.yx - scan.yx.min(axis=0) + N / 2 + 2, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(dataset.probe_guess, scan.probe)


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_of_one_scan_ends_in_the_same_arrays(tmp_path: Path, name: str) -> None:
    assert_is_scan(ingested(name, tmp_path))


@pytest.mark.parametrize("name", WRITERS)
def test_a_crop_and_bins_end_in_the_same_arrays_too(tmp_path: Path, name: str) -> None:
    (tmp_path / "one").mkdir()
    first = ingested("tike", tmp_path / "one", bin_px=2)
    other = ingested(name, tmp_path, bin_px=2)
    np.testing.assert_array_equal(other.counts(), first.counts())
    np.testing.assert_allclose(other.positions_yx, first.positions_yx, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(other.probe_guess, first.probe_guess)
    np.testing.assert_array_equal(first.counts().sum(axis=(1, 2)), SCAN.counts.sum(axis=(1, 2)))


@pytest.mark.parametrize("name", WRITERS)
def test_blocks_of_one_pattern_make_no_difference(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pattern_sources, "BLOCK_BYTES", 1)
    assert_is_scan(ingested(name, tmp_path))


@pytest.mark.parametrize("name", WITH_GEOMETRY)
@pytest.mark.parametrize("bin_px", [1, 2])
def test_the_geometry_is_kept_and_bins_make_the_detector_s_pixel_larger(tmp_path: Path, name: str, bin_px: int) -> None:
    dataset = ingested(name, tmp_path, bin_px=bin_px)
    geometry = geometry_of(dataset.metadata)
    assert geometry.photon_energy_eV == pytest.approx(GEOMETRY.photon_energy_eV, rel=1e-12)
    assert geometry.detector_distance_m == GEOMETRY.detector_distance_m
    assert geometry.detector_pixel_size_m == pytest.approx(bin_px * (GEOMETRY.detector_pixel_size_m or 0), rel=1e-12)
    assert geometry.pixel_size_m(dataset.patch_size_px) == pytest.approx(PIXEL_M, rel=1e-12)


@pytest.mark.parametrize("name", ["tike", "ptychopinn"])
def test_what_nobody_knows_of_the_geometry_is_left_out(tmp_path: Path, name: str) -> None:
    assert "geometry" not in ingested(name, tmp_path).metadata


@pytest.mark.parametrize("name", WITH_OBJECT)
def test_an_object_that_is_kept_lies_where_positions_say(tmp_path: Path, name: str) -> None:
    dataset = ingested(name, tmp_path, keep_object=True)
    np.testing.assert_allclose(dataset.positions_yx, SCAN.yx, rtol=0, atol=1e-9)
    assert dataset.object_guess is not None
    np.testing.assert_array_equal(dataset.object_guess, SCAN.object_hw)
    assert any("as if it were the truth" in line for line in dataset.metadata["assumed"])


@pytest.mark.parametrize("name", WITH_OBJECT)
def test_an_object_is_left_out_unless_it_is_asked_for(tmp_path: Path, name: str) -> None:
    dataset = ingested(name, tmp_path)
    assert dataset.object_guess is None
    assert any("a reconstruction is no truth" in line for line in dataset.metadata["found"])


def test_ptychodus_pairs_by_number_and_not_by_row(tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(N_PATTERNS)
    source = write_product(tmp_path / "product.h5", SCAN, order=order)
    ingest(source, tmp_path / "out.npz", options=IngestOptions())
    dataset = read_dataset(tmp_path / "out.npz")
    assert_is_scan(dataset)
    assert dataset.scan_index is not None
    np.testing.assert_array_equal(dataset.scan_index, np.arange(N_PATTERNS) + 100)


def test_patterns_without_a_position_are_left_out_and_counted(tmp_path: Path) -> None:
    source = write_product(tmp_path / "product.h5", SCAN, order=np.array([7, 2, 3, 8, 9]))
    report = ingest(source, tmp_path / "out.npz", options=IngestOptions())
    np.testing.assert_array_equal(read_dataset(tmp_path / "out.npz").counts(), SCAN.counts[[2, 3, 7, 8]])
    assert "left out: 5 patterns without a position, 1 positions without a pattern" in report.found


def test_repeated_triggers_are_averaged(tmp_path: Path) -> None:
    np.save(tmp_path / "counts.npy", SCAN.counts)
    np.save(tmp_path / "probe.npy", SCAN.probe)
    index = np.repeat(np.arange(N_PATTERNS), 2)
    wobble = np.where(np.arange(2 * N_PATTERNS) % 2, 0.25, -0.25)[:, np.newaxis]
    np.savetxt(tmp_path / "scan.csv", np.column_stack([index, SCAN.yx[index] + wobble]), delimiter=",", header="trigger,y,x")
    said = {"positions": str(tmp_path / "scan.csv"), "position_unit": "px", "position_order": "yx"}
    options = IngestOptions(format="arrays", probe=str(tmp_path / "probe.npy"), **said)
    report = ingest(tmp_path / "counts.npy", tmp_path / "out.npz", options=options)
    assert_is_scan(read_dataset(tmp_path / "out.npz"))
    assert f"{N_PATTERNS} numbers have several positions (repeated triggers): their mean is taken" in report.found


UNITS = {"px": 1.0, "m": PIXEL_M, "um": PIXEL_M * 1e6}
AXES = {"nhw": (0, 1, 2), "hwn": (1, 2, 0), "whn": (2, 1, 0), "nwh": (0, 2, 1)}


@settings(max_examples=40, deadline=None)
@given(
    unit=st.sampled_from(sorted(UNITS)),
    order=st.sampled_from(["yx", "xy"]),
    dc=st.sampled_from(["corner", "center"]),
    quantity=st.sampled_from(["intensity", "amplitude"]),
    axes=st.sampled_from(sorted(AXES)),
    container=st.sampled_from(["npz", "npy", "h5"]),
    table=st.sampled_from(["csv", "npy", "h5", "(2, n)"]),
)
def test_every_combination_of_named_arrays_ends_in_the_same_arrays(
    unit: str, order: str, dc: str, quantity: str, axes: str, container: str, table: str
) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        counts = np.fft.ifftshift(SCAN.counts, axes=(1, 2)) if dc == "corner" else SCAN.counts
        values = np.sqrt(counts.astype(np.float32)) if quantity == "amplitude" else counts
        yx = (SCAN.yx - 50.0) * UNITS[unit]
        patterns = place_array(folder, "patterns", container, np.transpose(values, AXES[axes]))
        positions = place_array(folder, "positions", table, yx if order == "yx" else yx[:, ::-1])
        flags = ["--patterns", patterns, "--positions", positions, "--probe", place_array(folder, "probe", "npy", SCAN.probe)]
        flags += ["--position-unit", unit, "--position-order", order, "--pattern-axes", axes]
        flags += ["--photon-energy-ev", "8800", "--detector-distance-m", "1.9", "--detector-pixel-size-m", "172e-6"]
        argv = [*flags, str(folder / "out.npz")]
        told = verb._parser(argv).parse_args(argv)
        ingest(told.patterns, told.target, options=verb._options(told))  # the verb draws beside, which takes longer than all else
        assert_is_scan(read_dataset(folder / "out.npz"))


def place_array(folder: Path, name: str, kind: str, array: Any) -> str:
    """Write an array in some way; what the command line calls it."""
    path = folder / f"{name}.{'npy' if kind == '(2, n)' else kind}"
    if kind == "csv":
        np.savetxt(path, array, delimiter=",", fmt="%.17g")
    elif kind == "npz":
        np.savez(path, other=np.zeros(3), wanted=array)
        return f"{path}:wanted"
    elif kind == "h5":
        with h5py.File(path, "w") as file:
            file["entry/wanted"] = array
        return f"{path}:entry/wanted"
    else:
        np.save(path, array.T if kind == "(2, n)" else array)
    return str(path)


@pytest.mark.parametrize(
    "changed", [{"basis_vectors": None}, {"mask": None, "distance": None}, {"energy": None, "wavelength": 1}]
)
def test_cxi_in_other_words_is_the_same_scan(tmp_path: Path, changed: dict[str, Any]) -> None:
    if "wavelength" in changed:
        changed = changed | {"wavelength": GEOMETRY.wavelength_m}
    ingest(write_cxi(tmp_path / "scan.cxi", SCAN, **changed), tmp_path / "out.npz", options=IngestOptions())
    assert_is_scan(read_dataset(tmp_path / "out.npz"))


def test_cxi_in_two_files_as_ptychodus_writes_it(tmp_path: Path) -> None:
    product = write_cxi(tmp_path / "product.cxi", SCAN, data=None, mask=None, basis_vectors=None)
    with h5py.File(product, "a") as file:
        file["entry_1/ptychodus/probe_position_indexes"] = np.arange(N_PATTERNS)
        del file["entry_1/instrument_1/source_1/illumination"]
        file["entry_1/image_1/data"] = np.stack([SCAN.probe, SCAN.probe])[:, np.newaxis]
    diffraction = write_cxi(tmp_path / "diffraction.cxi", SCAN, translation=None, illumination=None, energy=None)
    report = ingest(product, tmp_path / "out.npz", options=IngestOptions(diffraction=diffraction))
    assert_is_scan(read_dataset(tmp_path / "out.npz"))
    assert "of 2 OPR modes of the probe the first" in report.assumed


def test_cxi_of_the_other_basis_turns_the_scan(tmp_path: Path) -> None:
    side = GEOMETRY.detector_pixel_size_m or 0.0
    basis = np.array([[0, side, 0], [side, 0, 0]])
    ingest(write_cxi(tmp_path / "scan.cxi", SCAN, basis_vectors=basis), tmp_path / "out.npz", options=IngestOptions())
    yx = read_dataset(tmp_path / "out.npz").positions_yx
    np.testing.assert_allclose(yx - yx[0], -(SCAN.yx - SCAN.yx[0]), atol=1e-9)


@pytest.mark.parametrize("flip", ["y", "x", "yx"])
@pytest.mark.parametrize("name", ["training", "cxi"])
def test_coordinates_that_grow_the_other_way_are_turned(tmp_path: Path, name: str, flip: str) -> None:
    yx = ingested(name, tmp_path, flip_positions=flip).positions_yx
    signs = np.array([-1 if axis in flip else 1 for axis in "yx"])
    np.testing.assert_allclose(yx - yx[0], signs * (SCAN.yx - SCAN.yx[0]), rtol=0, atol=1e-9)


@pytest.mark.parametrize(("chunk", "block_bytes"), [(1, 1), (4, 1), (4, 8 * N * N), (5, 64 * N * N), (9, 8 * N * N)])
def test_compressed_chunks_of_any_length_are_read_in_order(
    tmp_path: Path, chunk: int, block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pattern_sources, "BLOCK_BYTES", block_bytes)
    source = write_training(tmp_path / "training.h5", SCAN, patterns=None)
    with h5py.File(source, "a") as file:
        file.create_dataset("patterns", data=SCAN.counts, chunks=(chunk, N // 2, N), compression="lzf")
    ingest(source, tmp_path / "out.npz", options=IngestOptions())
    assert_is_scan(read_dataset(tmp_path / "out.npz"))


def test_the_rows_of_ptychodus_patterns_are_rows_of_its_object(tmp_path: Path) -> None:
    """The counts of a product are those that its object and probe give at the positions that are read."""
    dataset = ingested("product", tmp_path, keep_object=True)
    assert dataset.object_guess is not None
    corners = np.rint(dataset.positions_yx).astype(int) - N // 2
    patches = np.stack([dataset.object_guess[top : top + N, left : left + N] for top, left in corners])
    expected = np.abs(np.fft.fftshift(np.fft.fft2(dataset.probe_guess * patches, norm="ortho"), axes=(1, 2))) ** 2
    factor = dataset.counts().sum() / expected.sum()
    assert np.corrcoef(dataset.counts().ravel(), (factor * expected).ravel())[0, 1] > 0.999
    assert len(dataset.object_guess) == S
