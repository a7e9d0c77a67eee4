"""The head of the report: what was studied, how it stands, and the result in one small table."""

from collections import Counter
from collections.abc import Sequence

from fly64_hpc.comparison_table import Mean, mean_of
from fly64_hpc.job_state import JobState
from fly64_hpc.report_page import words
from fly64_hpc.report_page.facts import METHODS, ConditionFacts, StudyFacts, shown
from fly64_hpc.report_page.markup import Child, Markup, definitions, paragraph, section, tag
from fly64_hpc.report_page.tables import scrolling
from fly64_hpc.sweep import SweepAxis
from ptycho_torch.config import ViewConfig

MOST_LINES = 200
"""Of views and values of the sweep in the table of results."""
GOOD, BAD, OPEN = "good", "bad", "open"


def state_badge(state: JobState) -> Markup:
    """A state in its colour; the word says it all."""
    kind = GOOD if state is JobState.SUCCEEDED else BAD if state.is_bad else OPEN
    return tag("span", state.value.replace("_", " "), class_=f"state {kind}")


def standing(facts: StudyFacts) -> Markup:
    """How many jobs are in which state."""
    counts = Counter(job.state for job in facts.jobs)
    items = (tag("li", tag("b", f"{counts[state]:,}"), " ", state_badge(state)) for state in JobState if counts[state])
    return tag("ul", *items, class_="standing", aria_label=f"States of {words.count(len(facts.jobs), 'job')}")


def result(facts: StudyFacts) -> Markup:
    """Phase error, or without a truth the deviance of held-out photons, by view and dose."""
    name, what = ("held_out_deviance", "Held-out deviance") if facts.is_measured else ("phase_mae_rad", "Phase error [rad]")
    methods = [method for method in METHODS if any(job.figure(method, name) is not None for job in facts.jobs)]
    if not methods:
        return section("result", "Result", paragraph("No job has succeeded yet, so there is no result to show."))
    return section("result", "Result", paragraph(_meaning(facts), class_="lead"), _matrix(facts, name, what, methods))


def _meaning(facts: StudyFacts) -> str:
    interval = " With several seeds: the mean, and ± half the width of its 95 % interval." if facts.several_seeds else ""
    if facts.is_measured:
        return (
            "How well held-out photons of the unseen half agree with the reconstruction: Poisson deviance a photon, less is "
            "better. Nobody knows the true object." + interval
        )
    return (
        "Mean absolute error of the phase on the half of the object that no network was trained on, "
        "after a global phase and a ramp were taken out. Less is better." + interval
    )


def _matrix(facts: StudyFacts, name: str, what: str, methods: Sequence[str]) -> Markup:
    conditions = {(one.condition.dose_photons, one.condition.words): one for one in facts.conditions}
    doses = list(dict.fromkeys(dose for dose, _ in conditions))
    views, more = shown(list(dict.fromkeys(view for _, view in conditions)), MOST_LINES, "views and values of the sweep")
    head = tag("tr", tag("th", "view", scope="col"), tag("th", "method", scope="col"), *map(_dose_heading, doses))
    lines = [
        tag(
            "tr",
            tag("th", view, scope="row", rowspan=len(methods)) if method == methods[0] else None,
            tag("th", METHODS[method], scope="row", class_="method"),
            *(tag("td", _figure(conditions.get((dose, view)), method, name), class_="number") for dose in doses),
        )
        for view in views
        for method in methods
    ]
    caption = tag("caption", f"{what} by view, method and photons a pattern", id="result-caption")
    table = tag("table", caption, tag("thead", head), tag("tbody", *lines), class_="matrix")
    return Markup(f"{paragraph(more) if more else ''}{scrolling('result-caption', table)}")


def _dose_heading(dose: float) -> Markup:
    return tag("th", words.dose(dose), scope="col", class_="number")


def _figure(condition: ConditionFacts | None, method: str, name: str) -> Child:
    values = [] if condition is None else [job.figure(method, name) for job in condition.jobs]
    mean = mean_of([value for value in values if value is not None])
    if mean is None:
        return words.MISSING
    incomplete = f" ({sum(value is not None for value in values)} of {len(values)} seeds)" if None in values else ""
    return f"{mean_words(mean)}{incomplete}"


def mean_words(mean: Mean) -> str:
    """A mean with the half-width of its interval, where it has one."""
    return words.number(mean.value) + (f" ± {words.number(mean.half_width, 2)}" if mean.half_width is not None else "")


def design(facts: StudyFacts) -> Markup:
    """The study and its axes."""
    study = facts.design
    seeds = study.design.seeds
    training = seeds.training if isinstance(seeds.training, tuple) else (seeds.training,)
    pairs: list[tuple[str, Child]] = [
        ("object and probe", _base(facts)),
        ("doses", f"{words.listed(words.dose(dose) for dose in sorted(study.design.doses_photons))} photons a pattern"),
        ("patterns", _patterns(facts)),
        ("network", f"{study.training.architecture}, {study.training.epochs} epochs" + _refiner(facts)),
        (
            "seeds",
            f"training {words.listed(str(seed) for seed in training)}; simulation {seeds.simulation}, "
            f"grouping {seeds.grouping}, subsampling {seeds.subsampling}",
        ),
        *((f"sweep, {axis.name}", _swept(axis)) for axis in (facts.design.sweep.directions if facts.design.sweep else ())),
        ("jobs", _jobs(facts)),
    ]
    return section("study", "Study", definitions(pairs), _views(facts))


def _jobs(facts: StudyFacts) -> str:
    """How many there are, and of which axes they are the product."""
    axes = ["every view", *(f"every {axis}" for axis in facts.sweep_axes), *(["every seed"] if facts.several_seeds else [])]
    left_out = facts.design.sweep.exclude if facts.design.sweep is not None else ()
    but = f", but for {words.count(len(left_out), 'exclusion')}" if left_out else ""
    return f"{len(facts.jobs):,}: every dose with " + " and ".join(axes) + but


def _swept(axis: SweepAxis) -> str:
    """The keys of an axis and what its values are called."""
    return f"{', '.join(axis.keys)}: {words.listed(axis.labels)}"


def _base(facts: StudyFacts) -> str:
    if facts.design.sweep is not None and any(key.startswith("base.") for key in facts.design.sweep.swept_keys):
        return "as the sweep says"
    base = facts.design.base
    if base.procedural is not None:
        return f"made here: {base.procedural.object.replace('_', ' ')}, {base.procedural.probe.replace('_', ' ')} probe"
    return f"measured scan {base.measured}" if base.measured is not None else f"from {base.npz}"


def _patterns(facts: StudyFacts) -> str:
    side = facts.design.design.patch_size_px
    scan = (
        "as measured"
        if facts.is_measured
        else f"{facts.design.scan.positions:,} positions, {facts.design.scan.pattern.replace('_', ' ')}"
    )
    return f"{side} × {side} pixels, {scan}"


def _refiner(facts: StudyFacts) -> str:
    refiner = facts.design.training.refiner
    return "" if refiner is None else f"; then its refiner, {refiner.epochs} epochs"


def _views(facts: StudyFacts) -> Markup:
    head = tag("tr", *(tag("th", name, scope="col") for name in ("view", "patterns used", "patterns a group", "nominal overlap")))
    lines = (_view(name, view) for name, view in facts.design.design.views.items())
    caption = tag("caption", "Views of the scan", id="views-caption")
    return scrolling("views-caption", tag("table", caption, tag("thead", head), tag("tbody", *lines), class_="plain"))


def _view(name: str, view: ViewConfig) -> Markup:
    overlap = words.MISSING if view.nominal_overlap is None else f"{100 * view.nominal_overlap:.0f} %"
    cells = (f"{100 * view.image_fraction:.3g} %", str(view.gridsize**2), overlap)
    return tag("tr", tag("th", name, scope="row"), *(tag("td", cell) for cell in cells))
