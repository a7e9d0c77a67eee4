"""Writes the table of docs/your-own-scan.md of files that are wrong in one respect, and what `ingest` says: `make wrong-scans`.

Each file is a good one, of a small simulated scan, with one deliberate change.
"""

import contextlib
import io
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from marked_tables import filled

from fly64_hpc.ingest import main as ingest
from ptycho_torch.errors import PtychoError
from ptycho_torch.position_axes import AxisTurn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from foreign_files import KnownScan, S, write_cxi, write_product, write_ptychopinn, write_ptyd, write_tike, write_training
from turned_scan import TurnedScan, make_turned_scan

BEGIN, END = "<!-- table of wrong files: made by docs/wrong_scans.py -->", "<!-- end of the table -->"
GAP_PX = (4, -3)
"""How far a beam that is off the centre lies from it, (rows, columns)."""


@dataclass(frozen=True)
class Wrong:
    """A way in which a file is wrong."""

    kind: str
    change: str
    """What was done to the good file."""
    file: str
    """What it is called; its ending says its format."""
    write: Callable[[Path, "Good"], Any]
    """Writes it, under a path."""
    shows: str = ""
    """A part of the line in which `ingest` says what it found; empty: it refuses the file."""
    flags: tuple[str, ...] = ()
    """What is typed after SOURCE and TARGET."""


@dataclass(frozen=True, eq=False)
class Good:
    """A scan whose orientation photons can tell, in the form that the writers of each format take."""

    turned: TurnedScan
    scan: KnownScan

    @property
    def amplitude(self) -> Any:
        """(n, N, N) float32, square roots of the counts."""
        return np.sqrt(self.scan.counts.astype(np.float32))

    @property
    def yx_um(self) -> Any:
        """(n, 2) positions in micrometres."""
        return self.scan.yx_m * 1e6


def good_scan() -> Good:
    """49 patterns of 32 px, neighbours 4 px apart under a beam of 9 px, 48.6 nm a pixel."""
    turned = make_turned_scan()
    return Good(turned, KnownScan(turned.counts, turned.probe, np.ones((S, S), np.complex64), turned.yx))


def _in_hdf5(path: Path, **changed: Any) -> Path:
    """Replace datasets, or with None take them out."""
    with h5py.File(path, "a") as file:
        for key, value in changed.items():
            attributes = dict(file[key].attrs)
            del file[key]
            if value is not None:
                file[key] = value
                file[key].attrs.update(attributes)
    return path


def _product(path: Path, good: Good, *, far_field: bool = True, **diffraction: Any) -> Path:
    write_product(path, good.scan, far_field=far_field)
    _in_hdf5(path.with_name("diffraction.h5"), **diffraction)
    return path


def _cut_off(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


def _um_in_ptyd(path: Path, good: Good) -> None:
    write_ptyd(path, good.scan)
    _in_hdf5(path, **{"chunks/0/positions": good.yx_um[:4], "chunks/1/positions": good.yx_um[4:]})


def _corner(good: Good) -> Any:
    return np.fft.ifftshift(good.scan.counts, axes=(1, 2))


def _beside(good: Good) -> Any:
    return np.roll(good.scan.counts, GAP_PX, axis=(1, 2))


def _hwn(good: Good) -> Any:
    return np.moveaxis(good.scan.counts, 0, -1)


def _training(**change: Callable[[Good], Any]) -> Callable[[Path, Good], Any]:
    return lambda path, good: write_training(path, good.scan, **{key: value(good) for key, value in change.items()})


def _cxi(**change: Callable[[Good], Any]) -> Callable[[Path, Good], Any]:
    return lambda path, good: write_cxi(path, good.scan, **{key: value(good) for key, value in change.items()})


def _without(_: Good) -> None:
    """Of a dataset that is left out."""


AXES, UNIT, QUANTITY, DC = "swapped axes", "wrong unit", "wrong quantity", "shifted zero frequency"
ENERGY, NEAR, CUT = "missing energy", "near field", "cut off"
PROBE = ("--probe", "probe.npy")
WRONG = (
    Wrong(AXES, "patterns (H, W, n)", "training.h5", _training(patterns=_hwn)),
    Wrong(AXES, "patterns (H, W, n)", "product.h5", lambda path, good: _product(path, good, patterns=_hwn(good))),
    Wrong(
        AXES,
        "rows and columns of positions swapped",
        "tike.npz",
        lambda path, good: good.turned.write(path, AxisTurn(is_swapped=True)),
        "orientation: rows and columns swapped",
        ("--find-orientation",),
    ),
    Wrong(
        AXES,
        "rows and columns of each pattern swapped",
        "training.h5",
        _training(patterns=lambda good: good.scan.counts.transpose(0, 2, 1), probe=lambda good: good.scan.probe.T[np.newaxis]),
        "orientation: rows and columns swapped",
        ("--find-orientation",),
    ),
    Wrong(
        UNIT,
        "metres called pixels",
        "training.h5",
        _training(probe_position_x_px=lambda good: good.scan.yx_m[:, 1], probe_position_y_px=lambda good: good.scan.yx_m[:, 0]),
    ),
    Wrong(
        UNIT,
        "µm called pixels",
        "tike.npz",
        lambda path, good: write_tike(path, good.scan, scan=good.yx_um),
    ),
    Wrong(
        UNIT,
        "µm called pixels",
        "training.h5",
        _training(probe_position_x_px=lambda good: good.yx_um[:, 1], probe_position_y_px=lambda good: good.yx_um[:, 0]),
    ),
    Wrong(
        UNIT,
        "µm called pixels, and photons are to judge",
        "tike.npz",
        lambda path, good: write_tike(path, good.scan, scan=good.yx_um),
        flags=("--find-orientation",),
    ),
    Wrong(UNIT, "µm called metres", "scan.ptyd", _um_in_ptyd, flags=PROBE),
    Wrong(QUANTITY, "amplitude called intensity", "training.h5", _training(patterns=lambda good: good.amplitude)),
    Wrong(QUANTITY, "amplitude called intensity", "scan.cxi", _cxi(data=lambda good: good.amplitude)),
    Wrong(
        QUANTITY,
        "amplitude, divided by its largest",
        "scan.cxi",
        _cxi(data=lambda good: good.amplitude / good.amplitude.max()),
    ),
    Wrong(
        QUANTITY,
        "amplitude in place of intensity, in a format that says neither",
        "tike.npz",
        lambda path, good: write_tike(path, good.scan, data=np.fft.ifftshift(good.amplitude, axes=(1, 2))[np.newaxis]),
        "`data` is amplitude",
    ),
    Wrong(QUANTITY, "intensity called amplitude", "training.h5", _training(), flags=("--quantity", "amplitude")),
    Wrong(DC, "at the corner, where the format has it at the centre", "training.h5", _training(patterns=_corner)),
    Wrong(
        DC, "at the corner, in a format that says nothing", "scan.cxi", _cxi(data=_corner), "the zero frequency is at the corner"
    ),
    Wrong(DC, f"beside the centre, by {GAP_PX} px", "scan.cxi", _cxi(data=_beside)),
    Wrong(
        DC, f"beside the centre, by {GAP_PX} px", "product.h5", lambda path, good: _product(path, good, patterns=_beside(good))
    ),
    Wrong(ENERGY, "left out, positions in metres", "scan.cxi", _cxi(energy=_without)),
    Wrong(
        ENERGY,
        "left out, positions in pixels",
        "training.h5",
        _training(photon_energy_eV=_without),
        "nothing says the photons' energy",
    ),
    Wrong(ENERGY, "keV where CXI has joule", "scan.cxi", _cxi(energy=lambda _: 8.8)),
    Wrong(NEAR, "the attribute far_field is false", "product.h5", lambda path, good: _product(path, good, far_field=False)),
    Wrong(CUT, "the first half", "tike.npz", lambda path, good: _cut_off(write_tike(path, good.scan), 0.5)),
    Wrong(CUT, "the first 90 %", "scan.cxi", lambda path, good: _cut_off(write_cxi(path, good.scan), 0.9)),
    Wrong(
        CUT,
        "the first 90 % of its patterns",
        "product.h5",
        lambda path, good: _cut_off(_product(path, good).with_name("diffraction.h5"), 0.9),
    ),
)
GOOD = {
    "training.h5": _training(),
    "product.h5": _product,
    "tike.npz": lambda path, good: write_tike(path, good.scan),
    "ptychopinn.npz": lambda path, good: write_ptychopinn(path, good.scan),
    "scan.cxi": _cxi(),
    "scan.ptyd": lambda path, good: write_ptyd(path, good.scan),
}
"""How each is written without a change."""


def answer(wrong: Wrong, good: Good) -> tuple[bool, str]:
    """Whether `ingest` refuses the file, and the sentence in which it does or says what it found."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        np.save("probe.npy", good.scan.probe)
        wrong.write(Path(wrong.file), good)
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said):
                ingest([wrong.file, "out.npz", *wrong.flags])
        except PtychoError as error:
            assert not Path("out.npz").exists()
            return True, str(error)
        return False, next((line for line in said.getvalue().splitlines() if wrong.shows and wrong.shows in line), "")


def table() -> str:
    """The table in Markdown."""
    good = good_scan()
    head = ["| wrong | the one change | file | `ingest` says |", "| --- | --- | --- | --- |"]
    return "\n".join([*head, *(row(wrong, *answer(wrong, good)) for wrong in WRONG)])


def row(wrong: Wrong, is_refused: bool, sentence: str) -> str:
    """A line of the table."""
    file = f"`{wrong.file}`" + (f" `{' '.join(wrong.flags)}`" if wrong.flags else "")
    said = re.sub(r"(cannot be read): .*\)\.", r"\1.", sentence).removeprefix("found: ")  # HDF5's own words change
    verdict = "refused" if is_refused else "found"
    return f"| {wrong.kind} | {wrong.change} | {file} | **{verdict}**: {said.replace('|', chr(92) + '|')} |"


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(filled(page.read_text(), BEGIN, END, table()))
