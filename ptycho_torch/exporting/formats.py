"""The formats, and the export of a reconstruction to some of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptycho_torch.exporting.content import ExportContent, ExportSource, read_content
from ptycho_torch.exporting.cxi import write_cxi
from ptycho_torch.exporting.imagej_tiff import write_tiff
from ptycho_torch.exporting.network_program import require_patch_network, write_program
from ptycho_torch.exporting.network_weights import require_bundle, write_weights
from ptycho_torch.exporting.phase_picture import write_png
from ptycho_torch.exporting.plain_npz import write_npz
from ptycho_torch.exporting.ptychodus_product import write_product
from ptycho_torch.exporting.whole_geometry import require_whole
from ptycho_torch.scan_geometry import ScanGeometry

__all__ = ["FORMATS", "ExportReport", "ExportSource", "ExportedFile", "export_reconstruction"]


@dataclass(frozen=True)
class Format:
    """How files of a format end, and who writes them."""

    suffix: str
    write: Callable[[ExportContent, Path], None]
    require: Callable[[ExportContent], None] = lambda _: None
    """Refuses what the format cannot say, before anything is written."""
    is_of_network: bool = False
    """Whether the file is the network itself, not one of the objects that were made."""


def _require_metres(what: str) -> Callable[[ExportContent], None]:
    return lambda content: require_whole(content.geometry, what)


FORMATS = {
    "ptychodus": Format(".h5", write_product, _require_metres("A ptychodus product")),
    "tiff": Format(".tif", write_tiff),
    "cxi": Format(".cxi", write_cxi, _require_metres("A CXI file")),
    "npz": Format(".npz", write_npz),
    "png": Format(".png", write_png),
    "program": Format(".pt2", write_program, require_patch_network, is_of_network=True),
    "weights": Format(".safetensors", write_weights, require_bundle, is_of_network=True),
}


@dataclass(frozen=True)
class ExportedFile:
    """A file that was written."""

    format: str
    path: Path
    size_bytes: int


@dataclass(frozen=True)
class ExportReport:
    """What was exported, and to which files."""

    name: str
    method: str
    """`network`, `refined`, or `object` where the reconstruction does not say what made it."""
    object_shape: tuple[int, int]
    geometry: ScanGeometry
    files: tuple[ExportedFile, ...]

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "name": self.name,
            "method": self.method,
            "object_shape": list(self.object_shape),
            "geometry": self.geometry.model_dump(exclude_none=True),
            "files": [{"format": file.format, "path": str(file.path), "size_bytes": file.size_bytes} for file in self.files],
        }


def export_reconstruction(source: ExportSource, formats: Sequence[str], folder: Path) -> ExportReport:
    """Write a reconstruction to a file of each format, `folder`/<title><suffix>; what is there is replaced.

    Where one of the formats is refused, nothing is written.

    Raises
    ------
    DataContractError
        The reconstruction or its scan cannot be read, or are not of one another.
    ConfigError
        A format is in metres, and nobody knows them, or the network is none that a program can be made of.
    CheckpointError
        A program or weights are asked for, and there is no network.
    """
    content = read_content(source)
    for name in formats:
        FORMATS[name].require(content)
    files = tuple(_written(content, name, folder) for name in dict.fromkeys(formats))
    height, width = content.object_yx.shape
    return ExportReport(content.name, content.method, (height, width), content.geometry, files)


def _written(content: ExportContent, name: str, folder: Path) -> ExportedFile:
    kind = FORMATS[name]
    path = folder / f"{content.name if kind.is_of_network else content.title}{kind.suffix}"
    kind.write(content, path)
    return ExportedFile(name, path, path.stat().st_size)
