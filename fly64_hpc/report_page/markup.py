"""HTML and SVG, made so that text can never become markup: what is not `Markup` is escaped."""

from collections.abc import Iterable
from html import escape
from typing import TypeAlias

VOID = ("img", "meta", "link", "br", "col")
"""Elements that have no end."""


class Markup(str):
    """Text that is markup, and goes in as it stands."""


Child: TypeAlias = "str | Iterable[Child] | None"
Attribute: TypeAlias = str | float | bool | None


def tag(name: str, /, *children: Child, **attributes: Attribute) -> Markup:
    """An element.

    Parameters
    ----------
    name
        Its name.
    children
        What is in it: text, which is escaped, markup, or an iterable of both; None is nothing.
    attributes
        Its attributes: `class_` is written `class`, `aria_label` `aria-label`; True is a bare name, None and False leave it out.
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items() if value is not None and value is not False)
    start = f"<{name}{written}>"
    return Markup(start if name in VOID else f"{start}{joined(*children)}</{name}>")


def joined(*children: Child) -> Markup:
    """Several things after one another."""
    return Markup("".join(_text(child) for child in children))


def _text(child: Child) -> str:
    if child is None or isinstance(child, Markup):
        return child or ""
    return escape(child) if isinstance(child, str) else joined(*child)


def _attribute(key: str, value: Attribute) -> str:
    name = key.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return f' {name}="{escape(text)}"'


def section(name: str, heading: str, *children: Child) -> Markup:
    """A part of the page under a heading of its own."""
    return tag("section", tag("h2", heading, id=f"{name}-heading"), *children, id=name, aria_labelledby=f"{name}-heading")


def paragraph(*children: Child, **attributes: Attribute) -> Markup:
    """A paragraph."""
    return tag("p", *children, **attributes)


def definitions(pairs: Iterable[tuple[str, Child]]) -> Markup:
    """Names and what they are."""
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs))
