"""When Slurm would start each kind of job, by its own word, or why it would not take it."""

import datetime
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from fly64_hpc.preflight.finding import Finding, Severity
from fly64_hpc.preflight.request import PreflightRequest
from fly64_hpc.slurm.refusals import advice_for
from fly64_hpc.slurm.sbatch import Verdict
from fly64_hpc.slurm.start import StartEstimate, ask_start
from fly64_hpc.submissions import Part, PartKind, Submission

SUBJECT = "start"
SOON_S = 90.0
_JOB = {"data": "the dataset job", "train": "a training", "collect": "the collector job"}


def examine(request: PreflightRequest, submission: Submission) -> Iterator[Finding]:
    """One question for each shape of job: each kind of training, and one of the jobs that need no GPU."""
    with tempfile.TemporaryDirectory(prefix="fly64-check-") as folder:
        for index in shapes(submission.parts):
            part = submission.parts[index]
            estimate = _ask(request, submission, index, Path(folder))
            yield finding(part.kind, estimate, datetime.datetime.now())
            if estimate.verdict is Verdict.LEFT_OPEN:
                return  # it would only make us wait again


def shapes(parts: Sequence[Part]) -> list[int]:
    """The first part of each resource shape; of the jobs without a GPU, which differ in size only, the first."""
    first: dict[str, int] = {}
    for index, part in enumerate(parts):
        first.setdefault(part.resources.model_dump_json() if part.kind == "train" else "without GPU", index)
    return sorted(first.values(), key=lambda index: (parts[index].kind != "train", index))


def _ask(request: PreflightRequest, submission: Submission, index: int, folder: Path) -> StartEstimate:
    from fly64_hpc.executors.slurm import user_defaults
    from fly64_hpc.slurm.scripts import render_script

    part, script = submission.parts[index], folder / f"{index}.sh"
    script.write_text(render_script(request.paths, submission, index))
    return ask_start(request.calls, [f"--job-name={part.tag}", str(script)], user_defaults(part))


def finding(kind: PartKind, estimate: StartEstimate, now: datetime.datetime) -> Finding:
    """What Slurm answered, in words."""
    job = _JOB[kind]
    if estimate.verdict is Verdict.TAKEN:
        when = "at a time that it does not name" if estimate.start is None else moment(estimate.start, now)
        node = f" on {estimate.nodes}" if estimate.nodes else ""
        return Finding(SUBJECT, Severity.OK, f"Slurm would start {job} {when}{node}.")
    if estimate.verdict is Verdict.REFUSED:
        return Finding(SUBJECT, Severity.ERROR, f"Slurm refuses {job}: {estimate.words}.", advice_for(estimate.words))
    if estimate.verdict is Verdict.NO_ROOM:
        return Finding(SUBJECT, Severity.WARNING, f"Slurm has no room for {job} now: {estimate.words}.", "It may have to wait.")
    return Finding(SUBJECT, Severity.UNKNOWN, f"When Slurm would start {job} is not known: {estimate.words}.")


def moment(start: datetime.datetime, now: datetime.datetime) -> str:
    """A time to come, as people say it."""
    if (start - now).total_seconds() < SOON_S:
        return "now"
    days = (start.date() - now.date()).days
    day = {0: "today", 1: "tomorrow"}.get(days, f"on {start.day} {start:%B}")
    return f"about {start:%H:%M} {day}"
