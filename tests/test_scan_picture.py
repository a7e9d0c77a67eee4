"""`ingest` leaves a picture beside the scan: pattern, probe and positions, in metres where they are known."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from small_reconstruction import GEOMETRY, N, small_scan
from turned_scan import make_turned_scan

from fly64_hpc.errors import RequestError
from fly64_hpc.ingest import main
from ptycho_torch.dense_neighbourhood import median_step_px, probe_diameter_px
from ptycho_torch.npz_contract import PtychoDataset, write_dataset
from ptycho_torch.scan_picture import draw_scan, mean_pattern, scan_figure


def words(dataset: PtychoDataset) -> list[str]:
    """Titles and labels of all panels, those of colour bars too."""
    panels = scan_figure(dataset, "scan.npz").axes
    return [text for panel in panels for text in (panel.get_title(), panel.get_xlabel(), panel.get_ylabel()) if text]


def test_the_verb_says_where_its_picture_lies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = make_turned_scan().write(tmp_path / "tike.npz"), tmp_path / "my-scan.npz"
    assert main([str(source), str(target)]) == 0
    assert f"picture: {tmp_path / 'my-scan.png'}: look whether" in capsys.readouterr().out
    assert main([str(source), str(target), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["picture"] == str(tmp_path / "my-scan.png")
    assert imread(tmp_path / "my-scan.png").shape[:2] == (680, 800)


def test_a_target_that_is_named_like_a_picture_is_refused(tmp_path: Path) -> None:
    source = make_turned_scan().write(tmp_path / "tike.npz")
    with pytest.raises(RequestError, match=r"scan\.png is a name for a picture, and one is written beside .* Name an \.npz"):
        main([str(source), str(tmp_path / "scan.png")])


def test_the_same_scan_gives_the_same_bytes_and_replaces_what_is_there(tmp_path: Path) -> None:
    write_dataset(tmp_path / "scan.npz", small_scan())
    first = draw_scan(tmp_path / "scan.npz").read_bytes()
    (tmp_path / "scan.png").write_bytes(b"an older one")
    assert draw_scan(tmp_path / "scan.npz").read_bytes() == first


def test_the_mean_pattern_is_that_of_the_counts() -> None:
    scan = small_scan()
    np.testing.assert_allclose(mean_pattern(scan), scan.counts().mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(4 * mean_pattern(replace(scan, intensity_scale=None)), mean_pattern(scan), rtol=1e-12)


def test_lengths_are_metres_where_they_are_known_and_else_pixels() -> None:
    scan, pixel_um = small_scan(), 1e6 * (GEOMETRY.pixel_size_m(N) or 0)
    step_px, width_px = median_step_px(scan.positions_yx) or 0, probe_diameter_px(scan.probe_guess)
    known = words(scan)
    assert {"from the zero frequency [mm]", "x [µm]", "y [µm]", "photons per pixel", "order"} <= set(known)
    assert f"steps {step_px * pixel_um:.3g}, beam {width_px * pixel_um:.3g} µm" in known
    unknown = words(small_scan(geometry=None, intensity_scale=None))
    assert {"from the zero frequency [px]", "x [px]", "y [px]", "intensity, relative"} <= set(unknown)
    assert f"steps {step_px:.3g}, beam {width_px:.3g} px" in unknown


def test_the_disc_is_the_beam_at_its_first_place() -> None:
    scan = small_scan(geometry=None)
    (disc,) = scan_figure(scan, "scan.npz").axes[1].patches
    assert disc.center == (scan.xcoords[0], scan.ycoords[0])
    assert 2 * disc.radius == pytest.approx(probe_diameter_px(scan.probe_guess))


@pytest.mark.parametrize(
    "scan",
    [
        small_scan(n=1),
        replace(small_scan(), diffraction=np.full((12, N, N), 3.3, np.float32)),
    ],
    ids=["one pattern", "one brightness"],
)
def test_a_scan_of_nearly_nothing_is_drawn_too(tmp_path: Path, scan: PtychoDataset) -> None:
    write_dataset(tmp_path / "scan.npz", scan)
    assert imread(draw_scan(tmp_path / "scan.npz")).size
