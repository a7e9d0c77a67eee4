"""Findings in words: a line each, by subject, the worst of a subject first, and the counts at the end."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from fly64_hpc.preflight.finding import Finding, Severity

_WORST_FIRST = list(Severity)
_COLOURS = {Severity.ERROR: "31;1", Severity.WARNING: "33", Severity.UNKNOWN: "35", Severity.OK: "32"}


def lines(findings: Sequence[Finding], *, in_colour: bool) -> Iterator[str]:
    """What a person reads."""
    for subject in dict.fromkeys(finding.subject for finding in findings):
        yield subject
        of_subject = [finding for finding in dict.fromkeys(findings) if finding.subject == subject]
        for finding in sorted(of_subject, key=lambda finding: _WORST_FIRST.index(finding.severity)):
            mark = f"{finding.severity:<7}"
            shown = f"\033[{_COLOURS[finding.severity]}m{mark}\033[0m" if in_colour else mark
            yield f"  {shown}  {finding.text}"
    yield summary_line(findings)


def summary_line(findings: Sequence[Finding]) -> str:
    """How many findings there are of each severity."""
    counts = severity_counts(findings)
    counted = {Severity.ERROR: "error", Severity.WARNING: "warning"}
    words = {severity: f"{name}{'' if counts[name] == 1 else 's'}" for severity, name in counted.items()}
    return ", ".join(f"{counts[severity.value]} {words.get(severity, severity.value)}" for severity in Severity)


def severity_counts(findings: Sequence[Finding]) -> dict[str, int]:
    """Severity to the number of its findings."""
    counted = Counter(finding.severity for finding in dict.fromkeys(findings))
    return {severity.value: counted[severity] for severity in Severity}


def as_json(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """What a machine reads."""
    return [
        {"subject": one.subject, "severity": one.severity.value, "sentence": one.sentence, "advice": one.advice}
        for one in dict.fromkeys(findings)
    ]
