"""How the report writes numbers, times and sizes."""

import math
from collections.abc import Iterable

MISSING = "–"
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_LEAST_PLAIN, _MOST_PLAIN = 1e-4, 1e6


def number(value: float | None, digits: int = 3) -> str:
    """A figure with so many significant digits; a dash where there is none."""
    if value is None:
        return MISSING
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    if not _LEAST_PLAIN <= abs(value) < _MOST_PLAIN:
        mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
        return f"{mantissa} × 10{str(int(exponent)).translate(_SUPERSCRIPTS)}".replace("-", "−")
    magnitude = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))))
    return f"{value:,.{max(0, digits - 1 - magnitude)}f}".replace("-", "−")


def radians(phase: float) -> str:
    """A phase, to a hundredth of a radian."""
    return f"{phase:.2f} rad".replace("-", "−")


def dose(photons: float) -> str:
    """A dose in photons: `1,000`."""
    return f"{photons:,.0f}"


def dose_in_words(photons: float) -> str:
    """A dose with its unit."""
    return f"{dose(photons)} photons a pattern"


def duration(seconds: float | None) -> str:
    """A time in the two units that say most: `3 min 46 s`."""
    if seconds is None:
        return MISSING
    if seconds < MINUTE_S:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    whole = round(seconds)
    for unit_s, unit, part_s, part in ((DAY_S, "d", HOUR_S, "h"), (HOUR_S, "h", MINUTE_S, "min"), (MINUTE_S, "min", 1, "s")):
        if whole >= unit_s:
            return f"{whole // unit_s}\xa0{unit} {whole % unit_s // part_s}\xa0{part}"
    return f"{whole} s"


def size(size_bytes: float) -> str:
    """A size in bytes: `1.4 MB`."""
    for unit in ("B", "kB", "MB"):
        if size_bytes < 1000:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} GB"


def time(utc: str | None) -> str:
    """A recorded time, to the minute."""
    return MISSING if utc is None else f"{utc[:10]}\xa0{utc[11:16]}\xa0UTC"


def count(how_many: int, one: str, several: str | None = None) -> str:
    """`1 job`, `9 jobs`."""
    return f"{how_many:,} {one if how_many == 1 else several or one + 's'}"


def listed(names: Iterable[str], most: int = 12) -> str:
    """Names after one another; of many the first."""
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")
