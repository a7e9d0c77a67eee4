"""What a benchmark found: a ratio beside what is required of it, or why there is none; and the file that keeps it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

FORM = 1
"""Of the JSON; raised when a key changes its meaning."""


@dataclass(frozen=True)
class Measure:
    """One line of the table.

    `value` is what is judged: at least `required` where `better` is `more`, at most where it is `less`.
    """

    section: str
    """`training`, `data`, `start`, `inference`, `studies`."""
    name: str
    value: float | None
    """None: not measured, and `note` says why."""
    unit: str
    """`x` for a ratio."""
    required: float | None
    """None: told for information."""
    better: str
    reference: str
    """What it is a ratio to, or what the figure is compared with."""
    note: str = ""
    runs: list[float] = field(default_factory=list)
    """What the median is of."""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """`met`, `missed`, `not measured`, or nothing where nothing is required."""
        if self.value is None:
            return "not measured"
        if self.required is None:
            return ""
        met = self.value >= self.required if self.better == "more" else self.value <= self.required
        return "met" if met else "missed"


def of_runs(section: str, name: str, runs: Sequence[float], **others: Any) -> Measure:
    """A measure whose value is the median of several runs."""
    return Measure(section=section, name=name, value=median(runs), runs=[round(run, 4) for run in runs], **others)


def write(
    path: Path, machine: dict[str, Any], measures: Sequence[Measure], profiles: Sequence[dict[str, Any]], full: bool
) -> None:
    """Keep a run as JSON."""
    content = {
        "form": FORM,
        "full": full,
        "machine": machine,
        "measures": [asdict(measure) | {"verdict": measure.verdict} for measure in measures],
        "profiles": list(profiles),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")
