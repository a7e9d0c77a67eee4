"""What is exported: one object, the probe and the positions that it was made with, and how large a pixel is."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from ptycho_torch.atomic_files import sha256_file
from ptycho_torch.errors import DataContractError
from ptycho_torch.evaluation import Box
from ptycho_torch.exporting.whole_geometry import whole_geometry
from ptycho_torch.npz_archive import AnyArray, read_arrays
from ptycho_torch.npz_contract import PtychoDataset, read_dataset
from ptycho_torch.reconstruction_file import METHODS
from ptycho_torch.scan_geometry import ScanGeometry, geometry_of

Object = npt.NDArray[np.complex64] | npt.NDArray[np.complex128]
UNKNOWN = ScanGeometry()
SOLE = "object"
"""What a file's only object is called where the file does not say what made it: a solver's, or one of an evaluation."""
_IS_SOLE = "aligned"
"""An array that only such files have."""


@dataclass(frozen=True)
class ExportSource:
    """Where the content comes from, and what is said of it beside the files."""

    reconstruction: Path
    """reconstruction.npz of a job, a solver's, or one of an evaluation."""
    scan: Path
    """The DATA-001 file that it was made of."""
    name: str
    """What it is called in the files, and the files after it: a job id."""
    method: str | None = None
    """`network` or `refined`; None: refined where there is one."""
    geometry: ScanGeometry = UNKNOWN
    """What is said of the scan's geometry; it goes before what the scan says itself."""


@dataclass(frozen=True, eq=False)
class ExportContent:
    """One object with all that it was made with."""

    name: str
    method: str
    """`network`, `refined`, or `object` where the file does not say what made it."""
    object_yx: Object
    """(H, W), 1 where no pattern looked."""
    box: Box
    """Where the beam went, and a margin: what a picture shows."""
    scan: PtychoDataset
    geometry: ScanGeometry
    """Whole where three of the four are known."""
    origin: str
    """From which files this was made, as a sentence."""
    folder: Path
    """Where the reconstruction lies, and beside it the bundle of the network, if a network made it."""

    @property
    def pixel_size_m(self) -> float | None:
        """The side of a pixel of the object; None where nobody knows."""
        return self.geometry.object_pixel_size_m

    @property
    def boxed(self) -> Object:
        """The object inside the box, (H', W')."""
        box = self.box
        return self.object_yx[box.top : box.bottom, box.left : box.right]

    @property
    def title(self) -> str:
        """The name, and which of its objects this is."""
        return self.name if self.method == SOLE else f"{self.name}-{self.method}"

    @property
    def probe(self) -> npt.NDArray[np.complex64]:
        """(N, N), as the scan's file has it."""
        return self.scan.probe_guess

    @property
    def probe_photons(self) -> float | None:
        """Σ|s P|²: photons of an exposure where |O| is 1; None where the scan does not know its intensity scale."""
        scale = self.scan.intensity_scale
        return None if scale is None else float(scale**2 * np.square(np.abs(self.probe), dtype=np.float64).sum())

    @property
    def scan_index(self) -> npt.NDArray[np.int64]:
        """(n,) the place of each position in the scan."""
        index = self.scan.scan_index
        return np.arange(len(self.scan.xcoords)) if index is None else index


def read_content(source: ExportSource) -> ExportContent:
    """Read a reconstruction and its scan.

    Raises
    ------
    DataContractError
        A file is missing or damaged, lacks the object that was asked for, or the two are not of one scan.
    ConfigError
        What is known of the geometry contradicts itself.
    """
    arrays = read_arrays(source.reconstruction, (*METHODS.values(), "box", _IS_SOLE))
    method, object_yx = _chosen(arrays, source)
    scan = read_dataset(source.scan)
    _require_one_scan(object_yx, scan, source)
    said = source.geometry.model_dump(exclude_none=True)
    geometry = _stored_geometry(scan, source.scan).model_copy(update=said)
    return ExportContent(
        name=source.name,
        method=method,
        object_yx=object_yx,
        box=_box(arrays, object_yx),
        scan=scan,
        geometry=whole_geometry(geometry, scan.patch_size_px),
        origin=f"Made by fly64-hpc: the array `{METHODS.get(method, SOLE)}` of {source.reconstruction.name} "
        f"(sha256 {sha256_file(source.reconstruction)}), of the scan {source.scan.name} (sha256 {sha256_file(source.scan)}).",
        folder=source.reconstruction.parent,
    )


def _chosen(arrays: Mapping[str, AnyArray], source: ExportSource) -> tuple[str, Object]:
    """Which object is exported, and that object."""
    held = [SOLE] if _IS_SOLE in arrays else [method for method, key in METHODS.items() if key in arrays]
    if "object" not in arrays:
        raise DataContractError(
            f"{source.reconstruction}: has no array `object`.", hint="Name the reconstruction.npz of a job, or one like it."
        )
    method = source.method or held[-1]  # refined comes after network
    if method not in held:
        raise DataContractError(
            f"{source.reconstruction}: holds no {method} object; it holds {', '.join(held)}.",
            hint="Leave out --method, or name one of these." if SOLE not in held else "Leave out --method.",
        )
    object_yx = arrays[METHODS.get(method, "object")]
    if object_yx.ndim != 2 or not np.iscomplexobj(object_yx):
        raise DataContractError(
            f"{source.reconstruction}: its {method} object has shape {object_yx.shape} and dtype {object_yx.dtype}; "
            "allowed is one complex image (rows, columns).",
            hint="Save amplitude · exp(i · phase).",
        )
    return method, object_yx


def _box(arrays: Mapping[str, AnyArray], object_yx: Object) -> Box:
    height, width = object_yx.shape
    return Box(*(int(edge) for edge in arrays["box"])) if "box" in arrays else Box(0, height, 0, width)


def _require_one_scan(object_yx: Object, scan: PtychoDataset, source: ExportSource) -> None:
    half = scan.patch_size_px // 2
    whole_px = np.floor(scan.positions_yx + 0.5).astype(np.int64)
    first, last = whole_px.min(axis=0) - half, whole_px.max(axis=0) + half
    if (first < 0).any() or (last > object_yx.shape).any():
        raise DataContractError(
            f"{source.scan}: its patches reach from row and column {first.tolist()} to {last.tolist()}, but the object of "
            f"{source.reconstruction} has {object_yx.shape[0]} by {object_yx.shape[1]} pixels.",
            hint="Name the scan that the reconstruction was made of.",
        )


def _stored_geometry(scan: PtychoDataset, source: Path) -> ScanGeometry:
    try:
        return geometry_of(scan.metadata)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(["geometry", *map(str, first["loc"])])
        raise DataContractError(
            f"{source}: `{where}` of `metadata_json` cannot be: {first['msg']}, got {first['input']!r}.",
            hint="Write it anew, with lengths in metres and the energy in eV.",
        ) from None
