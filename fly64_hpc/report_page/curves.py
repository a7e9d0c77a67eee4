"""Curves: how the losses fell in both lessons, and up to which detail an image agrees with the truth."""

from typing import Any

from fly64_hpc.history import epochs_so_far
from fly64_hpc.report_page import words
from fly64_hpc.report_page.charts import Chart, Line, figure, legend
from fly64_hpc.report_page.facts import METHODS, ConditionFacts, StudyFacts, shown
from fly64_hpc.report_page.markup import Markup, paragraph, section, tag
from fly64_hpc.report_page.reconstructions import Pictured

MOST_CHARTS = 36
MOST_SEEDS = 8
"""Lines of one kind in a chart."""
LESSONS = ("network", "refiner")
LOSSES = {"train_loss": "training", "val_loss": "validation"}
CROSSING_LEVEL = 0.5
NYQUIST_CYCLES_PER_PX = 0.5


def losses_section(facts: StudyFacts) -> Markup:
    """A chart of each condition: both lessons, training and validation loss."""
    histories = [(one, histories) for one in facts.conditions if (histories := _histories(one))]
    if not histories:
        return section("losses", "Loss curves", paragraph("No epoch has ended yet."))
    chosen, more = shown(histories, MOST_CHARTS, "conditions")
    seeds = f" Each seed has a line of its own, up to {MOST_SEEDS}." if facts.several_seeds else ""
    lead = "The network learns first, its refiner after it, on another task: the two losses are not to be compared." + seeds
    names = [(f"{lesson} {loss}", f"{lesson}, {name}") for lesson in _lessons(histories) for loss, name in LOSSES.items()]
    return section(
        "losses",
        "Loss curves",
        paragraph(lead, class_="lead"),
        paragraph(more) if more else None,
        legend(names),
        tag("div", *(figure(_loss_chart(condition, rows)) for condition, rows in chosen), class_="charts"),
    )


def rings_section(found: list[Pictured], *, is_measured: bool) -> Markup:
    """Fourier ring correlation with the truth, a chart of each condition."""
    charts = [chart for one in found if (chart := _ring_chart(one)) is not None]
    heading = "Fourier ring correlation"
    if not charts:
        why = "Nobody knows the truth of a measured scan, so there is nothing to correlate with." if is_measured else None
        return section("frc", heading, paragraph(why or "No reconstruction is there yet to correlate with the truth."))
    lead = (
        "Up to which spatial frequency an image agrees with the truth: it does where the curve is above 0.5, "
        "the dotted line. 0.5 cycles a pixel is Nyquist, the finest detail that pixels can hold."
    )
    names = [(f"ring {method}", name) for method, name in METHODS.items()]
    return section(
        "frc", heading, paragraph(lead, class_="lead"), legend(names), tag("div", *map(figure, charts), class_="charts")
    )


def _histories(condition: ConditionFacts) -> list[list[dict[str, Any]]]:
    histories = [_whole(epochs_so_far(job.view.paths)) for job in condition.jobs[:MOST_SEEDS]]
    return [rows for rows in histories if rows]


def _whole(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The epochs that have all that is drawn."""
    return [row for row in rows if "epoch" in row and any(loss in row for loss in LOSSES)]


def _lesson(row: dict[str, Any]) -> str:
    return str(row.get("lesson", LESSONS[0]))


def _lessons(histories: list[tuple[ConditionFacts, list[list[dict[str, Any]]]]]) -> list[str]:
    known = {_lesson(row) for _, runs in histories for rows in runs for row in rows}
    return [lesson for lesson in LESSONS if lesson in known]


def _loss_chart(condition: ConditionFacts, histories: list[list[dict[str, Any]]]) -> Chart:
    lines, bands, said = [], [], []
    for lesson in LESSONS:
        runs = [[row for row in rows if _lesson(row) == lesson] for rows in histories]
        epochs = [row["epoch"] for rows in runs for row in rows]
        if not epochs:
            continue
        bands.append((float(min(epochs)), float(max(epochs)), lesson))
        said.append(_fall(lesson, runs))
        for loss in LOSSES:
            drawn = [tuple((float(row["epoch"]), float(row[loss])) for row in rows if row.get(loss) is not None) for rows in runs]
            lines += [Line(f"{lesson} {loss}", points) for points in drawn]
    return Chart(
        title=condition.heading,
        description="Loss over epochs: " + "; ".join(said) + ".",
        x_label="epoch",
        y_label="loss",
        lines=tuple(lines),
        bands=tuple(bands) if len(bands) > 1 else (),
    )


def _fall(lesson: str, runs: list[list[dict[str, Any]]]) -> str:
    rows = next(rows for rows in runs if rows)
    has_validation = all(rows[index].get("val_loss") is not None for index in (0, -1))
    name = "val_loss" if has_validation else "train_loss"
    first, last = (words.number(rows[index].get(name), 4) for index in (0, -1))
    return f"{lesson}, {LOSSES[name]} loss from {first} to {last} in {words.count(len(rows), 'epoch')}"


def _ring_chart(one: Pictured) -> Chart | None:
    lines, said = [], []
    for method in one.images.images:
        rings = one.images.ring_correlation(method)
        if rings is None:
            return None
        lines.append(Line(f"ring {method}", tuple(zip(*(values.tolist() for values in rings), strict=True))))
        crossing = one.job.figure(method, "frc_crossing_cycles_per_px")
        said.append(f"{METHODS[method]} agrees up to {words.number(crossing)} cycles a pixel")
    return Chart(
        title=one.condition.heading,
        description="Fourier ring correlation with the truth: " + "; ".join(said) + ".",
        x_label="spatial frequency [cycles / px]",
        y_label="correlation",
        lines=tuple(lines),
        x_range=(0.0, NYQUIST_CYCLES_PER_PX),
        y_range=(min(0.0, *(y for line in lines for _, y in line.points)), 1.02),
        level=CROSSING_LEVEL,
    )
