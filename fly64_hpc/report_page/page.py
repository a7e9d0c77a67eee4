"""The report as one HTML document: style and script are in it, and nothing is fetched from anywhere."""

import re
from importlib.resources import files

from fly64_hpc.report_page import words
from fly64_hpc.report_page.compared import compared_section
from fly64_hpc.report_page.conditions import conditions_section
from fly64_hpc.report_page.costs import costs_section
from fly64_hpc.report_page.curves import losses_section, rings_section
from fly64_hpc.report_page.facts import StudyFacts
from fly64_hpc.report_page.failures import failures, failures_section
from fly64_hpc.report_page.files import files_section
from fly64_hpc.report_page.markup import Markup, paragraph, tag
from fly64_hpc.report_page.provenance import provenance_section
from fly64_hpc.report_page.reconstructions import pictured, reconstructions_section
from fly64_hpc.report_page.summary import design, result, standing

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
"""What a browser may load for the page: nothing but what is in it."""
_HEADING = re.compile(r'<h2 id="([a-z]+)-heading">([^<]*)</h2>')


def page(facts: StudyFacts) -> str:
    """The whole document."""
    sections = _sections(facts)
    title = f"{facts.design.study}: report"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="color-scheme", content="light dark"),
        tag("link", rel="icon", href="data:,"),
        tag("title", title),
        tag("style", _asset("report.css")),
    )
    body = tag(
        "body",
        tag("a", "Skip to the report", href="#main", class_="skip"),
        _header(facts),
        _contents(sections),
        tag("main", *sections, id="main", tabindex="-1"),
        tag("footer", paragraph(f"Made by fly64-hpc on {words.time(facts.made_utc)}. This file needs no network and no server.")),
        tag("p", "", id="said", class_="unseen", role="status"),
        tag("script", _asset("report.js")),
    )
    return "<!doctype html>\n" + tag("html", head, body, lang="en") + "\n"


def _sections(facts: StudyFacts) -> list[Markup]:
    found, note = pictured(facts)
    went_wrong = failures(facts)
    failed = failures_section(facts, went_wrong)
    every = [
        failed if went_wrong else None,
        result(facts),
        design(facts),
        reconstructions_section(facts, found, note),
        rings_section(found, is_measured=facts.is_measured),
        conditions_section(facts),
        losses_section(facts),
        compared_section(facts),
        None if went_wrong else failed,
        costs_section(facts),
        provenance_section(facts),
        files_section(facts),
    ]
    return [one for one in every if one is not None]


def _header(facts: StudyFacts) -> Markup:
    seeds = " with several seeds" if facts.several_seeds else ""
    scan = "a measured scan" if facts.is_measured else "a simulated scan"
    views, doses = len(facts.design.design.views), len(facts.design.design.doses_photons)
    what = f"Networks for ptychography on {scan}: {words.count(doses, 'dose')}, {words.count(views, 'view')}{seeds}."
    return tag(
        "header",
        tag("h1", facts.design.study),
        paragraph(what, class_="subtitle"),
        standing(facts),
    )


def _contents(sections: list[Markup]) -> Markup:
    found = (match for one in sections if (match := _HEADING.search(one)))
    links = (tag("li", tag("a", Markup(match[2]), href=f"#{match[1]}")) for match in found)
    return tag("nav", tag("ul", *links), aria_label="Contents")


def _asset(name: str) -> Markup:
    return Markup((files("fly64_hpc.report_page") / name).read_text())
