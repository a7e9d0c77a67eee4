"""Line charts as inline SVG, drawn in the colours of the style sheet so that they follow light, dark and print."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fly64_hpc.report_page.markup import Markup, tag

WIDTH, HEIGHT = 300.0, 190.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 8.0, 16.0, 34.0
TICKS = 5
MOST_POINTS = 240
"""Of a line: of a longer one every second, third, ... point is drawn, and the last."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """One line of a chart."""

    style: str
    """A class of the style sheet, which gives colour and dashes."""
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Chart:
    """A chart and the sentence that stands for it where it cannot be seen."""

    title: str
    description: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    level: float | None = None
    """A height at which a thin line is drawn."""
    bands: tuple[tuple[float, float, str], ...] = ()
    """Stretches of the x axis with a name: from, to, name."""


@dataclass(frozen=True)
class _Scale:
    """From data to the picture, along one axis."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def figure(chart: Chart) -> Markup:
    """A chart under its title."""
    return tag("figure", tag("figcaption", chart.title), _svg(chart), class_="chart")


def legend(entries: Iterable[tuple[str, str]]) -> Markup:
    """Which style means what: a class of the style sheet, and its name."""
    swatches = (
        tag(
            "li",
            tag(
                "svg", tag("path", d="M0 5H28", class_=f"line {style}"), viewBox="0 0 28 10", class_="swatch", aria_hidden="true"
            ),
            name,
        )
        for style, name in entries
    )
    return tag("ul", *swatches, class_="legend")


def ticks(low: float, high: float) -> list[float]:
    """Round numbers between two others, about five of them."""
    rough = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 12) for index in range(first, math.floor(high / step + 1e-9) + 1)]


def _marks(scale: _Scale) -> list[tuple[float, str]]:
    """Where an axis has its ticks, and what stands there: all with as many decimals as the finest needs."""
    values = ticks(scale.low, scale.high)
    decimals = max((len(f"{value:.10f}".rstrip("0").partition(".")[2]) for value in values), default=0)
    return [(value, f"{value:,.{decimals}f}".replace("-", "−")) for value in values]


def _svg(chart: Chart) -> Markup:
    x_low, x_high = chart.x_range or _spread([x for line in chart.lines for x, _ in line.points])
    y_low, y_high = chart.y_range or _spread([y for line in chart.lines for _, y in line.points], margin=0.06)
    across, up = _Scale(x_low, x_high, LEFT, WIDTH - RIGHT), _Scale(y_low, y_high, HEIGHT - BOTTOM, TOP)
    return tag(
        "svg",
        tag("title", f"{chart.title}. {chart.description}"),
        _bands(chart, across),
        _x_axis(across, chart.x_label),
        _y_axis(up, chart.y_label),
        None if chart.level is None else tag("path", d=f"M{LEFT:g} {up(chart.level):.1f}H{WIDTH - RIGHT:g}", class_="level"),
        *(tag("path", d=_path(line.points, across, up), class_=f"line {line.style}") for line in chart.lines if line.points),
        viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}",
        role="img",
        preserveAspectRatio="xMidYMid meet",
    )


def _spread(values: Sequence[float], margin: float = 0.0) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = (high - low) * margin
    return (low - room, high + room) if high > low else (low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1))


def _path(points: Sequence[Point], across: _Scale, up: _Scale) -> str:
    stride = math.ceil(len(points) / MOST_POINTS)
    drawn = [*points[:-1:stride], points[-1]]
    return "M" + "L".join(f"{across(x):.1f} {up(y):.1f}" for x, y in drawn)


def _bands(chart: Chart, across: _Scale) -> list[Markup]:
    drawn = []
    for index, (start, end, name) in enumerate(chart.bands):
        left, right = across(start), across(end)
        if index:
            drawn.append(tag("path", d=f"M{left:.1f} {TOP:g}V{HEIGHT - BOTTOM:g}", class_="divider"))
        drawn.append(tag("text", name, x=round((left + right) / 2, 1), y=TOP - 5, text_anchor="middle", class_="band"))
    return drawn


def _x_axis(across: _Scale, label: str) -> Markup:
    floor = HEIGHT - BOTTOM
    marks = (tag("text", words, x=round(across(value), 1), y=floor + 13, text_anchor="middle") for value, words in _marks(across))
    middle = round((LEFT + WIDTH - RIGHT) / 2, 1)
    return tag(
        "g",
        tag("path", d=f"M{LEFT:g} {floor:g}H{WIDTH - RIGHT:g}", class_="axis"),
        *marks,
        tag("text", label, x=middle, y=HEIGHT - 5, text_anchor="middle", class_="label"),
        aria_hidden="true",
    )


def _y_axis(up: _Scale, label: str) -> Markup:
    marks = [
        mark
        for value, words in _marks(up)
        for mark in (
            tag("path", d=f"M{LEFT:g} {up(value):.1f}H{WIDTH - RIGHT:g}", class_="grid"),
            tag("text", words, x=LEFT - 5, y=round(up(value) + 3.2, 1), text_anchor="end"),
        )
    ]
    middle = round((TOP + HEIGHT - BOTTOM) / 2, 1)
    turned = tag("text", label, x=-middle, y=9.0, transform="rotate(-90)", text_anchor="middle", class_="label")
    return tag("g", *marks, turned, aria_hidden="true")
