"""Tables with captions and scopes that can be sorted in the browser, and saved as CSV and JSON from the page itself."""

import base64
import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from fly64_hpc.report_page.markup import Child, Markup, joined, tag
from fly64_hpc.report_page.words import MISSING, number

Row = TypeVar("Row")
Value = str | float | int | bool | None


@dataclass(frozen=True)
class Column(Generic[Row]):
    """One column of a table."""

    key: str
    """Its name in CSV and JSON."""
    heading: str
    value: Callable[[Row], Value]
    """What CSV, JSON and the order of the rows go by."""
    show: Callable[[Row], Child] | None = None
    """What the page shows, where that is not simply the value."""
    is_shown: bool = True
    """Whether the page has it; the downloads have every column."""


def sortable(name: str, caption: str, columns: Sequence[Column[Row]], rows: Sequence[Row]) -> Markup:
    """A table of one line a row, whose first column names the row, and which a reader may sort by any column."""
    shown = [column for column in columns if column.is_shown]
    numeric = [any(_is_number(column.value(row)) for row in rows) for column in shown]
    kinds = ["number" if is_number else None for is_number in numeric]
    head = tag("tr", *(tag("th", one.heading, scope="col", class_=kind) for one, kind in zip(shown, kinds, strict=True)))
    lines = (
        tag("tr", *(_cell(one, row, kind, is_first=one is shown[0]) for one, kind in zip(shown, kinds, strict=True)))
        for row in rows
    )
    table = tag(
        "table", tag("caption", caption, id=f"{name}-caption"), tag("thead", head), tag("tbody", *lines), class_="sortable"
    )
    return scrolling(f"{name}-caption", table)


def scrolling(caption_id: str, table: Markup) -> Markup:
    """A table that scrolls sideways by itself, by keyboard too, so that the page never does."""
    return tag("div", table, class_="scroll", role="region", aria_labelledby=caption_id, tabindex="0")


def downloads(file_name: str, columns: Sequence[Column[Row]], rows: Sequence[Row]) -> Markup:
    """Links that save the rows with all their digits, as CSV and as JSON."""
    records = [{column.key: column.value(row) for column in columns} for row in rows]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=[column.key for column in columns], lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return download_links(file_name, {"csv": stream.getvalue(), "json": json.dumps(records, indent=1)})


def download_links(file_name: str, texts: dict[str, str]) -> Markup:
    """Links that save texts, by the ending of their file's name."""
    links = [
        tag("a", kind.upper(), href=data_uri(_MEDIA_TYPES[kind], text.encode()), download=f"{file_name}.{kind}")
        for kind, text in texts.items()
    ]
    return tag("p", "Save this table with all its digits: ", joined(*_with_commas(links)), ".", class_="downloads")


_MEDIA_TYPES = {"csv": "text/csv;charset=utf-8", "json": "application/json"}


def data_uri(media_type: str, content: bytes) -> str:
    """A file as an address that holds it."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def _with_commas(links: Sequence[Markup]) -> list[Child]:
    return [child for number, link in enumerate(links) for child in ((", ", link) if number else (link,))]


def _cell(column: Column[Row], row: Row, kind: str | None, *, is_first: bool) -> Markup:
    value = column.value(row)
    child = column.show(row) if column.show is not None else _words(value)
    data_value = value if _is_number(value) and not isinstance(value, bool) else None
    attributes = {"class_": kind, "data_value": repr(data_value) if data_value is not None else None}
    return tag("th", child, scope="row", **attributes) if is_first else tag("td", child, **attributes)


def _words(value: Value) -> str:
    if value is None or value == "":
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return number(value) if isinstance(value, float) else value


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
