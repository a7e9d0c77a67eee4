"""A wrong file of each kind is refused in words that say what is wrong and which flag settles it, or is found out."""

from contextlib import suppress
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
from turned_scan import make_turned_scan

from fly64_hpc.errors import RequestError
from fly64_hpc.ingest import main
from ptycho_torch.errors import DataContractError
from ptycho_torch.foreign_scans.paired_positions import check_density
from ptycho_torch.measured_scan import IngestOptions, ingest
from ptycho_torch.npz_contract import read_dataset
from ptycho_torch.scan_geometry import ScanGeometry

SCAN = known_scan()
HWN = np.moveaxis(SCAN.counts, 0, -1)
AMPLITUDE = np.sqrt(SCAN.counts.astype(np.float32))
WRITERS = {
    "tike": (write_tike, "scan.npz", "data"),
    "ptychopinn": (write_ptychopinn, "scan.npz", "diff3d"),
    "training": (write_training, "training.h5", "patterns"),
    "cxi": (write_cxi, "scan.cxi", "data"),
}


def write(folder: Path, kind: str, **changed: Any) -> Path:
    writer, name, _ = WRITERS[kind]
    return writer(folder / name, SCAN, **changed)


def refuse(source: Path, match: str, **said: Any) -> None:
    """The scan is refused in these words, and nothing is written."""
    target = source.parent / "out.npz"
    with pytest.raises(DataContractError, match=f"(?s){match}"):
        ingest(source, target, options=IngestOptions(**said))
    assert not target.exists()


def arrays(folder: Path, positions: Any = SCAN.yx, patterns: Any = SCAN.counts) -> tuple[Path, dict[str, Any]]:
    """Named arrays, and what the command line says of them but for unit and order."""
    for name, array in (("counts", patterns), ("positions", positions), ("probe", SCAN.probe)):
        np.save(folder / f"{name}.npy", array)
    said = {"format": "arrays", "positions": str(folder / "positions.npy"), "probe": str(folder / "probe.npy")}
    return folder / "counts.npy", said


@pytest.mark.parametrize("kind", ["tike", "ptychopinn", "training"])
def test_swapped_axes(tmp_path: Path, kind: str) -> None:
    key = WRITERS[kind][2]
    source = write(tmp_path, kind, **{key: HWN})
    refuse(source, rf"`{key}` has shape .* for {N_PATTERNS} positions, so its axes are \(H, W, n\).*--pattern-axes hwn")
    ingest(source, tmp_path / "out.npz", options=IngestOptions(pattern_axes="hwn", dc="center"))
    np.testing.assert_array_equal(read_dataset(tmp_path / "out.npz").counts(), SCAN.counts)


def test_axes_that_cxi_names_are_followed_or_refused(tmp_path: Path) -> None:
    source = write(tmp_path, "cxi", data=HWN)
    with h5py.File(source, "a") as file:
        file["entry_1/data_1/data"].attrs["axes"] = "y:x:translation"
    ingest(source, tmp_path / "out.npz", options=IngestOptions())
    np.testing.assert_array_equal(read_dataset(tmp_path / "out.npz").counts(), SCAN.counts)
    (tmp_path / "out.npz").unlink()
    with h5py.File(source, "a") as file:
        file["entry_1/data_1/data"].attrs["axes"] = "y:x:time"
    refuse(source, "`data` has the axes y:x:time; allowed is translation:y:x.*--pattern-axes")


@pytest.mark.parametrize("kind", ["tike", "ptychopinn", "training"])
def test_metres_called_pixels(tmp_path: Path, kind: str) -> None:
    x, y = SCAN.yx_m[:, 1], SCAN.yx_m[:, 0]
    changed: dict[str, dict[str, Any]] = {
        "tike": {"scan": SCAN.yx_m},
        "ptychopinn": {"xcoords": x, "ycoords": y},
        "training": {"probe_position_x_px": x, "probe_position_y_px": y},
    }
    source = write(tmp_path, kind, **changed[kind])
    refuse(source, "positions lie .* px apart, so small that they must be lengths.*--position-unit")


def test_metres_are_metres_where_that_is_said(tmp_path: Path) -> None:
    source = write(tmp_path, "tike", scan=SCAN.yx_m)
    ingest(source, tmp_path / "out.npz", options=IngestOptions(position_unit="m", geometry=GEOMETRY))
    yx = read_dataset(tmp_path / "out.npz").positions_yx
    np.testing.assert_allclose(yx - yx[0], SCAN.yx - SCAN.yx[0], rtol=0, atol=1e-9)


def test_pixels_called_metres(tmp_path: Path) -> None:
    source, said = arrays(tmp_path)
    refuse(source, "so wide that no patches overlap", position_unit="m", position_order="yx", geometry=GEOMETRY, **said)


def dense(folder: Path, **said: Any) -> tuple[Path, IngestOptions]:
    """Neighbours 0.2 px apart, under a beam of 11 px."""
    scan = make_turned_scan()
    source, named = arrays(folder, scan.yx / 20, scan.counts)
    np.save(folder / "probe.npy", scan.probe)
    return source, IngestOptions(**(named | {"position_unit": "px", "position_order": "yx"} | said))


def test_micrometres_called_pixels_are_refused(tmp_path: Path) -> None:
    source, options = dense(tmp_path)
    with pytest.raises(DataContractError, match=r"px apart, \S+% of the beam's width of 11 px: so dense are.*--position-unit um"):
        ingest(source, tmp_path / "out.npz", options=options)


def test_positions_so_dense_are_for_photons_to_judge_where_they_are_asked(tmp_path: Path) -> None:
    source, options = dense(tmp_path, find_orientation=True)
    with pytest.raises(DataContractError, match="are too few to find the orientation of positions"):
        ingest(source, tmp_path / "out.npz", options=options)
    yx = make_turned_scan().yx
    assert "photons judge them" in (check_density(yx / 20, make_turned_scan().probe, source, is_judged=True) or "")
    assert check_density(yx, make_turned_scan().probe, source, is_judged=False) is None


def test_numbers_that_were_normalized_are_no_photons(tmp_path: Path) -> None:
    largest = SCAN.counts.max()
    for array in (SCAN.counts / largest, AMPLITUDE / AMPLITUDE.max()):
        refuse(
            write(tmp_path, "cxi", data=array), "`data` reaches to 1 at most and holds fractions, so it is normalized.*Multiply"
        )


def test_what_metres_would_take_is_said_where_positions_need_none(tmp_path: Path) -> None:
    report = ingest(write(tmp_path, "tike"), tmp_path / "out.npz", options=IngestOptions())
    assert [line for line in report.found if line.startswith("nothing says the photons' energy, the detector's distance, ")]
    report = ingest(write(tmp_path, "cxi"), tmp_path / "out.npz", options=IngestOptions())
    assert not [line for line in report.found if line.startswith("nothing says")]


def test_positions_that_are_all_the_same(tmp_path: Path) -> None:
    refuse(write(tmp_path, "tike", scan=np.zeros((N_PATTERNS, 2))), f"all {N_PATTERNS} positions are the same")


def test_a_unit_or_an_order_that_nobody_says(tmp_path: Path) -> None:
    source, said = arrays(tmp_path)
    refuse(source, "which of a position's two numbers counts rows.*--position-order yx", position_unit="px", **said)
    refuse(source, "in which unit positions are; they reach from .*--position-unit px, m or um", position_order="yx", **said)


@pytest.mark.parametrize("kind", ["ptychopinn", "training", "cxi"])
def test_amplitude_called_intensity_by_the_format(tmp_path: Path, kind: str) -> None:
    key = WRITERS[kind][2]
    source = write(tmp_path, kind, **{key: AMPLITUDE})
    refuse(source, f"the format says that `{key}` is intensity, but the squares .* that is amplitude.*--quantity amplitude")
    ingest(source, tmp_path / "out.npz", options=IngestOptions(quantity="amplitude"))
    np.testing.assert_array_equal(read_dataset(tmp_path / "out.npz").counts(), SCAN.counts)


def test_amplitude_called_intensity_by_the_user_and_the_reverse(tmp_path: Path) -> None:
    source, said = arrays(tmp_path, patterns=AMPLITUDE)
    said |= {"position_unit": "px", "position_order": "yx"}
    refuse(
        source, "the option says that `patterns` is intensity, but the squares .* amplitude. Leave", quantity="intensity", **said
    )
    source, _ = arrays(tmp_path)
    refuse(
        source,
        "the option says that `patterns` is amplitude, but .* whole numbers: that is intensity",
        quantity="amplitude",
        **said,
    )


def test_intensity_that_is_not_whole_is_believed_to_the_format(tmp_path: Path) -> None:
    source = write(tmp_path, "cxi", data=SCAN.counts * np.float32(0.3))
    report = ingest(source, tmp_path / "out.npz", options=IngestOptions())
    assert "`data` is intensity (as the format says), in photons; it is not in whole numbers" in report.assumed


@pytest.mark.parametrize("kind", ["ptychopinn", "training"])
def test_a_zero_frequency_at_the_corner_where_the_format_has_it_at_the_center(tmp_path: Path, kind: str) -> None:
    key = WRITERS[kind][2]
    source = write(tmp_path, kind, **{key: np.fft.ifftshift(SCAN.counts, axes=(1, 2))})
    refuse(source, "keeps the zero frequency at the center, but .* the power lies about the corner.*--dc corner")
    ingest(source, tmp_path / "out.npz", options=IngestOptions(dc="corner"))
    np.testing.assert_array_equal(read_dataset(tmp_path / "out.npz").counts(), SCAN.counts)


@pytest.mark.parametrize("kind", ["ptychopinn", "training", "cxi"])
def test_a_zero_frequency_that_lies_beside_the_center(tmp_path: Path, kind: str) -> None:
    key = WRITERS[kind][2]
    source = write(tmp_path, kind, **{key: np.roll(SCAN.counts, (4, -3), axis=(1, 2))})
    refuse(
        source, r"the beam lies \(\+\d\.\d, -\d\.\d\) px from where the probe's far field has it.*--patch-size-px.*--dc center"
    )
    report = ingest(source, tmp_path / "out.npz", options=IngestOptions(dc="center"))
    assert any("taken as it is" in line for line in report.assumed)


@pytest.mark.parametrize("missing", ["photon_energy_eV", "detector_distance_m", "detector_pixel_size_m"])
def test_metres_need_energy_distance_and_detector_pixel(tmp_path: Path, missing: str) -> None:
    source, said = arrays(tmp_path, SCAN.yx_m)
    said |= {"position_unit": "m", "position_order": "yx"}
    known = GEOMETRY.model_copy(update={missing: None})
    refuse(source, "positions are in metres, and the size .* is not known.*--photon-energy-ev", geometry=known, **said)
    options = IngestOptions(geometry=ScanGeometry(object_pixel_size_m=PIXEL_M), **said)
    ingest(source, tmp_path / "out.npz", options=options)
    yx = read_dataset(tmp_path / "out.npz").positions_yx
    np.testing.assert_allclose(yx - yx[0], SCAN.yx - SCAN.yx[0], rtol=0, atol=1e-9)


def test_cxi_without_an_energy_needs_it_told(tmp_path: Path) -> None:
    source = write(tmp_path, "cxi", energy=None)
    refuse(source, "positions are in metres, and the size .* is not known.*--photon-energy-ev")
    ingest(source, tmp_path / "out.npz", options=IngestOptions(geometry=ScanGeometry(photon_energy_eV=8800)))
    yx = read_dataset(tmp_path / "out.npz").positions_yx
    np.testing.assert_allclose(yx - yx[0], SCAN.yx - SCAN.yx[0], rtol=0, atol=1e-9)


@pytest.mark.parametrize("energy", [8800.0, 8.8])
def test_an_energy_that_is_no_joule(tmp_path: Path, energy: float) -> None:
    source = write(tmp_path, "cxi", energy=energy)
    refuse(source, f"source_1/energy is {energy:g}; CXI keeps it in joule.*--photon-energy-ev")
    ingest(source, tmp_path / "out.npz", options=IngestOptions(geometry=ScanGeometry(photon_energy_eV=8800)))


def test_an_energy_in_kev_where_it_should_be_ev_and_the_reverse(tmp_path: Path) -> None:
    refuse(write(tmp_path, "training", photon_energy_eV=8.8), "photons' energy is 8.8 eV; allowed is 10 to 1e[+]06 eV")
    refuse(write_ptyd(tmp_path / "scan.ptyd", SCAN, energy=8800.0), "meta/energy is 8800; ptypy keeps it in keV")


def test_a_pixel_that_contradicts_energy_distance_and_detector(tmp_path: Path) -> None:
    source = write_product(tmp_path / "product.h5", SCAN)
    with h5py.File(source, "a") as file:
        file.attrs["photon_energy_eV"] = 7000.0
    refuse(source, "object's pixel is .* by the file, but .* by energy, distance and detector pixel.*--object-pixel-size-m")
    report = ingest(source, tmp_path / "out.npz", options=IngestOptions(geometry=ScanGeometry(photon_energy_eV=8800)))
    assert "photon_energy_eV is 8800 (as the option says), the file has 7000" in report.assumed


@pytest.mark.parametrize("kind", ["training", "product"])
def test_near_field(tmp_path: Path, kind: str) -> None:
    if kind == "product":
        source = write_product(tmp_path / "product.h5", SCAN, far_field=False)
    else:
        source = write(tmp_path, "training")
        with h5py.File(source, "a") as file:
            file.attrs["far_field"] = False
    refuse(source, "a near-field scan .its attribute far_field is false.; allowed are far-field scans")


@pytest.mark.parametrize("kind", sorted(WRITERS))
@pytest.mark.parametrize("kept", [0.5, 0.9])
def test_a_file_that_is_cut_off(tmp_path: Path, kind: str, kept: float) -> None:
    source = write(tmp_path, kind)
    content = source.read_bytes()
    source.write_bytes(content[: int(len(content) * kept)])
    refuse(source, "not a whole (NPZ|HDF5).*(truncated|cut off)")


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(WRITERS)), st.integers(0, 2**16), st.booleans())
def test_a_damaged_file_is_read_or_refused_and_never_ends_in_another_error(kind: str, seed: int, at_its_head: bool) -> None:
    rng = np.random.default_rng(seed)
    with TemporaryDirectory() as name:
        source = write(Path(name), kind)
        content = bytearray(source.read_bytes())
        for place in rng.integers(min(len(content), 4096) if at_its_head else len(content), size=5):
            content[place] = rng.integers(256)
        source.write_bytes(content)
        with suppress(DataContractError):
            ingest(source, Path(name) / "out.npz", options=IngestOptions())
            read_dataset(Path(name) / "out.npz")


def test_a_diffraction_file_that_is_cut_off(tmp_path: Path) -> None:
    source = write_product(tmp_path / "product.h5", SCAN)
    diffraction = tmp_path / "diffraction.h5"
    diffraction.write_bytes(diffraction.read_bytes()[:-2000])
    refuse(source, r"diffraction\.h5: not a whole HDF5 file")


@pytest.mark.parametrize("content", [b"", b"no scan at all\n", b"\x89HDF\r\n"])
def test_a_file_that_is_no_scan(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "scan.dat").write_bytes(content)
    refuse(tmp_path / "scan.dat", "by its first bytes")


def test_named_arrays_that_are_cut_off(tmp_path: Path) -> None:
    source, said = arrays(tmp_path)
    said |= {"position_unit": "px", "position_order": "yx"}
    (tmp_path / "scan.csv").write_text("1,2\n3,4\n5")
    refuse(source, "line 3 holds 1 numbers where earlier ones hold 2", **(said | {"positions": str(tmp_path / "scan.csv")}))
    source.write_bytes(source.read_bytes()[:-100])
    refuse(source, "not a whole NPY file", **said)


def test_near_names_that_are_not_there(tmp_path: Path) -> None:
    source, said = arrays(tmp_path)
    said |= {"position_unit": "px", "position_order": "yx"}
    np.savez(tmp_path / "more.npz", a=SCAN.probe, b=SCAN.probe)
    refuse(
        source,
        r"more\.npz: holds 2 arrays or groups \(a, b\), so one must be named",
        **(said | {"probe": str(tmp_path / "more.npz")}),
    )
    refuse(source, r"more\.npz: missing array `c`; it holds a, b", **(said | {"probe": f"{tmp_path / 'more.npz'}:c"}))
    refuse(source, r"none\.npy: no such file", **(said | {"probe": str(tmp_path / "none.npy")}))


@pytest.mark.parametrize("kind", ["ptychopinn", "training", "cxi"])
def test_positions_that_are_too_few(tmp_path: Path, kind: str) -> None:
    fewer = SCAN.yx[:-1]
    changed: dict[str, dict[str, Any]] = {
        "ptychopinn": {"xcoords": fewer[:, 1], "ycoords": fewer[:, 0]},
        "training": {"probe_position_x_px": fewer[:, 1], "probe_position_y_px": fewer[:, 0]},
        "cxi": {"translation": np.zeros((N_PATTERNS - 1, 3))},
    }
    refuse(write(tmp_path, kind, **changed[kind]), f"{N_PATTERNS - 1} positions for {N_PATTERNS} patterns")


def test_what_is_missing_is_named_with_the_flag_that_gives_it(tmp_path: Path) -> None:
    refuse(write(tmp_path, "cxi", translation=None), "CXI without positions.*--positions")
    refuse(write(tmp_path, "cxi", illumination=None), "CXI without a probe.*--probe")
    refuse(write(tmp_path, "cxi", data=None), "has no patterns at entry_1/data_1/data or .*--diffraction")
    refuse(write(tmp_path, "training", object_pixel_width_m=None, probe=None), "missing dataset `probe`")
    product = write_product(tmp_path / "product.h5", SCAN)
    refuse(tmp_path / "diffraction.h5", "ptychodus' diffraction HDF5, which holds no positions.*--diffraction")
    (tmp_path / "diffraction.h5").rename(tmp_path / "elsewhere.h5")
    refuse(product, "a ptychodus product holds no patterns, and .*diffraction.h5 is no file.*--diffraction")
    ingest(product, tmp_path / "out.npz", options=IngestOptions(diffraction=tmp_path / "elsewhere.h5"))


def test_numbers_that_no_pattern_and_position_share(tmp_path: Path) -> None:
    source = write_product(tmp_path / "product.h5", SCAN, order=np.arange(N_PATTERNS) + 500)
    refuse(source, "patterns are numbered 100 to 108 and positions 600 to 608, and none has both")


def test_formats_that_cannot_be_told_apart(tmp_path: Path) -> None:
    source = write(tmp_path, "training")
    with h5py.File(source, "a") as file:
        file.create_group("entry_1")
    refuse(source, "it holds what ptychodus-training and cxi hold.*--format ptychodus-training")
    ingest(source, tmp_path / "out.npz", options=IngestOptions(format="ptychodus-training"))


def test_files_of_no_format(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["frames"] = SCAN.counts
    refuse(tmp_path / "other.h5", "HDF5 of no format that is known; it holds frames.*--patterns")
    ingest(write(tmp_path, "tike"), tmp_path / "done.npz", options=IngestOptions())
    refuse(tmp_path / "done.npz", "it is DATA-001 already")


def test_several_modes(tmp_path: Path) -> None:
    modes = np.stack([SCAN.probe, 0.8 * SCAN.probe[::-1]])
    source = write(tmp_path, "training", probe=modes)
    refuse(source, r"`probe` has shape .* more than one mode, the strongest of which holds 61% .*--probe-mode strongest")
    ingest(source, tmp_path / "out.npz", options=IngestOptions(probe_mode="strongest"))
    np.testing.assert_array_equal(read_dataset(tmp_path / "out.npz").probe_guess, SCAN.probe)
    weak = write(tmp_path, "training", probe=np.stack([0.1 * SCAN.probe, SCAN.probe]))
    report = ingest(weak, tmp_path / "out.npz", options=IngestOptions())
    assert "of 2 probe modes the one that holds 99.0% of the power is kept, number 1" in report.assumed


def test_an_object_that_cannot_be_kept(tmp_path: Path) -> None:
    refuse(write(tmp_path, "tike"), "without an object on which its positions count", keep_object=True)
    refuse(write(tmp_path, "training", object=None), "without an object", keep_object=True)
    refuse(write(tmp_path, "training"), "without an object", keep_object=True, flip_positions="y")
    wide = np.pad(SCAN.counts, ((0, 0), (16, 16), (16, 16)))
    changed = {"patterns": wide, "bad_pixels": None, "object_pixel_width_m": None, "object_pixel_height_m": None}
    source = write(tmp_path, "training", **changed)
    refuse(source, "a crop from 64 to 32 px changes the object's pixels", keep_object=True, patch_size_px=32)


def test_pixels_that_are_not_square(tmp_path: Path) -> None:
    refuse(
        write(tmp_path, "training", object_pixel_height_m=2 * PIXEL_M), "a pixel is .* m high and .* m wide; allowed are square"
    )
    refuse(write(tmp_path, "cxi", basis_vectors=None, y_pixel_size=1e-4), "a detector pixel is 0.0001 m high")


def test_a_mask_of_another_shape(tmp_path: Path) -> None:
    refuse(write(tmp_path, "cxi", mask=np.ones((N, N + 1), np.uint32)), "the mask of bad pixels has shape")


@pytest.mark.parametrize(
    ("flags", "match"),
    [
        (["--bin-px", "0"], "--bin-px is 0; allowed is a whole number, at least 1"),
        (["--photon-energy-ev", "-1"], "--photon-energy-ev is -1; allowed is a number above 0"),
    ],
)
def test_a_flag_that_cannot_be(tmp_path: Path, flags: list[str], match: str) -> None:
    with pytest.raises(RequestError, match=match):
        main([str(write(tmp_path, "tike")), str(tmp_path / "out.npz"), *flags])


def test_the_scan_is_not_symmetric() -> None:
    """Else a swap of axes would not show."""
    assert isinstance(SCAN, KnownScan)
    assert not np.array_equal(SCAN.counts, SCAN.counts.transpose(0, 2, 1))
