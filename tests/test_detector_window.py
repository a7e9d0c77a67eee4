"""Crop, bins and bad pixels: counts add up, the probe sees what the detector sees, and memory stays bounded."""

import tracemalloc
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
from foreign_files import CENTER_YX_M, GEOMETRY, PIXEL_M, N, known_scan, write_cxi, write_training
from hypothesis import given, settings
from hypothesis import strategies as st

from ptycho_torch.errors import DataContractError
from ptycho_torch.foreign_scans import pattern_sources
from ptycho_torch.foreign_scans.detector_window import DetectorWindow, bin_sums, neighbor_means
from ptycho_torch.foreign_scans.probe_window import cut_probe, far_field_center
from ptycho_torch.measured_scan import IngestOptions, ingest
from ptycho_torch.npz_archive import AnyArray
from ptycho_torch.npz_contract import PtychoDataset, read_dataset
from ptycho_torch.scan_geometry import geometry_of

SCAN = known_scan()
NOWHERE = Path("nowhere")


def far_field(wave: AnyArray) -> npt.NDArray[np.complex128]:
    return np.asarray(np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(wave, axes=(-2, -1)), norm="ortho"), axes=(-2, -1)))


def read_in(source: Path, **said: Any) -> PtychoDataset:
    ingest(source, source.parent / "out.npz", options=IngestOptions(**said))
    return read_dataset(source.parent / "out.npz")


@given(st.integers(1, 4), st.integers(1, 6), st.integers(0, 2**16))
def test_bins_hold_the_sum_of_their_counts(bin_px: int, side: int, seed: int) -> None:
    frames = np.random.default_rng(seed).poisson(20, (3, side * bin_px, side * bin_px)).astype(np.float32)
    binned = bin_sums(frames, bin_px)
    assert binned.shape == (3, side, side)
    np.testing.assert_array_equal(binned.sum(axis=(1, 2)), frames.sum(axis=(1, 2)))
    assert binned[1, -1, 0] == frames[1, -bin_px:, :bin_px].sum()


@settings(max_examples=25)
@given(st.integers(0, 2**16), st.floats(0, 1))
def test_a_bad_pixel_is_the_mean_of_its_good_neighbours(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    bad, frame = rng.random((9, 9)) < share, rng.random((9, 9))
    filled = neighbor_means(bad) @ frame.ravel()
    for (row, column), value in zip(np.argwhere(bad), filled, strict=True):
        near = np.s_[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3]
        good = frame[near][~bad[near]]
        assert value == pytest.approx(good.mean() if good.size else 0.0)


def test_a_binned_probe_s_far_field_is_the_middle_of_each_block() -> None:
    """With a small probe the far field is smooth: what a block's middle has is (b - 1) / 2 pixels from its first."""
    y, x = np.mgrid[:64, :64] - 32.0
    probe = np.exp(-((y - 2) ** 2 + x**2) / 18) * np.exp(0.2j * y)
    binned, kept = cut_probe(probe, DetectorWindow(0, 0, 64, 2), NOWHERE)
    assert binned.shape == (32, 32)
    assert kept == pytest.approx(1, abs=1e-9)
    shift = np.exp(-1j * np.pi * (y + x) / 64)
    middle = far_field(probe * shift)[::2, ::2]
    np.testing.assert_allclose(far_field(binned), 2 * middle, atol=1e-5)
    wanted = bin_sums((np.abs(far_field(probe)) ** 2)[np.newaxis].astype(np.float32), 2)[0]
    assert np.corrcoef(np.abs(far_field(binned)).ravel() ** 2, wanted.ravel())[0, 1] > 0.999


def test_a_probe_that_bins_leave_no_room_for() -> None:
    probe = np.ones((64, 64), dtype=np.complex128)
    with pytest.raises(DataContractError, match=r"bins of 4 px leave a patch of 16 px, in which 6% .*--bin-px"):
        cut_probe(probe, DetectorWindow(0, 0, 64, 4), NOWHERE)


def test_a_crop_and_bins_of_counts_agree_with_the_probe_of_the_patch(tmp_path: Path) -> None:
    """A scan of nothing: each pattern is the probe's own, before and after."""
    y, x = np.mgrid[:128, :128] - 64.0
    probe = np.exp(-((y / 5) ** 2) - ((x - 2) / 8) ** 2) * np.exp(1j * (0.01 * y * y + 0.3 * y - 0.4 * x))
    expected = np.abs(far_field(probe)) ** 2
    counts = np.random.default_rng(0).poisson(1e6 * expected / expected.sum(), (4, 128, 128)).astype(np.uint16)
    np.savez(tmp_path / "scan.npz", data=counts, probe=probe, scan=np.arange(8.0).reshape(4, 2))
    dataset = read_in(tmp_path / "scan.npz", patch_size_px=32, bin_px=2)
    modelled = np.abs(far_field(dataset.probe_guess.astype(np.complex128))) ** 2
    assert np.corrcoef(dataset.counts().mean(axis=0).ravel(), modelled.ravel())[0, 1] > 0.999
    np.testing.assert_allclose(np.diff(dataset.positions_yx, axis=0), 1.0)  # 2 px of 128, of which the crop keeps 64


def wide_detector(top: int, left: int, height: int = 80, width: int = 120) -> npt.NDArray[np.uint16]:
    """The scan's patterns somewhere on a detector that is larger, and no square."""
    frames = np.zeros((len(SCAN.counts), height, width), dtype=np.uint16)
    frames[:, top : top + N, left : left + N] = SCAN.counts
    return frames


@pytest.mark.parametrize(("top", "left"), [(24, 44), (3, 70)])
def test_a_crop_of_a_raw_detector_follows_the_beam(tmp_path: Path, top: int, left: int) -> None:
    source = write_cxi(tmp_path / "scan.cxi", SCAN, data=wide_detector(top, left), mask=None)
    with pytest.raises(DataContractError, match=r"`data` has shape \(9, 80, 120\); allowed is .*--patch-size-px"):
        read_in(source)
    dataset = read_in(source, patch_size_px=32, dc="center")
    whole = read_in(write_cxi(tmp_path / "whole.cxi", SCAN), patch_size_px=32)
    off = np.array([int(part) for part in _center(dataset)]) - np.array([int(part) for part in _center(whole)])
    down, right = off - np.array([top, left])
    assert max(abs(down), abs(right)) <= 1
    np.testing.assert_allclose(np.diff(dataset.positions_yx, axis=0), np.diff(SCAN.yx, axis=0), atol=1e-9)
    assert geometry_of(dataset.metadata).pixel_size_m(32) == pytest.approx(PIXEL_M)
    assert any("the probe of 32 px is already that" in line for line in dataset.metadata["assumed"])


def _center(dataset: PtychoDataset) -> list[str]:
    line = next(str(line) for line in dataset.metadata["found"] if line.startswith("the beam's centre is ("))
    return line.partition("(")[2].rstrip(")").split(", ")


def test_metres_and_pixels_agree_after_a_crop(tmp_path: Path) -> None:
    counts = np.pad(SCAN.counts, ((0, 0), (16, 16), (16, 16)))
    half_m = PIXEL_M / 2  # the detector is twice as wide
    y, x = np.mgrid[:64, :64] - 32
    probe = np.exp(-(y**2 + x**2) / 50).astype(np.complex64)
    pixels = write_training(
        tmp_path / "px.h5", SCAN, patterns=counts, probe=probe, bad_pixels=None, object=None,
        probe_position_x_px=2 * SCAN.yx[:, 1], probe_position_y_px=2 * SCAN.yx[:, 0],
        object_pixel_width_m=half_m, object_pixel_height_m=half_m,
    )  # fmt: skip
    metres = write_cxi(tmp_path / "m.cxi", SCAN, data=counts, illumination=probe, mask=None)
    first, second = (read_in(source, patch_size_px=32) for source in (pixels, metres))
    np.testing.assert_array_equal(first.counts(), second.counts())
    np.testing.assert_allclose(first.positions_yx, second.positions_yx, rtol=0, atol=1e-9)
    np.testing.assert_allclose(np.diff(first.positions_yx, axis=0), np.diff(SCAN.yx, axis=0), rtol=0, atol=1e-9)
    for dataset in (first, second):
        assert geometry_of(dataset.metadata).pixel_size_m(32) == pytest.approx(PIXEL_M)
    assert CENTER_YX_M.any()
    assert GEOMETRY.photon_energy_eV == geometry_of(first.metadata).photon_energy_eV


@pytest.mark.parametrize("value", [np.nan, np.inf, -7.0, 1e9])
def test_what_a_bad_pixel_holds_does_not_matter(tmp_path: Path, value: float) -> None:
    bad = np.zeros((N, N), dtype=np.uint32)
    bad[[3, 17, 20], [5, 16, 30]] = 1
    spoilt = SCAN.counts.astype(np.float32)
    spoilt[:, bad != 0] = value
    dataset = read_in(write_cxi(tmp_path / "scan.cxi", SCAN, data=spoilt, mask=bad))
    np.testing.assert_array_equal(dataset.counts()[:, bad == 0], SCAN.counts[:, bad == 0])
    near = np.delete(SCAN.counts[0, 15:20, 14:19].ravel(), 12)
    assert dataset.counts()[0, 17, 16] == np.rint(near.mean())
    assert any(line.startswith("3 bad pixels (0.29%)") for line in dataset.metadata["assumed"])


def test_the_largest_number_of_a_type_marks_a_bad_pixel(tmp_path: Path) -> None:
    marked = SCAN.counts.copy()
    marked[:, 9, 9] = np.iinfo(np.uint32).max
    dataset = read_in(write_cxi(tmp_path / "scan.cxi", SCAN, data=marked))
    assert dataset.counts().max() == SCAN.counts.max()
    assert any("1 pixels hold the largest number of uint32" in line for line in dataset.metadata["found"])


def test_a_mask_of_its_own(tmp_path: Path) -> None:
    bad = np.zeros((N, N), dtype=bool)
    bad[16, 16] = True
    np.save(tmp_path / "bad.npy", bad)
    dataset = read_in(write_cxi(tmp_path / "scan.cxi", SCAN), bad_pixels=str(tmp_path / "bad.npy"))
    assert any(line.startswith("1 bad pixels") for line in dataset.metadata["assumed"])
    assert set(dataset.metadata["other_sources"]) == {"bad.npy"}


def test_empty_patterns_are_counted(tmp_path: Path) -> None:
    dark = SCAN.counts.copy()
    dark[4] = 0
    found = read_in(write_cxi(tmp_path / "scan.cxi", SCAN, data=dark)).metadata["found"]
    assert any(line.startswith("1 patterns hold no photon") for line in found)


@pytest.mark.parametrize("kind", ["h5", "npz"])
def test_memory_holds_the_crop_and_not_the_scan(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pattern_sources, "BLOCK_BYTES", 1 << 20)
    frames = np.zeros((160, 256, 256), dtype=np.uint16)
    frames[:, 112:144, 112:144] = SCAN.counts[0]
    if kind == "h5":
        with h5py.File(tmp_path / "big.h5", "w") as file:
            file["frames"] = frames
    else:
        np.savez(tmp_path / "big.npz", frames=frames)
    np.save(tmp_path / "yx.npy", np.random.default_rng(0).uniform(0, 400, (160, 2)))
    np.save(tmp_path / "probe.npy", SCAN.probe)
    options = IngestOptions(
        format="arrays", positions=str(tmp_path / "yx.npy"), position_unit="px", position_order="yx",
        probe=str(tmp_path / "probe.npy"), patch_size_px=32,
    )  # fmt: skip
    size = frames.nbytes
    del frames
    tracemalloc.start()
    try:
        ingest(tmp_path / f"big.{kind}", tmp_path / "out.npz", options=options)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.6 * size
    assert read_dataset(tmp_path / "out.npz").counts().max() == SCAN.counts[0].max()


def test_the_far_field_s_centre_is_where_a_ramp_puts_it() -> None:
    y, x = np.mgrid[:32, :32] - 16
    probe = np.exp(-(y**2 + x**2) / 20) * np.exp(2j * np.pi * (3 * y - 2 * x) / 32)
    assert far_field_center(probe) == pytest.approx((19, 14), abs=1e-6)
