"""A measured scan in another format, brought into DATA-001: what the `ingest` verb does.

A reader of `foreign_scans` says what the file holds; here it is made one thing: counts with the zero frequency at the centre, one
probe mode, positions in pixels. Patterns are read twice, block by block, and cropped and binned before they are kept. What the
file does not say is found from the patterns, or refused with the option that settles it.

No object comes with a measured scan but a reconstruction, which is no truth. The intensity scale is
s = √(photons per frame / Σ|P|²): with |O| = 1 the mean of Σ diffraction² is then Σ|P O|² in the unitary convention of `physics`,
and the probe keeps its own units.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ptycho_torch.atomic_files import sha256_file
from ptycho_torch.errors import DataContractError
from ptycho_torch.foreign_scans.detector_window import Counts, DetectorWindow, cut_counts
from ptycho_torch.foreign_scans.foreign_scan import Corner, ForeignScan, Quantity
from ptycho_torch.foreign_scans.ingest_options import IngestOptions
from ptycho_torch.foreign_scans.merged_geometry import geometry_in_window, merge_geometry
from ptycho_torch.foreign_scans.named_arrays import split_place
from ptycho_torch.foreign_scans.paired_positions import check_density, check_steps, metres_to_pixels, pair_positions
from ptycho_torch.foreign_scans.pattern_sources import SelectedPatterns, check_pattern_shape
from ptycho_torch.foreign_scans.pattern_survey import beam_center, dc_at_center, decide_dc, decide_quantity, survey_patterns
from ptycho_torch.foreign_scans.probe_window import Probe, cut_probe, far_field_center, one_mode
from ptycho_torch.foreign_scans.recognition import read_foreign_scan
from ptycho_torch.found_probe import find_probe
from ptycho_torch.npz_contract import PtychoDataset, write_dataset
from ptycho_torch.oriented_scan import find_orientation
from ptycho_torch.scan_geometry import ScanGeometry

__all__ = ["IngestOptions", "IngestReport", "ingest"]

OBJECT_MARGIN_PX = 2.0
"""Free object pixels kept above and left of the outermost patches."""
_FAR_OFF = 1 / 16
"""Of a pattern's side: the object may move the beam's centroid by so much, and by more only where something is shifted."""
_WORTH_A_WORD_PX = 2.0

Position = npt.NDArray[np.float64]
Image = npt.NDArray[np.float64]


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
class _Work:
    """One call of `ingest`: whose file, by which options, and what is said of it on the way."""

    source: Path
    options: IngestOptions
    found: list[str] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class _Light:
    """What is common to all patterns: their mean (H, W) with the zero frequency at the centre, what they hold, and where."""

    mean: Image
    quantity: Quantity
    dc: Corner


def ingest(source: Path, target: Path, *, options: IngestOptions) -> IngestReport:
    """Bring a measured scan into DATA-001.

    Parameters
    ----------
    source
        A file of one of the formats of `foreign_scans`, or `FILE:KEY`, an array of patterns, where the format is `arrays`.
    target
        The DATA-001 file to write, as a whole.
    options
        What the source does not say of itself.

    Raises
    ------
    DataContractError
        The source is damaged, lacks something, or cannot be told apart; nothing is written.
    """
    path = split_place(str(source))[0]
    work = _Work(path, options)
    scan = read_foreign_scan(source, options)
    work.found.extend(scan.found)
    work.assumed.extend([*scan.assumed, "one coherent probe mode, |object| about 1"])
    n_positions = len(scan.positions.yx) if scan.positions is not None else None
    check_pattern_shape(scan.patterns, scan.patterns_name, n_positions, path)
    _check_square(scan, work)
    _check_may_turn(scan, work)
    dataset = _dataset(scan, work)
    if options.find_orientation:
        dataset = _oriented(dataset, work)
    if options.makes_probe or options.refine_probe:
        dataset = _with_found_probe(dataset, work)
    write_dataset(target, dataset)
    photons_per_frame = float(dataset.metadata["photons_per_frame"])
    return IngestReport(work.found, work.assumed, len(dataset.diffraction), dataset.patch_size_px, photons_per_frame)


def _check_square(scan: ForeignScan, work: _Work) -> None:
    """Without a crop, patterns must be squares that bins divide into an even number of pixels."""
    shape, bin_px = scan.patterns.shape, work.options.bin_px
    if work.options.patch_size_px is None and (shape[1] != shape[2] or shape[1] % (2 * bin_px)):
        raise DataContractError(
            f"{work.source}: `{scan.patterns_name}` has shape {shape}; allowed is (n, N, N), n at least 1 and N a multiple of "
            f"{2 * bin_px}.",
            hint="Crop about the beam with --patch-size-px.",
        )


def _check_may_turn(scan: ForeignScan, work: _Work) -> None:
    """Axes that are searched for must be free to turn; a probe that is made leaves no hold for them, nor for an object."""
    if work.options.makes_probe and (work.options.find_orientation or work.options.keep_object):
        flag = "--find-orientation" if work.options.find_orientation else "--keep-object"
        raise DataContractError(
            f"{work.source}: a probe that is made of the patterns fits the positions that they are given, and lies where chance "
            f"has it: {flag} needs a probe that is known.",
            hint=f"Leave {flag} out, or name a probe with --probe FILE[:KEY].",
        )
    if not work.options.find_orientation:
        return
    if work.options.keep_object:
        raise DataContractError(
            f"{work.source}: --find-orientation may turn positions, and --keep-object keeps an object on which they count.",
            hint="Leave one of the two out.",
        )
    height, width = scan.patterns.shape[1:]
    if height != width and scan.positions is not None and scan.positions.unit == "px":
        raise DataContractError(
            f"{work.source}: patterns of {height} x {width} px have pixels of two lengths, so that positions in pixels cannot be "
            "turned; allowed are squares, or positions in metres.",
            hint="Leave --find-orientation out, or say lengths with --position-unit.",
        )


def _with_found_probe(dataset: PtychoDataset, work: _Work) -> PtychoDataset:
    made = find_probe(dataset, work.source, from_mean_pattern=work.options.makes_probe)
    work.found.extend(made.found)
    work.assumed.extend(made.assumed)
    return replace(made.dataset, metadata=made.dataset.metadata | {"found": work.found, "assumed": work.assumed})


def _oriented(dataset: PtychoDataset, work: _Work) -> PtychoDataset:
    oriented = find_orientation(dataset, work.options, work.source)
    work.found.extend(oriented.found)
    work.assumed.extend(oriented.assumed)
    return replace(oriented.dataset, metadata=oriented.dataset.metadata | {"found": work.found, "assumed": work.assumed})


def _dataset(scan: ForeignScan, work: _Work) -> PtychoDataset:
    pairing = pair_positions(scan, work.source)
    work.found.extend(pairing.found)
    patterns = SelectedPatterns(scan.patterns, pairing.rows)
    survey = survey_patterns(patterns, scan.patterns_name, scan.bad_pixels, work.source)
    height, width = patterns.shape[1:]
    work.found.append(f"{survey.n_patterns} patterns of {height} x {width} px")
    measured, notes = merge_geometry(scan.geometry, work.options.geometry, (height, width), work.source)
    work.assumed.extend(notes)
    told = work.options.quantity
    quantity, words, is_assumed = decide_quantity(
        survey, scan.patterns_name, None if told == "auto" else told, scan.quantity, work.source
    )
    (work.assumed if is_assumed else work.found).append(words)
    place = work.options.dc
    dc, words, is_assumed = decide_dc(survey.mean_counts(quantity), None if place == "auto" else place, scan.dc, work.source)
    (work.assumed if is_assumed else work.found).append(words)
    light = _Light(dc_at_center(survey.mean_counts(quantity), dc), quantity, dc)
    window = _window(light, work)
    geometry = geometry_in_window(measured, (height, width), window)
    yx = _pixels(scan, pairing.yx, geometry, window, (height, width), work)
    probe = _probe(scan, light, window, work)
    word = check_density(yx, probe, work.source, is_judged=work.options.find_orientation)
    if word is not None:
        work.assumed.append(word)
    object_hw = _object(scan, window, (height, width), work)
    n_bad = int(dc_at_center(survey.bad_pixels, dc)[window.slices].sum())
    if survey.n_marked:
        work.found.append(f"{survey.n_marked} pixels hold the largest number of {patterns.dtype} in every pattern: taken for bad")
    if n_bad:
        work.assumed.append(f"{n_bad} bad pixels ({n_bad / window.side_px**2:.2%}) hold the mean of their good neighbours")
    counts, kept = cut_counts(patterns, survey, quantity, dc, window)
    if window.side_px < max(height, width):
        work.found.append(f"{window.side_px} px about the beam's centre keep {kept:.2%} of the photons")
    _report_empty(counts, work)
    built = _assemble(counts, probe, yx, object_hw, work)
    metadata = built.metadata | (geometry.as_metadata() if geometry != ScanGeometry() else {}) | _other_files(scan)
    return replace(built, scan_index=pairing.scan_index, metadata=metadata)


def _window(light: _Light, work: _Work) -> DetectorWindow:
    """The whole pattern, or a square about the beam's centre."""
    height, width = light.mean.shape
    bin_px, wanted_px = work.options.bin_px, work.options.patch_size_px
    if wanted_px is None:
        return DetectorWindow(0, 0, height, bin_px)
    side = wanted_px * bin_px
    row, column = (round(part) for part in beam_center(light.mean))
    is_whole = side == height == width and max(abs(row - height // 2), abs(column - width // 2)) <= _FAR_OFF * side
    top, left = (0, 0) if is_whole else (row - side // 2, column - side // 2)
    if min(top, left) < 0 or top + side > height or left + side > width:
        size = f"{height} px" if height == width else f"{height} x {width} px"
        raise DataContractError(
            f"{work.source}: {side} px about the beam's centre ({row}, {column}) leave the patterns of {size}.",
            hint="Choose a smaller --patch-size-px, or smaller bins.",
        )
    work.found.append(f"the beam's centre is ({row}, {column})")
    return DetectorWindow(top, left, side, bin_px)


def _pixels(
    scan: ForeignScan, yx: Position, geometry: ScanGeometry, window: DetectorWindow, shape: tuple[int, int], work: _Work
) -> Position:
    """Positions in the pixels that the object has after the crop; lengths stay."""
    side = window.patch_size_px
    is_metres = scan.positions is not None and scan.positions.unit == "m"
    yx = metres_to_pixels(yx, geometry.pixel_size_m(side), work.source) if is_metres else yx * (window.side_px / np.array(shape))
    check_steps(yx, side, work.source)
    pixel_m = geometry.pixel_size_m(side)
    if pixel_m is not None:
        work.found.append(f"a pixel of the object is {pixel_m * 1e9:.5g} nm")
    _report_unknown(geometry, pixel_m, work)
    return yx


def _report_unknown(geometry: ScanGeometry, pixel_m: float | None, work: _Work) -> None:
    """Positions in pixels need no lengths, but programs that count in metres do."""
    flags = {
        "the photons' energy": (geometry.photon_energy_eV, "--photon-energy-ev"),
        "the detector's distance": (geometry.detector_distance_m, "--detector-distance-m"),
        "the detector's pixel": (geometry.detector_pixel_size_m, "--detector-pixel-size-m"),
    }
    missing = [what for what, (value, _) in flags.items() if value is None]
    if missing and (pixel_m is None or geometry.photon_energy_eV is None):
        said = ", ".join(flags[what][1] for what in missing)
        work.found.append(f"nothing says {', '.join(missing)}: without metres export writes no ptychodus or CXI ({said})")


def _probe(scan: ForeignScan, light: _Light, window: DetectorWindow, work: _Work) -> Probe:
    if work.options.makes_probe:  # its energy alone counts, (N/2)² as is usual: it is made when the counts are at hand
        return np.full((window.patch_size_px, window.patch_size_px), 0.5, np.complex128)
    if scan.probe is None:
        raise DataContractError(
            f"{work.source}: {scan.format} without a probe, which training needs.",
            hint="Name one with --probe FILE[:KEY], as large as a pattern, or have one made with --probe mean-pattern.",
        )
    probe, words = one_mode(scan.probe, work.options.probe_mode, work.source)
    if words is not None:
        work.assumed.append(words)
    size_px = window.patch_size_px
    if probe.shape == light.mean.shape:
        probe, kept = cut_probe(probe, _probe_window(probe, light, window, work), work.source)
        if window.bin_px > 1:
            work.found.append(f"{kept:.2%} of the probe's power lies in the patch of {size_px} px that bins leave")
    elif probe.shape == (size_px, size_px):
        work.assumed.append(f"the probe of {size_px} px is already that of the cropped and binned patterns")
    else:
        raise DataContractError(
            f"{work.source}: `probe` has shape {probe.shape}; allowed is that of a pattern, {light.mean.shape}.",
            hint="Crop or complete it in the source file.",
        )
    return probe


def _probe_window(probe: Probe, light: _Light, window: DetectorWindow, work: _Work) -> DetectorWindow:
    """The window of the probe's own far field: that of the patterns, unless those are shifted against it."""
    off = np.array(beam_center(light.mean)) - np.array(far_field_center(probe))
    where = f"the beam lies ({off[0]:+.1f}, {off[1]:+.1f}) px from where the probe's far field has it"
    if np.abs(off).max() <= _FAR_OFF * len(light.mean):
        if np.abs(off).max() > _WORTH_A_WORD_PX:
            work.assumed.append(f"{where}: taken for the object's doing")
        return window
    rows, columns = (round(part) for part in off)
    own = replace(window, top=window.top - rows, left=window.left - columns)
    height, width = light.mean.shape
    if min(own.top, own.left) >= 0 and own.top + own.side_px <= height and own.left + own.side_px <= width:
        work.found.append(f"{where}: each is cropped about its own centre")
        return own
    if work.options.dc == "auto":
        raise DataContractError(
            f"{work.source}: {where}: the patterns are shifted, or the probe is.",
            hint="Crop about the beam with --patch-size-px, or take the patterns as they are with --dc center or --dc corner.",
        )
    work.assumed.append(f"{where}: taken as it is")
    return window


def _object(scan: ForeignScan, window: DetectorWindow, shape: tuple[int, int], work: _Work) -> npt.NDArray[np.complex64] | None:
    if not work.options.keep_object:
        if scan.object_hw is not None:
            work.found.append("its object is left out, for a reconstruction is no truth (--keep-object keeps it)")
        return None
    if scan.object_hw is None or scan.positions is None or scan.positions.unit != "px" or work.options.positions is not None:
        raise DataContractError(
            f"{work.source}: {scan.format} without an object on which its positions count, so none can be kept.",
            hint="Leave --keep-object out.",
        )
    if shape != (window.side_px, window.side_px):
        raise DataContractError(
            f"{work.source}: a crop from {shape[0]} to {window.side_px} px changes the object's pixels, so it cannot be kept.",
            hint="Leave --keep-object out, or --patch-size-px.",
        )
    work.assumed.append("its object is kept as objectGuess: results are scored against it as if it were the truth")
    return scan.object_hw


def _report_empty(counts: Counts, work: _Work) -> None:
    n_empty = int((counts.sum(axis=(1, 2)) == 0).sum())
    if n_empty:
        work.found.append(f"{n_empty} patterns hold no photon: was the shutter closed, or a linked file missing?")


def _assemble(
    counts: Counts, probe: Probe, yx: Position, object_hw: npt.NDArray[np.complex64] | None, work: _Work
) -> PtychoDataset:
    photons_per_frame = float(counts.sum(axis=(1, 2), dtype=np.float64).mean())
    probe_guess = probe.astype(np.complex64)
    scale = float(np.sqrt(photons_per_frame / np.sum(np.abs(probe_guess.astype(np.complex128)) ** 2)))
    offset_yx = np.zeros(2) if object_hw is not None else counts.shape[-1] / 2 + OBJECT_MARGIN_PX - yx.min(axis=0)
    np.sqrt(counts, out=counts)
    np.divide(counts, scale, out=counts)
    return PtychoDataset(
        diffraction=counts,
        intensity_scale=scale,
        probe_guess=probe_guess,
        object_guess=object_hw,
        ycoords=yx[:, 0] + offset_yx[0],
        xcoords=yx[:, 1] + offset_yx[1],
        metadata={
            "source": work.source.name,
            "source_sha256": sha256_file(work.source),
            "position_offset_yx_px": offset_yx.tolist(),
            "photons_per_frame": photons_per_frame,
            "found": work.found,
            "assumed": work.assumed,
        },
    )


def _other_files(scan: ForeignScan) -> dict[str, dict[str, str]]:
    return {"other_sources": {path.name: sha256_file(path) for path in scan.other_files}} if scan.other_files else {}
