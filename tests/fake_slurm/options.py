"""Command lines, and the small languages in them: times, node lists, file patterns, tables."""

import re
import time
from collections.abc import Callable, Iterable, Mapping


class Refusal(Exception):
    """A command fails: its words on stderr, and its exit code."""

    def __init__(self, words: str, code: int = 1) -> None:
        super().__init__(words)
        self.words = words
        self.code = code


def parse(
    program: str,
    arguments: list[str],
    values: Mapping[str, str],
    flags: Mapping[str, str],
    *,
    usage_code: int = 1,
    mixed: bool = True,
) -> tuple[dict[str, str], list[str]]:
    """Options by their long names, and the other arguments.

    `values` and `flags` have every name that is known, short ones too, and the long name that each stands for. Where they are not
    `mixed`, as with sbatch, options end where the first other argument stands.

    Raises
    ------
    Refusal
        An option is not known, or lacks its value.
    """
    found: dict[str, str] = {}
    others: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or word == "-":
            others.append(word)
            if mixed:
                continue
            break
        name, equals, value = _split_option(word)
        if name in flags and not value:
            found[flags[name]] = "yes"
        elif name in values:
            if not equals and not rest:
                raise Refusal(f"{program}: option '{word}' requires an argument", usage_code)
            found[values[name]] = value if equals else rest.pop(0)
        else:
            raise Refusal(f"{program}: unrecognized option '{word}'\nTry \"{program} --help\" for more information", usage_code)
    return found, others + rest


def _split_option(word: str) -> tuple[str, bool, str]:
    if word.startswith("--"):
        name, equals, value = word[2:].partition("=")
        return name, bool(equals), value
    return word[1], len(word) > 2, word[2:]


def names(long: str, **short: str) -> dict[str, str]:
    """Every name to its long one."""
    return {name: name for name in long.split()} | {letter: name.replace("_", "-") for letter, name in short.items()}


def minutes_of(text: str) -> float | None:
    """A time limit: `5`, `5:30`, `1:00:00`, `1-12`, `1-12:30`; none for UNLIMITED."""
    if text.upper() in ("UNLIMITED", "INFINITE", "-1"):
        return None
    if not re.fullmatch(r"(\d+-)?\d+(:\d+){0,2}", text):
        raise Refusal("sbatch: error: Invalid --time specification")
    days, dash, clock = text.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    if dash:
        hours, minutes, seconds = (*parts, 0, 0)[:3]
    elif len(parts) == 3:
        hours, minutes, seconds = parts
    else:
        hours, (minutes, seconds) = 0, (*parts, 0)[:2]
    return int(days or 0) * 1440 + hours * 60 + minutes + seconds / 60


_UNITS = {"second": 1, "minute": 60, "min": 60, "hour": 3600, "day": 86400, "week": 604800}


def moment_of(text: str) -> float:
    """A point in time: `now`, `now-2days`, `2026-01-31`, `2026-01-31T12:00:00`, `12:00`."""
    if match := re.fullmatch(r"now(?:([+-])(\d+)(\w*?)s?)?", text):
        sign, number, unit = match.groups()
        shift = int(number or 0) * _UNITS.get(unit or "second", 1)
        return time.time() + (-shift if sign == "-" else shift)
    today = time.strftime("%Y-%m-%d")
    for layout in ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d"):
        for candidate in (text, f"{today}T{text}"):
            try:
                return time.mktime(time.strptime(candidate, layout))
            except ValueError:
                continue
    raise Refusal(f"Invalid time specification (pos=0): {text}")


def node_names(text: str) -> list[str]:
    """Read `g1,g[2-3]`."""
    found: list[str] = []
    for part in re.findall(r"[^,\[]+(?:\[[^\]]*\])?", text):
        stem, _, spans = part.partition("[")
        for span in spans.rstrip("]").split(","):
            first, _, last = span.partition("-")
            found += [f"{stem}{number}" for number in range(int(first), int(last or first) + 1)] if span else [stem]
    return found


def expand(pattern: str, letters: Mapping[str, object]) -> str:
    """A file name with `%A`, `%4a` and the like filled in."""

    def fill(match: re.Match[str]) -> str:
        width, letter = match.groups()
        return "%" if letter == "%" else str(letters.get(letter, match[0])).zfill(int(width or 0))

    return re.sub(r"%(\d*)([A-Za-z%])", fill, pattern)


def stamp(moment: float | None, absent: str) -> str:
    return absent if moment is None else time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(moment))


def duration(seconds: float, *, short: bool = False) -> str:
    """`1-02:03:04`, and for squeue `0:05`."""
    minutes, second = divmod(int(max(seconds, 0)), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if short and not hours:
        return f"{minute}:{second:02}"
    return (f"{days}-" if days else "") + f"{hour:02}:{minute:02}:{second:02}"


def table(rows: Iterable[Mapping[str, str]], layout: str, titles: Mapping[str, str], *, header: bool) -> list[str]:
    """Fill squeue's `%.18i|%T` for each row."""

    def line(cell: Callable[[str], str]) -> str:
        def fill(match: re.Match[str]) -> str:
            right, width, letter = match.groups()
            text = cell(letter)
            if not width:
                return text
            text = text[: int(width)]
            return text.rjust(int(width)) if right else text.ljust(int(width))

        return re.sub(r"%(\.?)(\d*)([A-Za-z])", fill, layout)

    lines = [line(lambda letter: titles.get(letter, letter))] if header else []
    for row in rows:
        lines.append(line(lambda letter, row=row: row.get(letter, "")))  # type: ignore[misc]
    return lines
