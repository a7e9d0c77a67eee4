"""The formats, and the export of a reconstruction to some of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptycho_torch.exporting.content import ExportContent, ExportSource, read_content
from ptycho_torch.exporting.cxi import write_cxi
from ptycho_torch.exporting.imagej_tiff import write_tiff
from ptycho_torch.exporting.phase_picture import write_png
from ptycho_torch.exporting.plain_npz import write_npz
from ptycho_torch.exporting.ptychodus_product import write_product
from ptycho_torch.exporting.whole_geometry import require_whole
from ptycho_torch.scan_geometry import ScanGeometry

__all__ = ["FORMATS", "ExportReport", "ExportSource", "ExportedFile", "export_reconstruction"]


@dataclass(frozen=True)
class Format:
    """How files of a format end, who writes them, and what they are called where they are refused."""

    suffix: str
    write: Callable[[ExportContent, Path], None]
    in_metres: str = ""
    """What the format is called, where it says everything in metres; else empty."""


FORMATS = {
    "ptychodus": Format(".h5", write_product, "A ptychodus product"),
    "tiff": Format(".tif", write_tiff),
    "cxi": Format(".cxi", write_cxi, "A CXI file"),
    "npz": Format(".npz", write_npz),
    "png": Format(".png", write_png),
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

    Raises
    ------
    DataContractError
        The reconstruction or its scan cannot be read, or are not of one another.
    ConfigError
        A format is in metres, and nobody knows them: nothing is written.
    """
    content = read_content(source)
    for name in formats:
        if FORMATS[name].in_metres:
            require_whole(content.geometry, FORMATS[name].in_metres)
    files = tuple(_written(content, name, folder) for name in dict.fromkeys(formats))
    height, width = content.object_yx.shape
    return ExportReport(content.name, content.method, (height, width), content.geometry, files)


def _written(content: ExportContent, name: str, folder: Path) -> ExportedFile:
    path = folder / f"{content.title}{FORMATS[name].suffix}"
    FORMATS[name].write(content, path)
    return ExportedFile(name, path, path.stat().st_size)
