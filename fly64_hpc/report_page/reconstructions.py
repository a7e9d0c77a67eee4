"""What the networks made of the unseen half, beside the truth, each with words for those who cannot see it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fly64_hpc.report_page import words
from fly64_hpc.report_page.facts import METHODS, ConditionFacts, Job, StudyFacts, shown
from fly64_hpc.report_page.markup import Markup, paragraph, section, tag
from fly64_hpc.report_page.pictures import MOST_PX, Limits, colour_bar, phase_limits, phase_picture
from ptycho_torch.npz_contract import DataContractError, StoredReconstruction, read_reconstruction

MOST_CONDITIONS = 18
"""Of which pictures are shown: three pictures each."""
MAKERS = {"network": "network alone", "refined": "refined network"}
"""Of an image, in the words that stand for it."""


@dataclass(frozen=True)
class Pictured:
    """A condition with the images of its first seed that has any."""

    condition: ConditionFacts
    job: Job
    images: StoredReconstruction


def pictured(facts: StudyFacts) -> tuple[list[Pictured], str]:
    """The conditions whose images can be shown, and a sentence on those that cannot: too many, or damaged."""
    firsts = [(one, *first) for one in facts.conditions if (first := _first(one)) is not None]
    chosen, more = shown(firsts, MOST_CONDITIONS, "conditions")
    found, damaged = [], []
    for condition, job, file in chosen:
        try:
            found.append(Pictured(condition, job, read_reconstruction(file)))
        except DataContractError as error:
            damaged.append(f"{job.job_id} cannot be shown: {error}")
    return found, " ".join([*([more] if more else []), *damaged])


def reconstructions_section(facts: StudyFacts, found: list[Pictured], note: str) -> Markup:
    """Truth, network and refined side by side, in the colours of one bar."""
    if not found:
        nothing = "No reconstruction is there yet: they come with the first job that succeeds."
        return section("reconstructions", "Reconstructions", paragraph(note or nothing))
    truths = [one.images.truth for one in found if one.images.truth is not None]
    limits = phase_limits(truths or [image for one in found for image in one.images.images.values()])
    seeds = " Of several seeds the first is shown." if facts.several_seeds else ""
    lead = (
        f"Phase of the half that no network was trained on; global phase and ramp taken out.{seeds} "
        f"Images of more than {MOST_PX} pixels a side are averaged down to that; figures are of the full images."
    )
    return section(
        "reconstructions",
        "Reconstructions",
        paragraph(lead, class_="lead"),
        paragraph(note) if note else None,
        colour_bar(limits),
        *(_row(one, limits) for one in found),
    )


def _first(condition: ConditionFacts) -> tuple[Job, Path] | None:
    return next(((job, file) for job in condition.jobs if (file := job.reconstruction) is not None), None)


def _row(one: Pictured, limits: Limits) -> Markup:
    truth = one.images.truth
    place = f"{words.dose_in_words(one.condition.condition.dose_photons)}, view {one.condition.condition.words}"
    panels = [] if truth is None else [_panel("truth", "", phase_picture(truth, limits, _truth_words(truth)))]
    for method, image in one.images.images.items():
        alt = f"Phase by the {MAKERS[method]}, {place}: {_words(one, method, image)}"
        panels.append(_panel(METHODS[method], _error(one.job, method), phase_picture(image, limits, alt)))
    return tag("div", tag("h3", place[0].upper() + place[1:]), tag("div", *panels, class_="beside"), class_="condition")


def _panel(name: str, error: str, picture: Markup) -> Markup:
    caption = tag("figcaption", tag("b", name), f" {error}" if error else None)
    return tag("figure", picture, caption, class_="picture")


def _error(job: Job, method: str) -> str:
    error = job.figure(method, "phase_mae_rad")
    return "" if error is None else f"{words.number(error)} rad"


def _truth_words(truth: npt.NDArray[np.complex128]) -> str:
    return f"Phase of the truth, {truth.shape[1]} by {truth.shape[0]} pixels, {_span(truth)}."


def _span(image: npt.NDArray[np.complex128]) -> str:
    low, high = phase_limits([image])
    return f"from {words.radians(low)} to {words.radians(high)}"


def _words(one: Pictured, method: str, image: npt.NDArray[np.complex128]) -> str:
    """What a sighted person would see: how far it is from the truth, in error, contrast and likeness."""
    job = one.job
    error = job.figure(method, "phase_mae_rad")
    contrast, likeness = job.figure(method, "phase_std_ratio"), job.figure(method, "phase_correlation")
    said = [f"{_span(image)}"]
    if error is not None:
        said.insert(0, f"mean phase error {words.number(error)} rad")
    if contrast is not None and likeness is not None:
        said.append(f"{100 * contrast:.0f} % of the truth's contrast, correlation with the truth {likeness:.2f}")
    if method == "network" and job.collapse_reason is not None:
        said.append(f"collapsed, {job.collapse_reason}")
    return "; ".join(said) + "."
