"""The report: everything that is known is in one file, text never becomes markup, and a reader with any eyes can use it."""

import base64
import csv
import io
import json
import re
import subprocess
import sys
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reported_study import LONG, MARKUP, facts_of, reported_study, succeed, write_reconstruction
from tiny_study import TinyStudy, tiny_study

from fly64_hpc import report
from fly64_hpc.errors import StudyDirectoryError
from fly64_hpc.report_page import charts, reconstructions, words
from fly64_hpc.report_page.costs import costs
from fly64_hpc.report_page.facts import StudyFacts
from fly64_hpc.report_page.failures import failures
from fly64_hpc.report_page.markup import VOID, Markup, tag
from fly64_hpc.report_page.page import page
from fly64_hpc.report_page.pictures import MOST_PX, UNSEEN, phase_limits, phase_picture, png, shrunk
from fly64_hpc.report_page.provenance import recorded_command
from ptycho_torch.errors import DataContractError
from ptycho_torch.npz_contract import read_reconstruction

ALLOWED = {
    *(
        "html",
        "head",
        "meta",
        "link",
        "title",
        "style",
        "script",
        "body",
        "header",
        "nav",
        "main",
        "section",
        "article",
        "footer",
    ),
    *("h1", "h2", "h3", "p", "ul", "ol", "li", "dl", "dt", "dd", "pre", "code", "a", "b", "span", "div"),
    *("table", "caption", "thead", "tbody", "tr", "th", "td", "figure", "figcaption", "img", "svg", "g", "path", "text"),
}


class Tree(HTMLParser):
    """The elements of a page with their attributes, and whether each end has its start."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.words.append(data)

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for element, attributes in self.elements if element == name]

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> StudyFacts:
    """A study with something of everything."""
    return facts_of(reported_study(tmp_path_factory.mktemp("reported") / "study"))


@pytest.fixture(scope="module")
def html(facts: StudyFacts) -> str:
    return page(facts)


@pytest.fixture(scope="module")
def tree(html: str) -> Tree:
    return Tree(html)


@pytest.fixture
def study(tmp_path: Path) -> TinyStudy:
    """A study of which nothing was submitted."""
    return tiny_study(tmp_path / "study")


def downloaded(tree: Tree, name: str) -> str:
    (link,) = (link for link in tree.all("a") if link.get("download") == name)
    return base64.b64decode(str(link["href"]).partition("base64,")[2]).decode()


def test_the_page_is_whole_and_names_nothing_outside_itself(tree: Tree, html: str) -> None:
    assert tree.open == []
    for _, attributes in tree.elements:
        assert not {"srcset", "data", "action"} & attributes.keys()
        for name in ("src", "href"):
            assert str(attributes.get(name, "#")).startswith(("#", "data:"))
    assert "url(" not in html
    assert "@import" not in html


def test_text_of_users_never_becomes_markup(tree: Tree, html: str) -> None:
    assert {name for name, _ in tree.elements} <= ALLOWED
    assert [name for name, _ in tree.elements].count("script") == 1
    assert not [name for _, attributes in tree.elements for name in attributes if name.startswith("on")]
    assert MARKUP in tree.text
    assert "<b>bold" not in html


def test_a_study_with_a_name_of_markup(facts: StudyFacts) -> None:
    design = facts.design.model_copy(update={"study": MARKUP})
    named = replace(facts, view=replace(facts.view, study=replace(facts.view.study, design=design)))
    found = Tree(page(named))
    assert {name for name, _ in found.elements} <= ALLOWED
    assert found.text.startswith(f"{MARKUP}: report")


@given(st.text())
def test_what_is_not_markup_comes_back_as_the_same_text(text: str) -> None:
    parsed = Tree(tag("p", text, title=text))
    assert "".join(parsed.words) == text.replace("\r\n", "\n") or "\r" in text or "\0" in text
    assert len(parsed.elements) == 1


def test_markup_goes_in_as_it_stands_and_nothing_leaves_nothing() -> None:
    assert tag("p", Markup("<b>a</b>"), None, ["<", tag("i")], hidden=True, id=None) == "<p hidden><b>a</b>&lt;<i></i></p>"


def test_landmarks_headings_and_tables_can_be_read_aloud(tree: Tree) -> None:
    names = [name for name, _ in tree.elements]
    assert [names.count(name) for name in ("header", "nav", "main", "footer", "h1")] == [1] * 5
    levels = [int(name[1]) for name in names if re.fullmatch(r"h\d", name)]
    assert all(after - before <= 1 for before, after in zip([0, *levels], levels, strict=False))
    assert names.count("caption") == names.count("table") > 4
    assert all(attributes.get("scope") in ("col", "row") for attributes in tree.all("th"))
    assert tree.all("html")[0]["lang"] == "en"
    ids = [attributes["id"] for _, attributes in tree.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {str(link["href"])[1:] for link in tree.all("a") if str(link["href"]).startswith("#")}
    labels = {attributes["aria-labelledby"] for _, attributes in tree.elements if "aria-labelledby" in attributes}
    assert targets | labels <= set(ids)


def test_every_picture_says_what_is_seen(tree: Tree) -> None:
    alts = [str(image["alt"]) for image in tree.all("img")]
    assert len(alts) == 2 * 3 + 1
    assert re.match(r"Colour bar of the phase, .*: −0\.\d\d rad to 0\.\d\d rad\.", alts[0])
    network = next(alt for alt in alts if "network alone" in alt)
    assert "1,000 photons a pattern, view baseline: mean phase error 0.100 rad" in network
    assert "90 % of the truth's contrast" in network
    assert all(chart["role"] == "img" for chart in tree.all("svg") if "viewbox" in chart and "aria-hidden" not in chart)


def test_causes_come_before_consequences_and_what_cost_most_jobs_first(facts: StudyFacts) -> None:
    root, most, least = failures(facts)
    assert root.is_root
    assert "dataset job of submission 2 failed" in root.title
    assert root.jobs == tuple(job.job_id for job in facts.jobs[5:7])
    assert (len(most.jobs), most.message) == (2, MARKUP)
    assert (len(least.jobs), least.message) == (1, LONG)


def test_a_job_that_began_is_no_consequence_of_a_dataset_job(facts: StudyFacts) -> None:
    (record,) = (job for job in facts.jobs if job.view.outcome.error is not None and job.job_id == facts.jobs[2].job_id)
    failed = facts.dataset_jobs[1].model_copy(update={"state": "failed", "error": "late"})
    found = failures(replace(facts, dataset_jobs={1: failed}))
    assert record.job_id not in [job for one in found if one.is_root for job in one.jobs]


def test_the_table_can_be_saved_with_all_its_digits(tree: Tree, facts: StudyFacts) -> None:
    rows = json.loads(downloaded(tree, "fly64_smoke-jobs.json"))
    lines = list(csv.DictReader(io.StringIO(downloaded(tree, "fly64_smoke-jobs.csv"))))
    assert [row["job_id"] for row in rows] == [line["job_id"] for line in lines] == [job.job_id for job in facts.jobs]
    assert rows[1]["refined_phase_mae_rad"] == 0.005
    assert float(lines[1]["network_phase_mae_rad"]) == 0.01
    assert rows[3]["state"] == "failed"
    assert MARKUP in lines[3]["state_reason"]


def test_gpu_hours_asked_are_gpus_times_limit_times_jobs(facts: StudyFacts) -> None:
    first, second = costs(facts)
    hours_each = first.asked_gpu_h / 5
    assert hours_each > 0
    assert second.asked_gpu_h == pytest.approx(2 * hours_each)
    assert first.used_gpu_h == 0


def test_a_study_of_which_nothing_was_submitted_says_so(study: TinyStudy) -> None:
    found = Tree(page(facts_of(study)))
    assert not found.all("img")
    for sentence in (
        "No job has succeeded yet",
        "No reconstruction is there yet",
        "No epoch has ended yet",
        "Nothing was submitted",
    ):
        assert sentence in found.text


def test_a_study_never_collected_is_reported_too(study: TinyStudy) -> None:
    succeed(study, 0)
    assert report.main(["--study-dir", str(study.paths.root)]) == 0
    assert "never: the facts above are of this machine" in Tree((study.paths.root / "report.html").read_text()).text


def test_without_a_truth_photons_say_how_good_it_is(study: TinyStudy) -> None:
    succeed(study, 0, with_truth=False)
    facts = facts_of(study)
    measured = facts.design.base.model_copy(update={"measured": Path("scan.npz"), "procedural": None})
    design = facts.design.model_copy(update={"base": measured})
    found = Tree(page(replace(facts, view=replace(facts.view, study=replace(facts.view.study, design=design)))))
    assert "Nobody knows the truth of a measured scan" in found.text
    assert "Held-out deviance by view" in found.text
    assert len(found.all("img")) == 3  # bar, network, refined


def test_several_seeds_give_a_mean_and_its_interval(facts: StudyFacts) -> None:
    seeds = [facts.jobs[0].view.job._replace(seed=seed) for seed in (0, 1)]
    first, second = (
        replace(job, view=job.view._replace(files=replace(job.view.files, job=seed)))
        for seed, job in zip(seeds, facts.jobs[:2], strict=True)
    )
    text = Tree(page(replace(facts, jobs=(first, second)))).text
    assert "0.0550 ± 0.57" in text
    assert "Of several seeds the first is shown" in text


def test_a_damaged_reconstruction_is_named_and_the_rest_is_shown(study: TinyStudy) -> None:
    succeed(study, 0)
    succeed(study, 1)
    (study.job(0).root / "reconstruction.npz").write_bytes(b"PK harmed")
    found = Tree(page(facts_of(study)))
    assert f"{study.ids[0]} cannot be shown" in found.text
    assert len(found.all("img")) == 4


def test_pictures_are_capped_and_the_page_says_so(facts: StudyFacts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconstructions, "MOST_CONDITIONS", 1)
    found = Tree(page(facts))
    assert len(found.all("img")) == 4
    assert "Of 2 conditions the first 1 are shown" in found.text


def test_a_comparison_is_shown_where_there_is_one(study: TinyStudy) -> None:
    study.paths.comparison.mkdir()
    text = (
        "method,view,dose_photons,half,n_seeds,nmse,nmse_ci95,missing\n"
        "rpie,dense,1000,unseen,2,0.01,0.002,\n"
        "rpie,dense,1000,training,2,0.02,,\n"
    )
    (study.paths.comparison / "comparison.csv").write_text(text)
    found = Tree(page(facts_of(study)))
    assert "Every method on the unseen half" in found.text
    assert "0.0100 ± 0.0020" in found.text
    assert "0.0200" not in found.text
    assert downloaded(found, "fly64_smoke-comparison.csv") == text


def test_the_file_goes_where_it_is_asked_for(study: TinyStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "new" / "a.html"
    assert report.main(["--study-dir", str(study.paths.root), "--output", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"report": str(file), "size_bytes": file.stat().st_size}


def test_a_folder_without_a_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyDirectoryError, match=r"study\.json is missing.*--study-dir"):
        report.main(["--study-dir", str(tmp_path)])


def test_a_report_needs_no_torch(tmp_path: Path) -> None:
    study = tiny_study(tmp_path / "study")
    succeed(study, 0)
    code = (
        "import sys; from fly64_hpc import report; report.main(sys.argv[1:]); "
        "sys.exit('torch' in sys.modules or 'submitit' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, "--study-dir", str(study.paths.root)], check=False).returncode == 0


def test_the_command_is_as_it_was_typed() -> None:
    made = {"provenance": {"command": ("python", "-m", "fly64_hpc.submit", "--set", "a=[1, 2]"), "folder": "/my study"}}
    assert recorded_command(made) == "cd '/my study'\npython -m fly64_hpc.submit --set 'a=[1, 2]'"
    assert recorded_command({"provenance": None}) is None


# Colours and pictures


def palettes() -> dict[str, dict[str, str]]:
    """The colours of the style sheet: light, dark and print."""
    blocks = re.findall(r":root \{(.*?)\}", (files("fly64_hpc.report_page") / "report.css").read_text(), re.DOTALL)
    light, dark, printed = (dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block)) for block in blocks)
    return {"light": light, "dark": dark, "print": printed}


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    channels = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_what_wcag_computes() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
@pytest.mark.parametrize("ground", ["paper", "panel"])
@pytest.mark.parametrize("colour", ["ink", "quiet", "link", "good", "bad", "open", "network", "refined"])
def test_text_and_lines_stand_out_from_their_ground(scheme: str, ground: str, colour: str) -> None:
    palette = palettes()[scheme]
    assert contrast(palette[colour], palette[ground]) >= 4.5


def test_the_style_sheet_has_no_colour_outside_its_palettes() -> None:
    text = (files("fly64_hpc.report_page") / "report.css").read_text()
    assert not re.findall(r"#[0-9a-f]{3,8}\b", re.sub(r":root \{.*?\}", "", text, flags=re.DOTALL))


def test_a_png_holds_its_indices() -> None:
    indices = np.arange(6, dtype=np.uint8).reshape(2, 3)
    content = png(indices)
    start = content.index(b"IDAT")
    length = int.from_bytes(content[start - 4 : start], "big")
    rows = np.frombuffer(zlib.decompress(content[start + 4 : start + 4 + length]), np.uint8).reshape(2, 4)
    np.testing.assert_array_equal(rows[:, 1:], indices)
    from matplotlib.image import imread

    assert imread(io.BytesIO(png(np.full((2, 2), UNSEEN, np.uint8))))[0, 0, 3] == 0


@given(st.integers(1, 90), st.integers(1, 90), st.integers(8, 40))
def test_a_shrunk_image_fits_and_keeps_a_flat_one(height: int, width: int, most_px: int) -> None:
    small = shrunk(np.full((height, width), 1 + 1j), most_px)
    assert max(small.shape) <= most_px
    np.testing.assert_allclose(small, 1 + 1j)


def test_the_largest_picture_has_a_bound() -> None:
    noise = np.exp(1j * np.random.default_rng(0).normal(size=(2000, 1500)))
    assert len(phase_picture(noise, (-1, 1), "noise")) < MOST_PX**2 * 4 / 3 + 3000


def test_limits_of_nothing_are_the_circle_and_of_a_flat_image_not_empty() -> None:
    assert phase_limits([]) == (-np.pi, np.pi)
    low, high = phase_limits([np.ones((3, 3), np.complex128)])
    assert low < 0 < high


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_round_few_and_inside(low: float, span: float) -> None:
    found = charts.ticks(low, low + span)
    assert len(found) <= 7
    assert all(low - 0.01 * span <= value <= low + 1.01 * span for value in found)


def test_a_chart_of_one_epoch_has_room() -> None:
    chart = charts.Chart("t", "d", "x", "y", (charts.Line("network", ((1.0, 2.0),)),))
    assert "nan" not in charts.figure(chart)


# What is read


def test_a_reconstruction_is_read_aligned_with_its_truth(tmp_path: Path) -> None:
    write_reconstruction(tmp_path / "a.npz")
    read = read_reconstruction(tmp_path / "a.npz")
    assert read.truth is not None
    assert list(read.images) == ["network", "refined"]
    for image in read.images.values():
        assert np.abs(np.angle(np.vdot(read.truth[read.seen], image[read.seen]))) < 0.01
    assert not read.images["network"][:2].any()
    rings = read.ring_correlation("refined")
    assert rings is not None
    assert rings[0].max() < 0.5
    assert rings[1].max() > 0.99


def test_without_a_truth_there_is_nothing_to_correlate_with(tmp_path: Path) -> None:
    write_reconstruction(tmp_path / "a.npz", with_truth=False)
    read = read_reconstruction(tmp_path / "a.npz")
    assert read.truth is None
    assert read.ring_correlation("network") is None


def test_a_reconstruction_that_lacks_an_array_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", object=np.ones((3, 3), np.complex64), box=np.array([0, 3, 0, 3]))
    with pytest.raises(DataContractError, match="has no array `weight`"):
        read_reconstruction(tmp_path / "a.npz")


# Words


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.0395, "0.0395"), (0, "0"), (1234.5, "1,234"), (-0.5, "−0.500"), (1e-7, "1.00 × 10⁻⁷"), (9.9996, "10.0"), (None, "–")],
)
def test_numbers(value: float | None, said: str) -> None:
    assert words.number(value) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(3.26, "3.3 s"), (42, "42 s"), (226, "3\xa0min 46\xa0s"), (7260, "2\xa0h 1\xa0min"), (90000, "1\xa0d 1\xa0h")],
)
def test_durations(seconds: float, said: str) -> None:
    assert words.duration(seconds) == said


@pytest.mark.parametrize(("size_bytes", "said"), [(12, "12 B"), (3800, "3.8 kB"), (8.9e6, "8.9 MB"), (2e9, "2.0 GB")])
def test_sizes(size_bytes: float, said: str) -> None:
    assert words.size(size_bytes) == said


def test_a_long_list_is_cut_and_says_by_how_much() -> None:
    assert words.listed("abcde", 2) == "a, b and 3 more"
