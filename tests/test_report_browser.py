"""The report in a real browser: no complaint, every image, tables sorted by mouse and keyboard, and it fits a phone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import CHROMIUM, Browser, browser
from reported_study import facts_of, reported_study

from fly64_hpc.report_page.page import page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed; Debian's package `chromium` has it"),
]

COLUMN = "Array.from(document.querySelectorAll('#jobs tbody tr'), row => row.cells[{}].textContent)"
HEADING = "document.querySelector('#jobs thead th:nth-child({})')"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests."""
    with browser(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where the report of a study with something of everything lies."""
    folder = tmp_path_factory.mktemp("reported")
    file: Path = folder / "report.html"
    file.write_text(page(facts_of(reported_study(folder / "study"))))
    return file.as_uri()


@pytest.fixture
def opened(chromium: Browser, address: str) -> Browser:
    """The report, opened anew on a desktop."""
    chromium.events.clear()
    chromium.emulate()
    chromium.resize(1200)
    chromium.open(address)
    return chromium


def column(opened: Browser, heading: str) -> tuple[int, list[str]]:
    """The number of a column of the jobs' table, from 1, and its cells from above."""
    headings = opened.run("Array.from(document.querySelectorAll('#jobs thead th'), cell => cell.textContent)")
    number = headings.index(heading) + 1
    cells: list[str] = opened.run(COLUMN.format(number - 1))
    return number, cells


def test_the_console_is_silent_and_nothing_is_fetched(opened: Browser, address: str) -> None:
    assert opened.complaints() == []
    requests = [event["params"]["request"]["url"] for event in opened.events if event["method"] == "Network.requestWillBeSent"]
    assert [url for url in requests if not url.startswith("data:")] == [address]


def test_a_browser_sees_what_this_test_looks_for(opened: Browser) -> None:
    opened.run("console.error('a complaint'); new Image().src = 'https://example.org/a.png'; 0")
    opened.run("new Promise(done => setTimeout(done, 200))")
    assert {"Runtime.consoleAPICalled", "Log.entryAdded"} <= {event["method"] for event in opened.complaints()}


def test_every_image_is_shown(opened: Browser) -> None:
    images = opened.run("Array.from(document.images, one => [one.complete, one.naturalWidth, one.clientWidth, one.clientHeight])")
    assert len(images) == 7
    assert all(complete and natural > 0 and width > 100 and height > 5 for complete, natural, width, height in images)


def test_every_line_of_every_chart_is_drawn_inside_it(opened: Browser) -> None:
    boxes = opened.run("Array.from(document.querySelectorAll('.chart svg .line'), line => { const box = line.getBBox();"
                       " return [box.x, box.y, box.x + box.width, box.y + box.height]; })")  # fmt: skip
    assert len(boxes) == 2 * (4 + 2)
    assert all(0 <= left < right <= 300 and 0 <= top <= bottom <= 190 for left, top, right, bottom in boxes)


def test_a_click_on_a_heading_sorts_and_another_turns_round(opened: Browser) -> None:
    number, before = column(opened, "phase error, network [rad]")
    button = f"{HEADING.format(number)}.querySelector('button').click()"
    opened.run(button)
    assert opened.run(f"{HEADING.format(number)}.getAttribute('aria-sort')") == "ascending"
    assert column(opened, "phase error, network [rad]")[1][:3] == ["0.0100", "0.100", "–"]
    opened.run(button)
    assert opened.run(f"{HEADING.format(number)}.getAttribute('aria-sort')") == "descending"
    after = column(opened, "phase error, network [rad]")[1]
    assert after[:3] == ["0.100", "0.0100", "–"]  # what is missing stays at the end
    assert sorted(after) == sorted(before)
    assert opened.run("document.getElementById('said').textContent") == "Sorted by phase error, network [rad], descending"


def test_doses_are_sorted_as_numbers(opened: Browser) -> None:
    number, cells = column(opened, "photons")
    opened.run(f"{HEADING.format(number)}.querySelector('button').click()")
    doses = [float(cell.replace(",", "")) for cell in column(opened, "photons")[1]]
    assert doses == sorted(doses)
    assert len(doses) == len(cells) == 9


def test_the_keyboard_reaches_the_report_and_sorts_its_tables(opened: Browser) -> None:
    opened.press("Tab")
    assert opened.run("document.activeElement.textContent") == "Skip to the report"
    assert opened.run("document.activeElement.getBoundingClientRect().left") >= 0
    for _ in range(80):
        opened.press("Tab")
        if opened.run("document.activeElement.matches('#jobs thead button')"):
            break
    assert opened.run("document.activeElement.textContent") == "job"
    assert opened.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    opened.press("Enter")
    assert opened.run(f"{HEADING.format(1)}.getAttribute('aria-sort')") == "ascending"


@pytest.mark.parametrize("width_px", [320, 390, 768, 1200])
def test_the_page_never_scrolls_sideways(opened: Browser, width_px: int) -> None:
    opened.resize(width_px)
    assert opened.run("document.documentElement.scrollWidth") <= width_px
    outside = "[...document.querySelectorAll('main *')].filter(one => !one.closest('.scroll, svg, pre'))"
    wide = opened.run(f"{outside}.filter(one => one.getBoundingClientRect().right > {width_px} + 1).map(one => one.tagName)")
    assert wide == []


@pytest.mark.parametrize(("scheme", "paper"), [("light", "rgb(253, 253, 251)"), ("dark", "rgb(20, 23, 26)")])
def test_the_page_follows_light_and_dark(opened: Browser, scheme: str, paper: str) -> None:
    opened.emulate(scheme=scheme)
    assert opened.run("getComputedStyle(document.body).backgroundColor") == paper


def test_print_is_black_on_white_without_what_cannot_be_clicked(opened: Browser) -> None:
    opened.emulate(scheme="dark", medium="print")
    assert opened.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert opened.run("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    hidden = "Array.from(document.querySelectorAll('nav, .downloads'), one => getComputedStyle(one).display)"
    assert set(opened.run(hidden)) == {"none"}


def test_a_screen_reader_is_told_names_of_landmarks_tables_and_charts(opened: Browser) -> None:
    opened.call("Accessibility.enable")
    nodes = opened.call("Accessibility.getFullAXTree")["nodes"]
    named = {(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]}
    assert ("navigation", "Contents") in named
    assert ("table", "Every job of the study with its figures on the unseen half") in named
    roles = {"image", "img", "table", "region", "link", "button", "heading"}
    assert [pair for pair in named if pair[0] in roles and not pair[1]] == []
    assert any(role in ("image", "img") and name.startswith("1,000 photons, baseline. Loss over epochs") for role, name in named)
