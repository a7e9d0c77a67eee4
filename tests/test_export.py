"""What is exported comes back: to the bit where bits are kept, to a billionth of a pixel where positions become metres."""

import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread
from small_reconstruction import BOX, GEOMETRY, SHAPE, N, small_object, small_scan, small_source, write_reconstruction

from ptycho_torch.errors import ConfigError, DataContractError
from ptycho_torch.exporting.content import read_content
from ptycho_torch.exporting.formats import FORMATS, export_reconstruction
from ptycho_torch.exporting.phase_picture import complex_colours, wheel
from ptycho_torch.exporting.whole_geometry import FLAGS, metres_from_middle, whole_geometry
from ptycho_torch.npz_archive import read_arrays
from ptycho_torch.scan_geometry import ScanGeometry

INSIDE = np.s_[BOX[0] : BOX[1], BOX[2] : BOX[3]]
IN_METRES = ("ptychodus", "cxi")
OF_OBJECTS = [name for name, kind in FORMATS.items() if not kind.is_of_network]
NM = st.floats(0.5, 500).map(lambda nm: nm * 1e-9)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the refined object in every format."""
    folder = tmp_path_factory.mktemp("written")
    export_reconstruction(small_source(folder), OF_OBJECTS, folder)
    return folder


def pixels_of_ptychodus(metres: Any, center_m: float, pixel_m: float, side_px: int) -> Any:
    """Where ptychodus 1.7 sees a position on the object's array: the middle of the patch, as an index."""
    return (metres - center_m) / pixel_m + (side_px - 1) / 2


@given(st.lists(st.floats(0, 5000), min_size=1, max_size=20), st.integers(2, 5000), NM)
def test_a_patch_lies_on_the_same_pixels_for_ptychodus(positions_px: list[float], side_px: int, pixel_m: float) -> None:
    ours = np.array(positions_px)
    seen = pixels_of_ptychodus(metres_from_middle(ours, side_px, pixel_m), 0.0, pixel_m, side_px)
    first, last = ours - N / 2, ours + N / 2 - 1
    np.testing.assert_allclose(seen, (first + last) / 2, rtol=0, atol=1e-9)


@given(
    st.integers(32, 256).map(lambda half: 2 * half), st.sampled_from(list(FLAGS)), NM, st.floats(100, 5e4), st.floats(0.01, 20)
)
def test_any_three_of_the_four_give_the_fourth(patch_px: int, missing: str, pixel_m: float, energy_ev: float, z_m: float) -> None:
    three = ScanGeometry(object_pixel_size_m=pixel_m, photon_energy_eV=energy_ev, detector_distance_m=z_m)
    whole = whole_geometry(three, patch_px)
    assert whole.model_copy(update={"object_pixel_size_m": None}).pixel_size_m(patch_px) == pytest.approx(pixel_m)
    again = whole_geometry(whole.model_copy(update={missing: None}), patch_px)
    assert getattr(again, missing) == pytest.approx(getattr(whole, missing))
    assert whole_geometry(whole, patch_px) == whole


def test_two_of_the_four_give_nothing() -> None:
    known = ScanGeometry(photon_energy_eV=8e3, detector_distance_m=2.0)
    assert whole_geometry(known, N) == known


def test_lengths_that_contradict_each_other_are_refused() -> None:
    wrong = GEOMETRY.model_copy(update={"object_pixel_size_m": 1e-9})
    with pytest.raises(ConfigError, match=r"said to be 1e-09 m, but .* make it 1\.115e-07 m at N = 32.*--pixel-size-m"):
        whole_geometry(wrong, N)


def test_a_product_of_ptychodus_has_all_that_it_requires(written: Path) -> None:
    scan = small_scan()
    with h5py.File(written / "small-refined.h5") as file:
        image, probe = file["object"], file["probe"]
        pixel_m = image.attrs["pixel_width_m"]
        assert pixel_m == image.attrs["pixel_height_m"] == probe.attrs["pixel_width_m"] == GEOMETRY.pixel_size_m(N)
        assert file.attrs["detector_object_distance_m"] == GEOMETRY.detector_distance_m
        assert file.attrs["photon_energy_eV"] == GEOMETRY.photon_energy_eV
        assert file.attrs["probe_photon_count"] == pytest.approx(4 * np.sum(np.abs(scan.probe_guess) ** 2.0))
        assert (image.shape, probe.shape, file["object_layer_spacing_m"].shape) == ((1, *SHAPE), (1, 1, N, N), (0,))
        np.testing.assert_array_equal(image[0], small_object(6))
        np.testing.assert_array_equal(probe[0, 0], scan.probe_guess)
        np.testing.assert_array_equal(file["probe_position_indexes"], scan.scan_index)
        for axis, ours, side_px in (("y", scan.ycoords, SHAPE[0]), ("x", scan.xcoords, SHAPE[1])):
            metres = file[f"probe_position_{axis}_m"][()]
            seen = pixels_of_ptychodus(metres, image.attrs[f"center_{axis}_m"], pixel_m, side_px)
            np.testing.assert_allclose(seen + 0.5, ours, rtol=0, atol=1e-9)


def test_the_default_of_a_product_leads_to_the_phase(written: Path) -> None:
    with h5py.File(written / "small-refined.h5") as file:
        entry = file[file.attrs["default"]]
        plot = entry[entry.attrs["default"]]
        assert [group.attrs["NX_class"] for group in (file, entry, plot)] == ["NXroot", "NXentry", "NXdata"]
        assert (plot.attrs["signal"], list(plot.attrs["auxiliary_signals"])) == ("phase", ["amplitude"])
        np.testing.assert_array_equal(plot["phase"], np.angle(small_object(6)[INSIDE]))
        np.testing.assert_array_equal(plot["amplitude"], np.abs(small_object(6)[INSIDE]))
        assert [plot[name].attrs["units"] for name in ("phase", "y", "x")] == ["rad", "um", "um"]
        assert [len(plot[name]) for name in plot.attrs["axes"]] == list(plot["phase"].shape)


def test_a_pixel_of_the_plot_lies_where_a_patch_about_it_would(written: Path) -> None:
    with h5py.File(written / "small-refined.h5") as file:
        plot, pixel_m = file["reconstruction/image"], file["object"].attrs["pixel_width_m"]
        for axis, first, side_px in (("y", BOX[0], SHAPE[0]), ("x", BOX[2], SHAPE[1])):
            middle_m = metres_from_middle(np.arange(first, first + len(plot[axis]), dtype=np.float64) + 0.5, side_px, pixel_m)
            np.testing.assert_allclose(plot[axis][()] * 1e-6, middle_m, rtol=0, atol=1e-9 * pixel_m)


def test_a_cxi_file_has_counts_probe_object_and_steps_of_our_pixels(written: Path) -> None:
    scan = small_scan()
    with h5py.File(written / "small-refined.cxi") as file:
        source, detector = file["entry_1/instrument_1/source_1"], file["entry_1/instrument_1/detector_1"]
        assert file["cxi_version"][()] == 160
        assert source["energy"][()] == pytest.approx(8800 * 1.602176634e-19)
        assert source["wavelength"][()] == pytest.approx(GEOMETRY.wavelength_m)
        assert (detector["distance"][()], detector["x_pixel_size"][()], detector["y_pixel_size"][()]) == (1.9, 75e-6, 75e-6)
        np.testing.assert_array_equal(detector["basis_vectors"], [[0, -75e-6], [-75e-6, 0], [0, 0]])
        np.testing.assert_array_equal(file["entry_1/data_1/data"], scan.counts())
        np.testing.assert_array_equal(source["illumination"], scan.probe_guess)
        np.testing.assert_array_equal(file["entry_1/image_2/data"], small_object(6))
        translation = file["entry_1/data_1/translation"][()] / GEOMETRY.pixel_size_m(N)
        np.testing.assert_allclose(translation[:, 0] + SHAPE[1] / 2, scan.xcoords, rtol=0, atol=1e-9)
        np.testing.assert_allclose(translation[:, 1] + SHAPE[0] / 2, scan.ycoords, rtol=0, atol=1e-9)
        assert not detector["mask"][()].any()


def test_a_scan_whose_photons_are_unknown_leaves_no_counts_in_a_cxi_file(tmp_path: Path) -> None:
    report = export_reconstruction(
        small_source(tmp_path, small_scan(intensity_scale=None, diffraction=small_scan().diffraction / np.float32(10))),
        ["cxi", "ptychodus"],
        tmp_path,
    )
    with h5py.File(report.files[0].path) as file, h5py.File(report.files[1].path) as product:
        assert "data" not in file["entry_1/instrument_1/detector_1"]
        assert "probe_photon_count" not in product.attrs


def test_an_npz_file_is_the_object_its_probe_and_its_positions(written: Path) -> None:
    scan = small_scan()
    keys = ("object", "probe", "x_px", "y_px", "scan_index", "box", "pixel_size_m", "intensity_scale", "origin")
    arrays = read_arrays(written / "small-refined.npz", keys)
    assert set(arrays) == set(keys)
    expected = (
        small_object(6),
        scan.probe_guess,
        scan.xcoords,
        scan.ycoords,
        scan.scan_index,
        BOX,
        GEOMETRY.pixel_size_m(N),
        2.0,
    )
    for key, value in zip(keys, expected, strict=False):
        np.testing.assert_array_equal(arrays[key], value)
    assert "the array `refined` of reconstruction.npz (sha256 " in str(arrays["origin"])


def tiff_of(path: Path) -> tuple[Any, dict[str, Any], float]:
    """The stack, what ImageJ is told, and pixels per unit."""
    with tifffile.TiffFile(path) as file:
        over, under = file.pages[0].tags["XResolution"].value  # type: ignore[union-attr]
        assert file.pages[0].tags["YResolution"].value == (over, under)  # type: ignore[union-attr]
        assert (file.series[0].axes, file.is_imagej) == ("CYX", True)
        return file.asarray(), dict(file.imagej_metadata or {}), over / under


def test_a_tiff_is_amplitude_and_phase_with_their_unit(written: Path) -> None:
    stack, told, pixels_per_um = tiff_of(written / "small-refined.tif")
    inside = small_object(6)[INSIDE]
    np.testing.assert_array_equal(stack, [np.abs(inside), np.angle(inside)])
    assert (told["unit"], told["Labels"], told["mode"]) == ("um", ["amplitude", "phase [rad]"], "grayscale")
    assert 1e-6 / pixels_per_um == pytest.approx(GEOMETRY.pixel_size_m(N), rel=1e-8)
    assert f"rows {BOX[0]} to {BOX[1] - 1}, columns {BOX[2]} to {BOX[3] - 1} of the object" in told["Info"]


def test_a_tiff_of_unknown_geometry_is_in_pixels(tmp_path: Path) -> None:
    report = export_reconstruction(small_source(tmp_path, small_scan(geometry=None)), ["tiff"], tmp_path)
    _, told, pixels_per_unit = tiff_of(report.files[0].path)
    assert (told["unit"], pixels_per_unit, report.geometry.object_pixel_size_m) == ("pixel", 1.0, None)


@given(st.floats(-math.pi, math.pi), st.floats(0.05, 1))
def test_a_colour_says_phase_and_amplitude(phase_rad: float, amplitude: float) -> None:
    ((red, green, blue),) = complex_colours(np.array([[amplitude * np.exp(1j * phase_rad)]]), 1.0)[0]
    brightest = max(red, green, blue)
    assert brightest == pytest.approx(amplitude)
    assert min(red, green, blue) == pytest.approx(0, abs=1e-9)
    # on the circle of colours red, green and blue are a third of a turn apart; equal parts of two of them lie midway
    sixth = {0: red, 2: green, 4: blue}
    nearest = min(sixth, key=lambda turn: abs((phase_rad / (math.pi / 3) - turn + 3) % 6 - 3))
    assert sixth[nearest] == pytest.approx(brightest)


def test_the_wheel_has_the_colours_of_the_picture() -> None:
    drawn = wheel(101)
    for row, column, number in ((50, 90, 0.8), (10, 50, 0.8j), (50, 30, -0.4), (50, 50, 0)):
        np.testing.assert_allclose(drawn[row, column], [*complex_colours(np.array([[number]]), 1.0)[0, 0], 1], atol=1e-6)
    assert drawn[0, 0, 3] == 0


@pytest.mark.parametrize("geometry", [GEOMETRY, None])
def test_a_picture_is_a_png_of_some_size(tmp_path: Path, geometry: ScanGeometry | None) -> None:
    report = export_reconstruction(small_source(tmp_path, small_scan(geometry=geometry)), ["png"], tmp_path)
    height, width, channels = imread(report.files[0].path).shape
    assert (channels, 400 < height < width) == (4, True)


@pytest.mark.parametrize("name", OF_OBJECTS)
def test_the_same_content_gives_the_same_bytes(written: Path, tmp_path: Path, name: str) -> None:
    report = export_reconstruction(small_source(tmp_path), [name, name], tmp_path / "new" / "folder")
    (file,) = report.files
    assert file.path.read_bytes() == (written / file.path.name).read_bytes()
    assert file.size_bytes == file.path.stat().st_size
    assert [one.name for one in file.path.parent.iterdir()] == [file.path.name]


@pytest.mark.parametrize("name", IN_METRES)
def test_metres_that_nobody_knows_are_asked_for_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    known = ScanGeometry(photon_energy_eV=8e3)
    source, target = small_source(tmp_path, small_scan(geometry=None), geometry=known), tmp_path / "target"
    words = r"is in metres, and neither .*: --pixel-size-m, --distance-m, --detector-pixel-m are not known\. Give 2 of these"
    with pytest.raises(ConfigError, match=words):
        export_reconstruction(source, ["npz", name], target)
    assert not target.exists()


def test_what_is_said_goes_before_what_the_scan_says(tmp_path: Path) -> None:
    content = read_content(small_source(tmp_path, geometry=ScanGeometry(photon_energy_eV=4400.0)))
    assert content.pixel_size_m == pytest.approx(2 * (GEOMETRY.pixel_size_m(N) or 0))


def test_refined_is_taken_where_there_is_one(tmp_path: Path) -> None:
    source = small_source(tmp_path)
    assert (read_content(source).method, read_content(source).title) == ("refined", "small-refined")
    network = read_content(small_source(tmp_path, method="network"))
    np.testing.assert_array_equal(network.object_yx, small_object())
    write_reconstruction(source.reconstruction, refined=None)
    assert read_content(source).method == "network"


def test_a_solvers_object_is_simply_the_object_and_without_a_box_all_of_it_is_shown(tmp_path: Path) -> None:
    source = small_source(tmp_path)
    write_reconstruction(source.reconstruction, refined=None, aligned=np.zeros((2, 2)), box=None)
    content = read_content(source)
    assert (content.method, content.title, content.boxed.shape) == ("object", "small", SHAPE)


def test_a_scan_without_indices_is_counted(tmp_path: Path) -> None:
    content = read_content(small_source(tmp_path, small_scan(scan_index=None)))
    np.testing.assert_array_equal(content.scan_index, np.arange(12))


def test_a_method_that_a_file_does_not_have_is_refused(tmp_path: Path) -> None:
    source = small_source(tmp_path, method="refined")
    write_reconstruction(source.reconstruction, refined=None)
    with pytest.raises(DataContractError, match=r"holds no refined object; it holds network\. Leave out --method, or name"):
        read_content(source)
    write_reconstruction(source.reconstruction, aligned=np.zeros((2, 2)))
    with pytest.raises(DataContractError, match=r"holds no refined object; it holds object\. Leave out --method\.$"):
        read_content(source)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"object": None}, "has no array `object`"),
        ({"refined": np.ones(SHAPE)}, r"refined object has shape \(71, 90\) and dtype float64; allowed is one complex image"),
        ({"refined": np.ones((2, *SHAPE), complex)}, r"has shape \(2, 71, 90\)"),
        ({"refined": small_object()[:50]}, r"reach from row and column .* has 50 by 90 pixels.*Name the scan"),
    ],
)
def test_what_is_no_reconstruction_of_this_scan_is_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    source = small_source(tmp_path)
    write_reconstruction(source.reconstruction, **changes)
    with pytest.raises(DataContractError, match=words):
        read_content(source)


def test_metadata_that_cannot_be_is_named(tmp_path: Path) -> None:
    scan = small_scan(metadata={"geometry": {"photon_energy_eV": -3}})
    with pytest.raises(DataContractError, match=r"`geometry\.photon_energy_eV` of `metadata_json` cannot be: .*got -3"):
        read_content(small_source(tmp_path, scan))
