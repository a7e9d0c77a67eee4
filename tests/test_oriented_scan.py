"""ingest --find-orientation: a wrong orientation is found and undone, a tie is named and left to the user, a scale is checked."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from turned_scan import N, TurnedScan, make_turned_scan

from fly64_hpc.errors import RequestError
from fly64_hpc.ingest import main
from ptycho_torch import oriented_scan
from ptycho_torch.errors import DataContractError
from ptycho_torch.measured_scan import IngestOptions, IngestReport, ingest
from ptycho_torch.npz_contract import PtychoDataset, read_dataset
from ptycho_torch.oriented_scan import SCALES
from ptycho_torch.position_axes import ALL_TURNS, AS_THEY_ARE, AxisTurn

CLEAR = make_turned_scan(n=36)
LARGER = make_turned_scan()
MIRRORED = make_turned_scan(probe="mirrored")
X_TURNED = AxisTurn(flips_x=True)
REAL_SCAN = Path(__file__).parents[2] / "shared" / "data" / "siemens-star-small.npz.bz2"


@pytest.fixture
def brief_scale_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scale takes most of the time; one step is enough where it is not the point."""
    monkeypatch.setattr(oriented_scan, "SCALE_STEPS", 1)


briefly = pytest.mark.usefixtures("brief_scale_search")


def searched(
    folder: Path, scan: TurnedScan, turn: AxisTurn = AS_THEY_ARE, scale: float = 1.0, **said: Any
) -> tuple[IngestReport, PtychoDataset]:
    source = scan.write(folder / "scan.npz", turn, scale)
    report = ingest(source, folder / "out.npz", options=IngestOptions(dc="corner", find_orientation=True, **said))
    return report, read_dataset(folder / "out.npz")


def assert_right(dataset: PtychoDataset, scan: TurnedScan) -> None:
    np.testing.assert_allclose(dataset.positions_yx, scan.yx - scan.yx.min(axis=0) + N / 2 + 2, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(dataset.counts(), scan.counts)


@briefly
@pytest.mark.parametrize("turn", ALL_TURNS, ids=str)
def test_each_orientation_is_found_and_undone(tmp_path: Path, turn: AxisTurn) -> None:
    report, dataset = searched(tmp_path, CLEAR, turn)
    assert_right(dataset, CLEAR)
    (line,) = (fact for fact in report.found if fact.startswith("orientation"))
    order = "xy" if turn.is_swapped else "yx"
    assert line.startswith(f"orientation: {turn} (--position-order {order} --flip-positions {turn.flips}), by ")
    facts = dataset.metadata["orientation_search"]
    assert (facts["position_order"], facts["flip_positions"]) == (order, turn.flips)
    assert min(facts["margins"].values()) > 0.1


@briefly
def test_the_flags_it_names_do_the_same(tmp_path: Path) -> None:
    turn = AxisTurn(is_swapped=True, flips_y=True)
    _, dataset = searched(tmp_path, CLEAR, turn)
    facts = dataset.metadata["orientation_search"]
    said = {key: facts[key] for key in ("position_order", "flip_positions")}
    ingest(tmp_path / "scan.npz", tmp_path / "told.npz", options=IngestOptions(dc="corner", **said))
    told = read_dataset(tmp_path / "told.npz")
    np.testing.assert_allclose(told.positions_yx, dataset.positions_yx, rtol=0, atol=1e-9)
    np.testing.assert_allclose(told.metadata["position_offset_yx_px"], dataset.metadata["position_offset_yx_px"], atol=1e-9)
    assert searched(tmp_path, CLEAR, turn, **said)[1].positions_yx.tolist() == told.positions_yx.tolist()


def test_the_report_is_what_the_metadata_say(tmp_path: Path) -> None:
    report, dataset = searched(tmp_path, CLEAR)
    assert (dataset.metadata["found"], dataset.metadata["assumed"]) == (report.found, report.assumed)
    assert any(fact.startswith("position scale: ") for fact in report.found)


def test_options_that_photons_contradict(tmp_path: Path) -> None:
    words = (
        r"of what the options allow, the best is: y turned .*; but .* say: x turned .*, by a margin of .* Leave --position-order"
    )
    with pytest.raises(DataContractError, match=words):
        searched(tmp_path, CLEAR, X_TURNED, position_order="yx", flip_positions="y")
    assert not (tmp_path / "out.npz").exists()


@briefly
def test_an_order_that_is_told_leaves_signs_to_be_found(tmp_path: Path) -> None:
    turn = AxisTurn(is_swapped=True, flips_x=True)
    assert_right(searched(tmp_path, CLEAR, turn, position_order="xy")[1], CLEAR)


def test_a_probe_that_is_its_own_mirror_image_ties_a_pair_by_name(tmp_path: Path) -> None:
    words = (
        r"2 orientations of positions are tied: (x turned \(--position-order yx --flip-positions x\)|y turned .*), or .*"
        r"a point reflection.*its own conjugate mirror image, as this one is to 100%\. Choose one"
    )
    with pytest.raises(DataContractError, match=words):
        searched(tmp_path, MIRRORED, X_TURNED)


@briefly
@pytest.mark.parametrize("flip", ["x", "y"])
def test_a_flag_settles_a_tie(tmp_path: Path, flip: str) -> None:
    report, dataset = searched(tmp_path, MIRRORED, X_TURNED, flip_positions=flip)
    said = f"(--position-order yx --flip-positions {flip}), as the option says: by "
    assert any(said in fact and "it is tied with" in fact for fact in report.found)
    if flip == "x":
        assert_right(dataset, MIRRORED)


@briefly
def test_no_flip_can_be_told_as_well(tmp_path: Path) -> None:
    _, dataset = searched(tmp_path, MIRRORED, flip_positions="none")
    assert_right(dataset, MIRRORED)


@briefly
def test_a_probe_of_the_other_focus_turns_both_axes(tmp_path: Path) -> None:
    other = np.conj(np.roll(CLEAR.probe[::-1, ::-1], 1, axis=(0, 1)))
    report, dataset = searched(tmp_path, TurnedScan(CLEAR.counts, other, CLEAR.yx))
    assert dataset.metadata["orientation_search"]["flip_positions"] == "yx"
    assert any(line.startswith("orientation is relative to the probe") for line in report.assumed)


def test_positions_on_a_line_tie_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataContractError, match=r"2 orientations.*the positions lie on a line, so that these are the same"):
        searched(tmp_path, make_turned_scan(is_line=True))


def test_an_object_that_is_constant_along_an_axis_ties(tmp_path: Path) -> None:
    with pytest.raises(DataContractError, match=r"tied.*or an object that looks the same along an axis"):
        searched(tmp_path, make_turned_scan(kind="stripes"))


def test_hardly_a_photon(tmp_path: Path) -> None:
    words = r"no orientation of positions explains .* held-out photons of 49 .*: too few photons, too little overlap"
    with pytest.raises(DataContractError, match=words):
        searched(tmp_path, make_turned_scan(dose=10))


def test_too_few_photons_for_a_margin(tmp_path: Path) -> None:
    with pytest.raises(DataContractError, match=r"orientations of positions are tied.* 5% at 5 are needed.*too few photons"):
        searched(tmp_path, make_turned_scan(dose=100))


def test_too_few_patterns(tmp_path: Path) -> None:
    with pytest.raises(
        DataContractError, match=r"8 patterns with photons .* are too few .* needed are 12.*--find-orientation out"
    ):
        searched(tmp_path, make_turned_scan(n=8))


@briefly
def test_patterns_without_a_photon_are_no_witnesses(tmp_path: Path) -> None:
    dark = TurnedScan(CLEAR.counts * (np.arange(36) < 30)[:, None, None].astype(np.uint32), CLEAR.probe, CLEAR.yx)
    report, dataset = searched(tmp_path, dark, X_TURNED)
    assert_right(dataset, dark)
    assert any("of 30 neighbouring patterns" in fact for fact in report.found)


@pytest.mark.parametrize("error", [0.93, 1.07])
def test_a_wrong_scale_is_found_within_a_step_and_warned_of(tmp_path: Path, error: float) -> None:
    report, dataset = searched(tmp_path, LARGER, X_TURNED, scale=error)
    best = dataset.metadata["orientation_search"]["best_scale"]
    assert abs(best - 1 / error) <= SCALES[1] - SCALES[0]
    assert any(f"{best:g} is clearly the best" in line and f"--position-scale {best:g}" in line for line in report.assumed)
    np.testing.assert_allclose(np.ptp(dataset.positions_yx, axis=0), error * np.ptp(LARGER.yx, axis=0), atol=1e-9)


def test_the_right_scale_is_not_warned_of(tmp_path: Path) -> None:
    report, dataset = searched(tmp_path, LARGER)
    assert abs(dataset.metadata["orientation_search"]["best_scale"] - 1) <= SCALES[1] - SCALES[0]
    assert not any("scale" in line for line in report.assumed)


@briefly
def test_where_descents_are_short_the_scale_is_not_judged(tmp_path: Path) -> None:
    report, _ = searched(tmp_path, LARGER, scale=1.2)
    assert "position scale: too few photons to tell it, for they end a descent after 1 of 1 steps" in report.found
    assert not any("scale" in line for line in report.assumed)


def test_a_scale_beyond_what_is_tried_is_said_to_be(tmp_path: Path) -> None:
    report, _ = searched(tmp_path, LARGER, scale=1.2)
    assert any("0.9 or beyond is clearly the best" in line for line in report.assumed)


def test_position_scale_multiplies(tmp_path: Path) -> None:
    source = CLEAR.write(tmp_path / "scan.npz", scale=0.5)
    report = ingest(source, tmp_path / "out.npz", options=IngestOptions(dc="corner", position_scale=2.0))
    assert_right(read_dataset(tmp_path / "out.npz"), CLEAR)
    assert "positions are multiplied by 2, as the option says" in report.found


def test_an_object_that_is_kept_holds_the_axes(tmp_path: Path) -> None:
    with pytest.raises(DataContractError, match=r"--find-orientation may turn positions.*Leave one of the two out"):
        searched(tmp_path, CLEAR, keep_object=True)


def test_pixels_of_two_lengths_cannot_be_turned(tmp_path: Path) -> None:
    np.save(tmp_path / "counts.npy", np.pad(CLEAR.counts, ((0, 0), (0, 0), (8, 8))))
    np.save(tmp_path / "yx.npy", CLEAR.yx)
    said = {"position_unit": "px", "positions": str(tmp_path / "yx.npy"), "find_orientation": True, "patch_size_px": 32}
    with pytest.raises(DataContractError, match=r"patterns of 32 x 48 px have pixels of two lengths"):
        ingest(tmp_path / "counts.npy", tmp_path / "out.npz", options=IngestOptions(format="arrays", **said))


@briefly
def test_the_verb_needs_no_order_where_it_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, array in (("counts", CLEAR.counts), ("probe", CLEAR.probe), ("xy", CLEAR.yx[:, ::-1])):
        np.save(tmp_path / f"{name}.npy", array)
    flags = [
        f"--{name}={tmp_path / file}.npy" for name, file in (("patterns", "counts"), ("positions", "xy"), ("probe", "probe"))
    ]
    assert main([*flags, "--position-unit=px", "--dc=center", "--find-orientation", str(tmp_path / "out.npz")]) == 0
    assert_right(read_dataset(tmp_path / "out.npz"), CLEAR)
    assert "found: orientation: rows and columns swapped (--position-order xy --flip-positions none)" in capsys.readouterr().out


@pytest.mark.parametrize("scale", ["0", "-1", "inf", "nan"])
def test_a_scale_that_is_none(tmp_path: Path, scale: str) -> None:
    with pytest.raises(RequestError, match=rf"--position-scale is {scale}; allowed is a number above 0"):
        main([str(tmp_path / "scan.npz"), str(tmp_path / "out.npz"), f"--position-scale={scale}"])


@pytest.mark.real
@pytest.mark.skipif(not REAL_SCAN.exists(), reason=f"needs {REAL_SCAN}")
@pytest.mark.parametrize("flip", ["none", "yx"])
def test_the_measured_scan_is_turned_back(tmp_path: Path, flip: str) -> None:
    with np.load(_unpacked(tmp_path), allow_pickle=False) as arrays:
        signs = -1 if flip == "yx" else 1
        np.savez(tmp_path / "turned.npz", data=arrays["data"], probe=arrays["probe"], scan=signs * arrays["scan"][..., ::-1])
    report = ingest(tmp_path / "turned.npz", tmp_path / "out.npz", options=IngestOptions(patch_size_px=64, find_orientation=True))
    facts = read_dataset(tmp_path / "out.npz").metadata["orientation_search"]
    assert (facts["position_order"], facts["flip_positions"]) == ("xy", flip)
    assert min(facts["margins"].values()) > 0.15
    assert not any("scale" in line for line in report.assumed)


def _unpacked(folder: Path) -> Path:
    import bz2

    (folder / "scan.npz").write_bytes(bz2.decompress(REAL_SCAN.read_bytes()))
    return folder / "scan.npz"
