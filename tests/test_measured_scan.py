"""Ingest: a measured scan in tike's layout becomes DATA-001, what is found is right, and what cannot be told apart is refused."""

import bz2
import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from ptycho_torch.errors import DataContractError
from ptycho_torch.measured_scan import IngestOptions, ingest
from ptycho_torch.npz_archive import AnyArray
from ptycho_torch.npz_contract import PtychoDataset, read_dataset

N, N_PATTERNS = 64, 6
AS_FOUND = IngestOptions()
CROPPED = IngestOptions(patch_size_px=32)
REAL_FOLDER = Path(__file__).parents[2] / "shared" / "data"
REAL_SCAN = REAL_FOLDER / "siemens-star-small.npz.bz2"

Complex = npt.NDArray[np.complex128]
Real = npt.NDArray[np.float64]


def intensity(exit_wave: Complex) -> Real:
    """The unitary far field's intensity, zero frequency at the corner."""
    return np.abs(np.fft.fft2(exit_wave, norm="ortho")) ** 2


def make_probe() -> Complex:
    """A lopsided, slightly curved spot: neither it nor its pattern is its own mirror image."""
    y, x = np.mgrid[:N, :N] - N / 2
    spot = np.exp(-((y / 6) ** 2) - ((x - 2) / 9) ** 2) + 0.5 * np.exp(-((y - 8) ** 2 + (x + 5) ** 2) / 16)
    return np.asarray(spot * np.exp(1j * (0.01 * y * y + 0.02 * x * y)))


def make_arrays() -> dict[str, Any]:
    """A scan in tike's layout: drawn counts of an empty field of view, zero frequency at the corner."""
    rng = np.random.default_rng(0)
    expected = intensity(make_probe())
    counts = rng.poisson(2e4 * expected / expected.sum(), (1, N_PATTERNS, N, N)).astype(np.float32)
    positions = rng.uniform(-30, 30, (1, N_PATTERNS, 2)).astype(np.float32)
    return {"data": counts, "probe": make_probe().astype(np.complex64)[None, None, None], "scan": positions}


def save(path: Path, arrays: dict[str, Any]) -> Path:
    """Write the source file; inside bzip2 where its name says so."""
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    content = stream.getvalue()
    path.write_bytes(bz2.compress(content) if path.suffix == ".bz2" else content)
    return path


def ingested(folder: Path, arrays: dict[str, Any], options: IngestOptions = AS_FOUND) -> PtychoDataset:
    """Bring arrays in and read what was written."""
    ingest(save(folder / "scan.npz", arrays), folder / "out.npz", options=options)
    return read_dataset(folder / "out.npz")


def centered(data: AnyArray) -> AnyArray:
    """Patterns rolled from the corner to the centre."""
    return np.fft.fftshift(data, axes=(-2, -1))


def test_counts_come_through_exactly(tmp_path: Path) -> None:
    arrays = make_arrays()
    np.testing.assert_array_equal(ingested(tmp_path, arrays).counts(), centered(arrays["data"][0]))


def test_plain_bzip2_and_squeezed_sources_agree(tmp_path: Path) -> None:
    arrays = make_arrays()
    squeezed = {"data": arrays["data"][0], "probe": arrays["probe"][0, 0, 0], "scan": arrays["scan"][0]}
    first = ingested(tmp_path, arrays)
    ingest(save(tmp_path / "scan.npz.bz2", squeezed), tmp_path / "b.npz", options=AS_FOUND)
    second = read_dataset(tmp_path / "b.npz")
    np.testing.assert_array_equal(first.diffraction, second.diffraction)
    np.testing.assert_array_equal(first.positions_yx, second.positions_yx)


def test_a_single_pattern_keeps_its_axis(tmp_path: Path) -> None:
    arrays = make_arrays()
    one = arrays | {"data": arrays["data"][:, :1], "scan": arrays["scan"][:, :1]}
    assert ingested(tmp_path, one).diffraction.shape == (1, N, N)


def test_the_same_source_gives_the_same_bytes(tmp_path: Path) -> None:
    source = save(tmp_path / "scan.npz", make_arrays())
    for name in ("a.npz", "b.npz"):
        ingest(source, tmp_path / name, options=AS_FOUND)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_positions_keep_their_differences_and_every_patch_fits(tmp_path: Path) -> None:
    arrays = make_arrays()
    positions = ingested(tmp_path, arrays).positions_yx
    np.testing.assert_allclose(np.diff(positions, axis=0), np.diff(arrays["scan"][0].astype(np.float64), axis=0), atol=1e-12)
    assert (positions.min(axis=0) == N / 2 + 2).all()


def test_the_offset_leads_back_to_the_source_s_positions(tmp_path: Path) -> None:
    arrays = make_arrays()
    dataset = ingested(tmp_path, arrays)
    back = dataset.positions_yx - dataset.metadata["position_offset_yx_px"]
    np.testing.assert_allclose(back, arrays["scan"][0], atol=1e-12)


def test_the_scale_makes_the_probe_s_power_the_mean_photons(tmp_path: Path) -> None:
    arrays = make_arrays()
    dataset = ingested(tmp_path, arrays)
    assert dataset.intensity_scale is not None
    np.testing.assert_array_equal(dataset.probe_guess, arrays["probe"][0, 0, 0])
    power = dataset.intensity_scale**2 * np.sum(np.abs(dataset.probe_guess.astype(np.complex128)) ** 2)
    assert power == pytest.approx(arrays["data"].sum(dtype=np.float64) / N_PATTERNS, rel=1e-6)


@pytest.mark.parametrize("place", ["corner", "center"])
def test_the_zero_frequency_is_found(tmp_path: Path, place: str) -> None:
    arrays = make_arrays()
    data = centered(arrays["data"]) if place == "center" else arrays["data"]
    dataset = ingested(tmp_path, arrays | {"data": data})
    np.testing.assert_array_equal(dataset.counts(), centered(arrays["data"][0]))
    assert f"the zero frequency is at the {place}" in "\n".join(dataset.metadata["found"])


def test_a_pattern_without_a_beam_cannot_be_placed_unless_told(tmp_path: Path) -> None:
    flat = make_arrays() | {"data": np.random.default_rng(0).poisson(5.0, (N_PATTERNS, N, N)).astype(np.float32)}
    flat["scan"] = flat["scan"][0]
    with pytest.raises(DataContractError, match=r"cannot be placed.*--dc corner or --dc center"):
        ingested(tmp_path, flat)
    np.testing.assert_array_equal(ingested(tmp_path, flat, IngestOptions(dc="center")).counts(), flat["data"])
    np.testing.assert_array_equal(ingested(tmp_path, flat, IngestOptions(dc="corner")).counts(), centered(flat["data"]))


def test_amplitude_is_found_by_its_squares(tmp_path: Path) -> None:
    arrays = make_arrays()
    dataset = ingested(tmp_path, arrays | {"data": np.sqrt(arrays["data"])})
    np.testing.assert_array_equal(dataset.counts(), centered(arrays["data"][0]))


def test_values_that_are_neither_need_the_option(tmp_path: Path) -> None:
    arrays = make_arrays()
    scaled = arrays | {"data": arrays["data"] * np.float32(0.3)}
    with pytest.raises(DataContractError, match=r"cannot be told apart.*--quantity intensity or --quantity amplitude"):
        ingested(tmp_path, scaled)
    as_intensity = ingest(tmp_path / "scan.npz", tmp_path / "i.npz", options=IngestOptions(quantity="intensity"))
    as_amplitude = ingest(tmp_path / "scan.npz", tmp_path / "a.npz", options=IngestOptions(quantity="amplitude"))
    assert as_intensity.photons_per_frame == pytest.approx(scaled["data"].sum(dtype=np.float64) / N_PATTERNS, rel=1e-6)
    assert as_amplitude.photons_per_frame == pytest.approx((scaled["data"].astype(np.float64) ** 2).sum() / N_PATTERNS, rel=1e-6)


def test_a_crop_keeps_the_probe_s_pattern_about_the_beam(tmp_path: Path) -> None:
    dataset = ingested(tmp_path, make_arrays(), CROPPED)
    whole = np.fft.fftshift(intensity(make_probe()))
    cropped = np.fft.fftshift(intensity(np.fft.ifftshift(dataset.probe_guess.astype(np.complex128))))
    best = max(
        float(np.corrcoef(cropped.ravel(), whole[top : top + 32, left : left + 32].ravel())[0, 1])
        for top in range(10, 22) for left in range(10, 22)
    )  # fmt: skip
    assert best == pytest.approx(1, abs=1e-6)
    mean = dataset.counts().mean(axis=0)
    assert np.corrcoef(mean.ravel(), cropped.ravel())[0, 1] > 0.99


def test_a_crop_keeps_lengths_so_pixels_grow(tmp_path: Path) -> None:
    arrays = make_arrays()
    positions = ingested(tmp_path, arrays, CROPPED).positions_yx
    np.testing.assert_allclose(np.diff(positions, axis=0), np.diff(arrays["scan"][0], axis=0) / 2, atol=1e-5)


def test_a_crop_follows_a_beam_that_is_off_the_centre(tmp_path: Path) -> None:
    arrays = make_arrays()
    moved = np.roll(centered(arrays["data"]), (5, -4), axis=(-2, -1))
    on_axis = ingested(tmp_path, arrays, CROPPED)
    off_axis = ingested(tmp_path, arrays | {"data": moved}, CROPPED)
    np.testing.assert_array_equal(off_axis.counts(), on_axis.counts())


def test_a_crop_that_leaves_the_detector(tmp_path: Path) -> None:
    arrays = make_arrays()
    moved = np.roll(centered(arrays["data"]), (12, 0), axis=(-2, -1))
    with pytest.raises(DataContractError, match=r"64 px about the beam's centre \(\d+, \d+\) leave the patterns of 64 px"):
        ingested(tmp_path, arrays | {"data": moved}, IngestOptions(patch_size_px=64, dc="center"))


def test_metadata_and_report_say_what_was_found_and_assumed(tmp_path: Path) -> None:
    source = save(tmp_path / "scan.npz", make_arrays())
    report = ingest(source, tmp_path / "out.npz", options=IngestOptions(quantity="intensity"))
    metadata = read_dataset(tmp_path / "out.npz").metadata
    assert (metadata["source"], metadata["found"], metadata["assumed"]) == ("scan.npz", report.found, report.assumed)
    assert len(metadata["source_sha256"]) == 64
    assert any("as the option says" in line for line in report.assumed)
    assert report.as_lines()[0].startswith(f"{N_PATTERNS} patterns of {N} px, ")
    assert len(report.as_lines()) == 1 + len(report.found) + len(report.assumed)


def test_an_option_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match="positions_unit"):
        IngestOptions.model_validate({"positions_unit": "m"})


@pytest.mark.parametrize("key", ["data", "scan"])
def test_a_missing_key(tmp_path: Path, key: str) -> None:
    arrays = make_arrays()
    del arrays[key]
    with pytest.raises(DataContractError, match=rf"scan\.npz: missing key `{key}`"):
        ingested(tmp_path, arrays)


@pytest.mark.parametrize(
    ("key", "shape", "match"),
    [
        ("probe", (1, 3, 1, N, N), "more than one mode"),
        ("probe", (N, N - 2), "allowed is that of a pattern"),
        ("data", (2, N_PATTERNS, N, N), "allowed is an array of 3 axes"),
        ("data", (N_PATTERNS, N, N + 2), "allowed is \\(n, N, N\\)"),
        ("scan", (N_PATTERNS - 1, 2), "a row a pattern"),
    ],
)
def test_a_wrong_shape(tmp_path: Path, key: str, shape: tuple[int, ...], match: str) -> None:
    arrays = make_arrays()
    with pytest.raises(DataContractError, match=f"`{key}` has shape .*{match}"):
        ingested(tmp_path, arrays | {key: np.ones(shape, arrays[key].dtype)})


@pytest.mark.parametrize(("key", "dtype", "allowed"), [("probe", np.float32, "complex"), ("scan", np.complex64, "real")])
@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
def test_a_wrong_dtype(tmp_path: Path, key: str, dtype: npt.DTypeLike, allowed: str) -> None:
    arrays = make_arrays()
    with pytest.raises(DataContractError, match=f"`{key}` has dtype {np.dtype(dtype)}; allowed are {allowed} numbers"):
        ingested(tmp_path, arrays | {key: arrays[key].astype(dtype)})


@pytest.mark.parametrize("key", ["data", "probe", "scan"])
def test_nan(tmp_path: Path, key: str) -> None:
    arrays = make_arrays()
    arrays[key].flat[1] = np.nan
    with pytest.raises(DataContractError, match=f"`{key}` holds NaN or infinity"):
        ingested(tmp_path, arrays)


@pytest.mark.parametrize("factor", [-1, 0])
def test_no_photons(tmp_path: Path, factor: int) -> None:
    arrays = make_arrays()
    with pytest.raises(DataContractError, match="allowed are photons, at least 0 and not all 0"):
        ingested(tmp_path, arrays | {"data": arrays["data"] * factor})


def test_a_dark_probe(tmp_path: Path) -> None:
    arrays = make_arrays()
    with pytest.raises(DataContractError, match="`probe` is zero everywhere"):
        ingested(tmp_path, arrays | {"probe": arrays["probe"] * 0})


def test_a_truncated_bzip2(tmp_path: Path) -> None:
    source = save(tmp_path / "scan.npz.bz2", make_arrays())
    source.write_bytes(source.read_bytes()[:-100])
    with pytest.raises(DataContractError, match=r"scan\.npz\.bz2: not a whole bzip2 file"):
        ingest(source, tmp_path / "out.npz", options=AS_FOUND)


def test_a_missing_source_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataContractError, match="no such file"):
        ingest(tmp_path / "scan.npz.bz2", tmp_path / "out.npz", options=AS_FOUND)
    assert not list(tmp_path.iterdir())


@pytest.mark.real
@pytest.mark.skipif(not REAL_SCAN.exists(), reason=f"needs {REAL_SCAN}")
class TestSiemensStar:
    """The measured scan agrees with physics' conventions, by an independent reconstruction of it."""

    def test_what_is_found(self, tmp_path: Path) -> None:
        report = ingest(REAL_SCAN, tmp_path / "star.npz", options=AS_FOUND)
        assert (report.n_patterns, report.patch_size_px) == (516, 128)
        assert report.photons_per_frame == pytest.approx(461_213, rel=1e-5)
        assert any("intensity" in line for line in report.found)
        assert any("corner" in line for line in report.found)

    def test_rows_columns_and_signs(self, tmp_path: Path) -> None:
        ingest(REAL_SCAN, tmp_path / "star.npz", options=AS_FOUND)
        dataset = read_dataset(tmp_path / "star.npz")
        with np.load(REAL_FOLDER / "siemens_epie_reconstruction.npz", allow_pickle=False) as reconstruction:
            object_hw, probe = reconstruction["obj"], reconstruction["probe"]
        measured = np.fft.ifftshift(np.sqrt(dataset.counts()[::16]), axes=(1, 2))
        offsets = dataset.positions_yx - dataset.positions_yx.min(axis=0)
        span = offsets.max(axis=0)
        turned = [offsets[:, ::-1], span - offsets, np.abs([span[0], 0] - offsets), np.abs([0, span[1]] - offsets)]
        right, *wrong = (_misfit(measured, object_hw, probe, places[::16]) for places in (offsets, *turned))
        mirrored = _misfit(measured, object_hw, np.conj(np.roll(probe[::-1, ::-1], 1, (0, 1))), offsets[::16])
        assert right < 0.02
        assert min(*wrong, mirrored) > 4 * right


def _misfit(measured: AnyArray, object_hw: AnyArray, probe: AnyArray, offsets_yx: Real) -> float:
    """Σ(|F[P O]| - √counts)² / Σ counts, the probe scaled to fit; the reconstruction's first patch lies at (2, 2)."""
    corners = np.rint(offsets_yx).astype(int) + 2
    limits = np.array(object_hw.shape) - len(probe)
    patches = np.stack([object_hw[y : y + len(probe), x : x + len(probe)] for y, x in np.minimum(corners, limits)])
    modelled = np.abs(np.fft.fft2(probe * patches, norm="ortho"))
    factor = (modelled * measured).sum() / (modelled**2).sum()
    return float(((factor * modelled - measured) ** 2).sum() / (measured**2).sum())
