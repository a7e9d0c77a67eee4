"""DATA-001, the form of every dataset file: one reader, one writer, one checker.

    diffraction       (n, N, N)  float32    amplitude √counts / s, zero frequency at the centre
    intensity_scale   ()         float64    s, so that (s · diffraction)² is photon counts; absent: the study's dose sets it
    probeGuess        (N, N)     complex64
    objectGuess       (H, W)     complex64  where known
    xcoords, ycoords  (n,)       float64    pixels on the object grid; the patch of a position is O[y - N/2 : y + N/2, ...]
    scan_index        (n,)       int64      optional
    metadata_json     ()         unicode    a JSON object, optional

Reading also accepts the legacy name `diff3d` and the legacy order (H, W, n). A position's whole pixel is floor(y + 1/2).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ptycho_torch.errors import DataContractError
from ptycho_torch.npz_archive import AnyArray, read_arrays, write_arrays
from ptycho_torch.reconstruction_file import RECONSTRUCTION_NAME, StoredReconstruction, read_reconstruction

__all__ = [
    "RECONSTRUCTION_NAME",
    "DataContractError",
    "PtychoDataset",
    "StoredReconstruction",
    "check_dataset",
    "check_grouping",
    "read_arrays",
    "read_dataset",
    "read_reconstruction",
    "write_dataset",
]

LARGEST_UNSCALED_AMPLITUDE = 10.0
"""Above this, values that bring no `intensity_scale` are taken for intensity."""

_FORMS: dict[str, tuple[type[np.generic], int]] = {
    "diffraction": (np.float32, 3),
    "intensity_scale": (np.float64, 0),
    "probeGuess": (np.complex64, 2),
    "objectGuess": (np.complex64, 2),
    "xcoords": (np.float64, 1),
    "ycoords": (np.float64, 1),
    "scan_index": (np.int64, 1),
    "metadata_json": (np.str_, 0),
}
_REQUIRED = ("diffraction", "probeGuess", "xcoords", "ycoords")
_LEGACY_DIFFRACTION = "diff3d"


@dataclass(frozen=True, eq=False)
class PtychoDataset:
    """The patterns of a scan, where each was taken, and what illuminated it."""

    diffraction: npt.NDArray[np.float32]
    """(n, N, N) amplitude √counts / s, zero frequency at the centre."""
    intensity_scale: float | None
    """s, so that (s · diffraction)² is photon counts; None: unknown to the file."""
    probe_guess: npt.NDArray[np.complex64]
    """(N, N)."""
    object_guess: npt.NDArray[np.complex64] | None
    """(H, W), where known."""
    xcoords: npt.NDArray[np.float64]
    """(n,) columns on the object grid [px]."""
    ycoords: npt.NDArray[np.float64]
    """(n,) rows on the object grid [px]."""
    scan_index: npt.NDArray[np.int64] | None = None
    """(n,) place of each pattern in the scan."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """Anything JSON can say."""

    @property
    def patch_size_px(self) -> int:
        """N, the side of a pattern and of its object patch [px]."""
        return int(self.diffraction.shape[-1])

    @property
    def positions_yx(self) -> npt.NDArray[np.float64]:
        """Scan positions (n, 2), rows first [px]."""
        return np.stack([self.ycoords, self.xcoords], axis=1)

    def counts(self, rows: slice = slice(None)) -> npt.NDArray[np.float32]:
        """Photon counts (n, N, N), whole numbers, zero frequency at the centre; of some patterns, or of all.

        Raises
        ------
        DataContractError
            The dataset has no intensity scale.
        """
        if self.intensity_scale is None:
            raise DataContractError(
                "The dataset has no `intensity_scale`, so its photon counts are unknown.", hint="Set it from the dose first."
            )
        counts: npt.NDArray[np.float32] = self.diffraction[rows] * np.float32(self.intensity_scale)
        np.square(counts, out=counts)
        np.rint(counts, out=counts)
        return counts

    def select(self, rows: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> "PtychoDataset":
        """The dataset of some patterns, by their indices or a mask (n,)."""
        return replace(
            self,
            diffraction=self.diffraction[rows],
            xcoords=self.xcoords[rows],
            ycoords=self.ycoords[rows],
            scan_index=None if self.scan_index is None else self.scan_index[rows],
        )


def read_dataset(path: Path) -> PtychoDataset:
    """Read a DATA-001 file, in one pass over its bytes.

    Raises
    ------
    DataContractError
        The file breaks the contract; the message names the file, the key, what was got and what is allowed.
    """
    arrays = read_arrays(path, {*_FORMS, _LEGACY_DIFFRACTION})
    _adopt_legacy_name(arrays, path)
    _require_keys(arrays, path)
    arrays["diffraction"] = _patterns_first(arrays["diffraction"], arrays["xcoords"].size)
    _check_arrays(arrays, path)
    scale = arrays.get("intensity_scale")
    return PtychoDataset(
        diffraction=arrays["diffraction"],
        intensity_scale=None if scale is None else float(scale),
        probe_guess=arrays["probeGuess"],
        object_guess=arrays.get("objectGuess"),
        xcoords=arrays["xcoords"],
        ycoords=arrays["ycoords"],
        scan_index=arrays.get("scan_index"),
        metadata=_parse_metadata(arrays.get("metadata_json"), path),
    )


def write_dataset(path: Path, dataset: PtychoDataset) -> None:
    """Check a dataset and write it as a whole; equal datasets give equal bytes.

    Raises
    ------
    DataContractError
        The dataset breaks the contract; nothing is written.
    """
    arrays = _arrays_of(dataset)
    _check_arrays(arrays, path)
    write_arrays(path, arrays)


def check_dataset(dataset: PtychoDataset, source: Path) -> None:
    """Hold a dataset to DATA-001; `source` is the file that messages name.

    Raises
    ------
    DataContractError
        The dataset breaks the contract.
    """
    _check_arrays(_arrays_of(dataset), source)


def check_grouping(n_patterns: int, *, gridsize: int, neighbor_count: int, source: Path) -> None:
    """Refuse a dataset or a neighbour count too small for groups of C = gridsize² patterns (OVERSAMPLING-001).

    Raises
    ------
    DataContractError
        Fewer patterns than C, or, for gridsize > 1, K = `neighbor_count` below C.
    """
    group_size = gridsize**2
    if n_patterns < group_size:
        raise DataContractError(
            f"{source}: got {n_patterns} patterns; groups of gridsize {gridsize} need at least {group_size}.",
            hint="Keep more patterns (image_fraction) or use a smaller gridsize.",
        )
    if gridsize > 1 and neighbor_count < group_size:
        raise DataContractError(
            f"{source}: neighbor_count K = {neighbor_count} is below C = {group_size} (gridsize {gridsize}); allowed is K >= C.",
            hint=f"Set neighbor_count to {group_size} or more.",
        )


def _adopt_legacy_name(arrays: dict[str, AnyArray], source: Path) -> None:
    if _LEGACY_DIFFRACTION not in arrays:
        return
    legacy = arrays.pop(_LEGACY_DIFFRACTION)
    if "diffraction" in arrays:
        return
    if legacy.ndim == 3 and len(set(legacy.shape)) == 1:
        raise DataContractError(
            f"{source}: `diff3d` is a cube {legacy.shape}, so (n, N, N) and (H, W, n) cannot be told apart.",
            hint="Store it as `diffraction`, patterns first.",
        )
    arrays["diffraction"] = legacy


def _require_keys(arrays: Mapping[str, AnyArray], source: Path) -> None:
    missing = [key for key in _REQUIRED if key not in arrays]
    if missing:
        names = ", ".join(f"`{key}`" for key in missing)
        raise DataContractError(
            f"{source}: missing key {names}; of those known it holds {', '.join(sorted(arrays)) or 'none'}.",
            hint="Bring other formats in with `fly64-hpc ingest`.",
        )


def _patterns_first(diffraction: AnyArray, n_positions: int) -> AnyArray:
    """The legacy order (H, W, n) as (n, H, W); anything else as it is."""
    shape = diffraction.shape
    legacy = diffraction.ndim == 3 and shape[0] == shape[1] != n_positions == shape[2]
    return np.ascontiguousarray(np.moveaxis(diffraction, -1, 0)) if legacy else diffraction


def _arrays_of(dataset: PtychoDataset) -> dict[str, AnyArray]:
    arrays: dict[str, AnyArray | None] = {
        "diffraction": dataset.diffraction,
        "intensity_scale": None if dataset.intensity_scale is None else np.array(dataset.intensity_scale, np.float64),
        "probeGuess": dataset.probe_guess,
        "objectGuess": dataset.object_guess,
        "xcoords": dataset.xcoords,
        "ycoords": dataset.ycoords,
        "scan_index": dataset.scan_index,
        "metadata_json": np.array(json.dumps(dataset.metadata, sort_keys=True, allow_nan=False)),
    }
    return {key: array for key, array in arrays.items() if array is not None}


def _parse_metadata(text: AnyArray | None, source: Path) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        metadata = json.loads(str(text))
    except ValueError as error:
        raise DataContractError(f"{source}: `metadata_json` is not JSON: {error}.", hint="Write it with json.dumps.") from error
    if not isinstance(metadata, dict):
        raise DataContractError(
            f"{source}: `metadata_json` holds a JSON {type(metadata).__name__}; allowed is an object.", hint="Write a dict."
        )
    return metadata


def _check_arrays(arrays: Mapping[str, AnyArray], source: Path) -> None:
    for key, array in arrays.items():
        _check_form(key, array, source)
    _check_shapes(arrays, source)
    for key, array in arrays.items():
        if key not in ("diffraction", "metadata_json"):
            _refuse_non_finite(key, array, source)
    _check_scale(arrays.get("intensity_scale"), source)
    _check_amplitude(arrays["diffraction"], arrays.get("intensity_scale"), source)
    _check_positions_on_object(arrays, source)


def _check_form(key: str, array: AnyArray, source: Path) -> None:
    dtype, ndim = _FORMS[key]
    if not (array.dtype.type is np.str_ if dtype is np.str_ else array.dtype == dtype):
        raise DataContractError(
            f"{source}: `{key}` has dtype {array.dtype}; allowed is {dtype.__name__}.",
            hint="Convert it; take counts to amplitude before narrowing the type.",
        )
    if array.ndim != ndim:
        raise DataContractError(
            f"{source}: `{key}` has shape {array.shape}; allowed is an array of {ndim} axes.", hint="See DATA-001."
        )


def _check_shapes(arrays: Mapping[str, AnyArray], source: Path) -> None:
    n_patterns, height, width = arrays["diffraction"].shape
    if n_patterns == 0 or height != width or height == 0 or height % 2:
        raise DataContractError(
            f"{source}: `diffraction` has shape {arrays['diffraction'].shape}; allowed is (n, N, N), n at least 1 and N even.",
            hint="Crop the patterns to a square of even side.",
        )
    if arrays["probeGuess"].shape != (height, width):
        raise DataContractError(
            f"{source}: `probeGuess` has shape {arrays['probeGuess'].shape}; allowed is that of a pattern, {(height, width)}.",
            hint="Crop or pad the probe to the patterns' side.",
        )
    for key in ("xcoords", "ycoords", "scan_index"):
        if key in arrays and len(arrays[key]) != n_patterns:
            raise DataContractError(
                f"{source}: `{key}` has {len(arrays[key])} entries for {n_patterns} patterns; lengths must be equal.",
                hint="Was one of them filtered without the other?",
            )


def _refuse_non_finite(key: str, array: AnyArray, source: Path) -> None:
    bad = array.size - int(np.isfinite(array).sum())
    if bad:
        raise DataContractError(
            f"{source}: `{key}` holds {bad} values that are NaN or infinite; allowed are finite numbers.",
            hint="Mask or repair them first.",
        )


def _check_scale(scale: AnyArray | None, source: Path) -> None:
    if scale is not None and scale <= 0:
        raise DataContractError(
            f"{source}: `intensity_scale` is {float(scale)}; allowed is a number above 0.",
            hint="It is s in counts = (s * diffraction)^2; leave it out where unknown.",
        )


def _check_amplitude(diffraction: AnyArray, scale: AnyArray | None, source: Path) -> None:
    # NaN passes through both min and max, and an infinity is one of them: two reductions, no array of booleans.
    smallest, largest = float(diffraction.min()), float(diffraction.max())
    if not np.isfinite([smallest, largest]).all():
        _refuse_non_finite("diffraction", diffraction, source)
    if smallest < 0:
        raise DataContractError(
            f"{source}: `diffraction` reaches down to {smallest:g}; allowed are amplitudes, at least 0.",
            hint="Was a background subtracted, or a complex field stored?",
        )
    if largest == 0:
        raise DataContractError(f"{source}: `diffraction` is zero everywhere: no photons.", hint="Check the detector's export.")
    if scale is None and largest > LARGEST_UNSCALED_AMPLITUDE:
        raise _intensity(source, f"reaches {largest:g} without an `intensity_scale` (allowed is {LARGEST_UNSCALED_AMPLITUDE:g})")
    # Zeros and ones are their own square roots: with s = 1 they are counts and amplitude at once.
    own_roots = scale is not None and scale == 1 and largest == 1
    if not own_roots and _whole_numbers(diffraction):
        raise _intensity(source, "holds whole numbers throughout")


def _intensity(source: Path, why: str) -> DataContractError:
    return DataContractError(
        f"{source}: `diffraction` {why}: that is intensity; allowed is amplitude sqrt(counts) / intensity_scale.",
        hint="Bring counts in with `fly64-hpc ingest`, or store sqrt(counts) / s and s.",
    )


def _whole_numbers(frames: AnyArray) -> bool:
    # Frame by frame: amplitudes end the search at the first.
    return all(bool((frame == np.rint(frame)).all()) for frame in frames)


def _check_positions_on_object(arrays: Mapping[str, AnyArray], source: Path) -> None:
    """Every patch lies on the object; one that is unknown begins at the origin and ends nowhere."""
    half = arrays["diffraction"].shape[-1] // 2
    lengths = arrays["objectGuess"].shape if "objectGuess" in arrays else (None, None)
    for key, length in zip(("ycoords", "xcoords"), lengths, strict=True):
        whole = np.floor(arrays[key] + 0.5)
        outside = np.flatnonzero((whole < half) | (whole > (np.inf if length is None else length - half)))
        if outside.size:
            allowed = f"at least {half} for" if length is None else f"{half} to {length - half} for {length} object pixels and"
            raise DataContractError(
                f"{source}: {outside.size} patches leave the object: `{key}`[{outside[0]}] is {arrays[key][outside[0]]:g}; "
                f"allowed is {allowed} patches of {2 * half}.",
                hint="Are coordinates in pixels, counted from the object's first row and column?",
            )
