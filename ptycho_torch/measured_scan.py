"""A measured scan in another format, brought into DATA-001: what the `ingest` verb does.

The source is an NPZ file, or one inside bzip2, in the layout of `tike`: `data` (n, N, N) photon counts, `probe` (N, N) complex
and `scan` (n, 2) positions [px], rows first; further leading axes of length 1 are dropped. What the file does not say (where the
zero frequency lies, intensity or amplitude) is found from the patterns, or refused with the option that settles it.

No object comes with a measured scan. The intensity scale is s = √(photons per frame / Σ|P|²): with |O| = 1 the mean of
Σ diffraction² is then Σ|P O|² in the unitary convention of `physics`, and the probe keeps its own units.
"""

import bz2
import io
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt

from ptycho_torch.atomic_files import sha256_file
from ptycho_torch.errors import DataContractError
from ptycho_torch.npz_archive import AnyArray, read_arrays
from ptycho_torch.npz_contract import PtychoDataset, write_dataset
from ptycho_torch.strict_model import PatchSize, Strict

__all__ = ["IngestOptions", "IngestReport", "ingest"]

OBJECT_MARGIN_PX = 2.0
"""Free object pixels kept above and left of the outermost patches."""
_KEYS = {"data": 3, "probe": 2, "scan": 2}
# A clear beam holds far more than this many times as much power about the zero frequency as about the opposite corner.
_CLEAR_RATIO = 4.0
# Squares of float32 square roots of counts come back within this of whole numbers, up to 40,000 counts in a pixel.
_ROOT_TOLERANCE = 0.01
_KIND_WORDS = {"fiu": "real", "c": "complex"}

Counts = npt.NDArray[np.float32]
Position = npt.NDArray[np.float64]


class IngestOptions(Strict):
    """What the user says of a scan; `auto` is found from the patterns."""

    patch_size_px: PatchSize | None = None
    """Side that patterns are cropped to, about the beam's centre [px]; null keeps them as measured."""
    dc: Literal["auto", "corner", "center"] = "auto"
    """Where the zero frequency lies in the source's patterns."""
    quantity: Literal["auto", "intensity", "amplitude"] = "auto"
    """What the source's patterns hold."""
    positions_unit: Literal["px"] = "px"
    """Unit of the source's positions: pixels of the source's own patterns in real space."""


@dataclass(frozen=True)
class IngestReport:
    """What a scan turned out to be, and what had to be taken for granted."""

    found: list[str]
    assumed: list[str]
    n_patterns: int
    patch_size_px: int
    photons_per_frame: float

    def as_lines(self) -> list[str]:
        """The report for a person, one fact a line."""
        summary = f"{self.n_patterns} patterns of {self.patch_size_px} px, {self.photons_per_frame:.6g} photons per frame"
        return [summary, *(f"found: {fact}" for fact in self.found), *(f"assumed: {fact}" for fact in self.assumed)]


@dataclass(frozen=True, eq=False)
class _Scan:
    """A measured scan: counts (n, N, N) with the zero frequency at the centre, probe (N, N), positions (n, 2) [px]."""

    counts: Counts
    probe: npt.NDArray[np.complex64]
    positions_yx: Position


def ingest(source: Path, target: Path, *, options: IngestOptions) -> IngestReport:
    """Bring a measured scan into DATA-001.

    Parameters
    ----------
    source
        An NPZ file, or one inside bzip2, in the layout of `tike`.
    target
        The DATA-001 file to write, as a whole.
    options
        What the source does not say of itself.

    Raises
    ------
    DataContractError
        The source is damaged, lacks a key, or cannot be told apart; nothing is written.
    """
    found: list[str] = []
    assumed = ["positions are pixels, rows first", "one coherent probe mode, |object| about 1"]
    scan = _read_scan(source, options, found, assumed)
    if options.patch_size_px is not None:
        scan = _crop(scan, options.patch_size_px, source, found)
    photons_per_frame = float(scan.counts.sum(axis=(1, 2), dtype=np.float64).mean())
    report = IngestReport(found, assumed, len(scan.counts), scan.counts.shape[-1], photons_per_frame)
    write_dataset(target, _dataset(scan, source, report))
    return report


def _read_scan(source: Path, options: IngestOptions, found: list[str], assumed: list[str]) -> _Scan:
    arrays = read_arrays(source, _KEYS, content=_decompressed(source))
    missing = [f"`{key}`" for key in _KEYS if key not in arrays]
    if missing:
        raise DataContractError(
            f"{source}: missing key {', '.join(missing)}; needed are `data`, `probe` and `scan`.",
            hint="Only the layout of tike is known so far.",
        )
    data, probe, positions = (_squeezed(arrays[key], key, source) for key in _KEYS)
    _check_scan(data, probe, positions, source)
    found.append(f"{len(data)} patterns of {data.shape[-1]} x {data.shape[-1]} px")
    counts = _as_counts(data, _quantity(data, options, source, found, assumed))
    return _Scan(
        counts=_dc_at_center(counts, _dc(counts, options, source, found)),
        probe=probe.astype(np.complex64),
        positions_yx=positions.astype(np.float64),
    )


def _decompressed(source: Path) -> IO[bytes] | None:
    if source.suffix != ".bz2" or not source.is_file():
        return None
    try:
        return io.BytesIO(bz2.decompress(source.read_bytes()))
    except (OSError, ValueError) as error:
        raise DataContractError(f"{source}: not a whole bzip2 file: {error}.", hint="Copy it again.") from error


def _squeezed(array: AnyArray, key: str, source: Path) -> AnyArray:
    """The array without leading axes of length 1, down to the axes its key has."""
    while array.ndim > _KEYS[key] and array.shape[0] == 1:
        array = array[0]
    if key == "probe" and array.ndim > 2:
        raise DataContractError(
            f"{source}: `probe` has shape {array.shape}, more than one mode; allowed is a single coherent mode.",
            hint="Keep the strongest mode, or reconstruct with one.",
        )
    if array.ndim != _KEYS[key]:
        raise _wrong_shape(source, key, array, f"an array of {_KEYS[key]} axes besides leading ones of length 1: one scan")
    return array


def _check_scan(data: AnyArray, probe: AnyArray, positions: AnyArray, source: Path) -> None:
    n_patterns, height, width = data.shape
    if n_patterns == 0 or height != width or height == 0 or height % 2:
        raise _wrong_shape(source, "data", data, "(n, N, N), n at least 1 and N even")
    if probe.shape != (height, width):
        raise _wrong_shape(source, "probe", probe, f"that of a pattern, {(height, width)}")
    if positions.shape != (n_patterns, 2):
        raise _wrong_shape(source, "scan", positions, f"{(n_patterns, 2)}, a row a pattern")
    _check_numbers("data", data, "fiu", source)
    _check_numbers("probe", probe, "c", source)
    _check_numbers("scan", positions, "fiu", source)
    if data.min() < 0 or data.max() == 0:
        raise DataContractError(
            f"{source}: `data` reaches from {data.min():g} to {data.max():g}; allowed are photons, at least 0 and not all 0.",
            hint="Was a background subtracted?",
        )
    if not probe.any():
        raise DataContractError(f"{source}: `probe` is zero everywhere.", hint="Give a first guess of the probe.")


def _wrong_shape(source: Path, key: str, array: AnyArray, allowed: str) -> DataContractError:
    return DataContractError(
        f"{source}: `{key}` has shape {array.shape}; allowed is {allowed}.", hint="Crop or complete it in the source file."
    )


def _check_numbers(key: str, array: AnyArray, kinds: str, source: Path) -> None:
    if array.dtype.kind not in kinds:
        raise DataContractError(
            f"{source}: `{key}` has dtype {array.dtype}; allowed are {_KIND_WORDS[kinds]} numbers.", hint="Convert it first."
        )
    if not np.isfinite(array).all():
        raise DataContractError(
            f"{source}: `{key}` holds NaN or infinity; allowed are finite numbers.", hint="Mask or repair them first."
        )


def _quantity(data: AnyArray, options: IngestOptions, source: Path, found: list[str], assumed: list[str]) -> str:
    if options.quantity != "auto":
        assumed.append(f"`data` is {options.quantity} (as the option says), in photons")
        return options.quantity
    if _all_frames_whole(data, power=1):
        found.append("`data` is intensity: photon counts, whole numbers throughout")
        return "intensity"
    if _all_frames_whole(data, power=2):
        found.append("`data` is amplitude: its squares are whole numbers throughout")
        return "amplitude"
    raise DataContractError(
        f"{source}: neither `data` nor its squares are whole numbers, so intensity and amplitude cannot be told apart.",
        hint="Say which with --quantity intensity or --quantity amplitude.",
    )


def _all_frames_whole(data: AnyArray, power: int) -> bool:
    tolerance = 0.0 if power == 1 else _ROOT_TOLERANCE
    frames = (frame.astype(np.float64) ** power for frame in data)
    return all(bool((np.abs(frame - np.rint(frame)) <= tolerance).all()) for frame in frames)


def _as_counts(data: AnyArray, quantity: str) -> Counts:
    counts: Counts = data.astype(np.float32)
    return np.square(counts, out=counts) if quantity == "amplitude" else counts


def _dc(counts: Counts, options: IngestOptions, source: Path, found: list[str]) -> str:
    """Where the zero frequency lies: the mean pattern has its power about the centre, or about the four corners."""
    if options.dc != "auto":
        return options.dc
    mean = counts.mean(axis=0, dtype=np.float64)
    center, corner = _central_power(mean), _central_power(np.fft.fftshift(mean))
    if max(center, corner) < _CLEAR_RATIO * min(center, corner):
        raise DataContractError(
            f"{source}: {center / mean.sum():.0%} of the power lies in the centre of the patterns and {corner / mean.sum():.0%} "
            "about their corners, so the zero frequency cannot be placed.",
            hint="Say where it is with --dc corner or --dc center.",
        )
    place, share = ("center", center) if center > corner else ("corner", corner)
    found.append(f"the zero frequency is at the {place}: {share / mean.sum():.1%} of the power lies about it")
    return place


def _central_power(pattern: npt.NDArray[np.float64]) -> float:
    """The power in the central half of each side."""
    quarter = pattern.shape[-1] // 4
    return float(pattern[quarter:-quarter, quarter:-quarter].sum())


def _dc_at_center(counts: Counts, dc: str) -> Counts:
    return np.fft.fftshift(counts, axes=(1, 2)) if dc == "corner" else counts


def _beam_center(counts: Counts) -> tuple[int, int]:
    """The centroid (row, column) of the mean pattern above its median, to the nearest pixel."""
    mean = counts.mean(axis=0, dtype=np.float64)
    beam = np.clip(mean - np.median(mean), 0, None)
    beam = beam if beam.any() else mean
    indices = np.arange(len(beam))
    row = float(beam.sum(axis=1) @ indices / beam.sum())
    column = float(beam.sum(axis=0) @ indices / beam.sum())
    return round(row), round(column)


def _crop(scan: _Scan, patch_size_px: int, source: Path, found: list[str]) -> _Scan:
    """Keep the frequencies about the beam: the window of a patch stays as wide, its pixels grow, positions in pixels shrink."""
    measured_px = scan.counts.shape[-1]
    row, column = _beam_center(scan.counts)
    top, left = row - patch_size_px // 2, column - patch_size_px // 2
    if min(top, left) < 0 or max(top, left) + patch_size_px > measured_px:
        raise DataContractError(
            f"{source}: {patch_size_px} px about the beam's centre ({row}, {column}) leave the patterns of {measured_px} px.",
            hint="Choose a smaller patch_size_px.",
        )
    window = (..., slice(top, top + patch_size_px), slice(left, left + patch_size_px))
    kept = float(scan.counts[window].sum(dtype=np.float64) / scan.counts.sum(dtype=np.float64))
    found.append(f"the beam's centre is ({row}, {column}); {patch_size_px} px about it keep {kept:.2%} of the photons")
    return _Scan(
        counts=scan.counts[window],
        probe=_crop_far_field(scan.probe, window),
        positions_yx=scan.positions_yx * (patch_size_px / measured_px),
    )


def _crop_far_field(probe: npt.NDArray[np.complex64], window: tuple[Any, ...]) -> npt.NDArray[np.complex64]:
    """The probe as seen through a window of its centred far field: on fewer, larger pixels; unitary but for what is cut."""
    far_field = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(probe), norm="ortho"))[window]
    return np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(far_field), norm="ortho")).astype(np.complex64)


def _dataset(scan: _Scan, source: Path, report: IngestReport) -> PtychoDataset:
    offset_yx = scan.counts.shape[-1] / 2 + OBJECT_MARGIN_PX - scan.positions_yx.min(axis=0)
    scale = float(np.sqrt(report.photons_per_frame / np.sum(np.abs(scan.probe.astype(np.complex128)) ** 2)))
    return PtychoDataset(
        diffraction=(np.sqrt(scan.counts) / scale).astype(np.float32, copy=False),
        intensity_scale=scale,
        probe_guess=scan.probe,
        object_guess=None,
        ycoords=scan.positions_yx[:, 0] + offset_yx[0],
        xcoords=scan.positions_yx[:, 1] + offset_yx[1],
        scan_index=np.arange(report.n_patterns, dtype=np.int64),
        metadata={
            "source": source.name,
            "source_sha256": sha256_file(source),
            "position_offset_yx_px": offset_yx.tolist(),
            "photons_per_frame": report.photons_per_frame,
            "found": report.found,
            "assumed": report.assumed,
        },
    )
