"""The whole preflight, subject by subject, and what its findings mean for a submit."""

from collections.abc import Callable, Iterable, Sequence

from fly64_hpc.errors import RequestError
from fly64_hpc.preflight import cluster_fit, disk_room, forecast, python_environment, study_sizes, writing
from fly64_hpc.preflight.finding import Finding, Severity
from fly64_hpc.preflight.request import PreflightRequest


def examine(request: PreflightRequest) -> list[Finding]:
    """Everything, the content of the datasets included."""
    from fly64_hpc.preflight import dataset_files  # imports numpy

    return [*study_sizes.examine(request), *dataset_files.examine(request), *_but_content(request)]


def examine_quickly(request: PreflightRequest) -> list[Finding]:
    """Everything but the content of the datasets, which a submit reads itself."""
    return [*study_sizes.examine(request), *_but_content(request)]


def _but_content(request: PreflightRequest) -> list[Finding]:
    found = [*writing.examine(request), *disk_room.examine(request), *python_environment.examine(request)]
    if request.executor == "slurm":
        found += cluster_fit.examine(request)
    return found + list(forecast.examine(request))


def refuse_errors(findings: Sequence[Finding], say: Callable[[str], None]) -> None:
    """Say what a submitter should know, and refuse what would fail.

    Raises
    ------
    RequestError
        With the sentence of every error.
    """
    for finding in dict.fromkeys(findings):
        if finding.severity in (Severity.WARNING, Severity.UNKNOWN):
            say(f"{finding.severity}: {finding.text}")
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    if errors:
        raise RequestError(_once(error.sentence for error in errors), hint=_once(error.advice for error in errors))


def _once(texts: Iterable[str]) -> str:
    return " ".join(dict.fromkeys(text for text in texts if text))
