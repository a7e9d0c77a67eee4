"""Where everything comes from: code, environment, hosts, commands, and the digests of configuration, data and bundle."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fly64_hpc.provenance import code_facts, environment_facts
from fly64_hpc.report_page import words
from fly64_hpc.report_page.facts import Job, StudyFacts
from fly64_hpc.report_page.markup import Child, Markup, definitions, joined, paragraph, section, tag
from fly64_hpc.report_page.tables import Column, downloads, sortable
from fly64_hpc.submissions import Submission

DIGEST_CHARACTERS = 12


def provenance_section(facts: StudyFacts) -> Markup:
    """What a person needs to do it again, and to see that nothing was changed since."""
    return section(
        "provenance",
        "Provenance",
        definitions(_pairs(facts)),
        *(paragraph(warning, class_="open") for warning in facts.manifest.get("warnings") or ()),
        tag("h3", "Commands"),
        _commands(facts.view.submissions),
        tag("h3", "Digests"),
        paragraph("sha256, the first twelve digits; the saved files have all of them.", class_="lead"),
        sortable("digests", "Configuration, data and bundle of every job", _COLUMNS, facts.jobs),
        downloads(f"{facts.design.study}-digests", _COLUMNS, facts.jobs),
    )


def _pairs(facts: StudyFacts) -> list[tuple[str, Child]]:
    code = facts.manifest.get("code") or code_facts()
    environment = facts.manifest.get("environment") or environment_facts()
    hosts = dict.fromkeys(attempt.process.host for job in facts.jobs for attempt in job.attempts)
    devices = dict.fromkeys(str(job.result["device"]) for job in facts.jobs if job.result.get("device"))
    collected = facts.manifest.get("updated_utc")
    pairs: list[tuple[str, Child]] = [
        ("study sha256", tag("code", facts.view.study.sha256)),
        ("code", _code(code)),
        *([("frozen code sha256", joined(*_frozen(facts)))] if _frozen(facts) else []),
        ("environment", ", ".join(f"{name} {value}" for name, value in environment.items() if value is not None)),
        ("hosts", words.listed(hosts) or "none yet"),
        ("devices", words.listed([*devices, *_gpus(facts)]) or "none yet"),
        ("collected", words.time(collected) if collected else "never: the facts above are of this machine"),
        ("report made", f"{words.time(facts.made_utc)}, by version {code_facts()['version']}"),
    ]
    if facts.view.study.base_sha256:
        pairs.insert(1, ("object and probe sha256", tag("code", facts.view.study.base_sha256)))
    swept = facts.view.study.swept_base_sha256
    pairs[1:1] = [(f"{Path(file).name} sha256", tag("code", sha256)) for file, sha256 in swept.items()]
    return pairs


def _frozen(facts: StudyFacts) -> list[Child]:
    """The archives that submissions were made with, and the jobs that ran other code all the same."""
    archives = dict.fromkeys(made.code for made in facts.view.submissions if made.code is not None)
    last = [(job.job_id, job.attempts[-1].provenance) for job in facts.jobs if job.attempts]
    other = [job_id for job_id, made in last if made is not None and made.code_differs]
    shown: list[Child] = [joined(", " if number else "", tag("code", sha256)) for number, sha256 in enumerate(archives)]
    return [*shown, f" but {words.listed(other)} ran edited code" if other else None] if shown else []


def _gpus(facts: StudyFacts) -> list[str]:
    """The GPUs that the manifest names, each with its driver."""
    made = [job.get("provenance") or {} for job in facts.manifest.get("jobs") or ()]
    named = (f"{gpu}, driver {one['driver']}" if one.get("driver") else str(gpu) for one in made for gpu in one.get("gpus") or ())
    return list(dict.fromkeys(named))


def _code(code: dict[str, Any]) -> Child:
    sha = code.get("git_sha")
    said = f"version {code.get('version')}, " + ("not from a git checkout" if sha is None else "commit ")
    dirty = ", with changes that were not committed" if code.get("dirty") else ""
    return joined(said, tag("code", str(sha)) if sha is not None else None, dirty)


def _commands(submissions: Sequence[Submission]) -> Markup:
    if not submissions:
        return paragraph("Nothing was submitted yet.")
    return tag("ol", *(tag("li", _command(one)) for one in submissions), class_="commands")


def _command(submission: Submission) -> Markup:
    filters = "; ".join(f"{name} {words.listed(map(str, values))}" for name, values in submission.filters.items() if values)
    asked = f"{words.count(len(submission.jobs), 'job')} to {submission.executor}" + (
        f", filtered by {filters}" if filters else ""
    )
    said = f"{words.time(submission.created_utc)}, {submission.origin} on {submission.submitter.host}: {asked}"
    command = recorded_command(submission.model_dump())
    return joined(said, tag("pre", command, tabindex="0") if command else None)


def recorded_command(submission: dict[str, Any]) -> str | None:
    """The command line that a submission's record has, and the folder that it was typed in; None where it has none."""
    made = submission.get("provenance") or {}
    if not made.get("command"):
        return None
    folder = f"cd {shlex.quote(made['folder'])}\n" if made.get("folder") else ""
    return folder + shlex.join(made["command"])


def _digest_column(key: str, heading: str, digest: Any) -> Column[Job]:
    return Column(
        key, heading, digest, lambda job: tag("code", digest(job)[:DIGEST_CHARACTERS]) if digest(job) else words.MISSING
    )


_COLUMNS: list[Column[Job]] = [
    Column("job_id", "job", lambda job: job.job_id),
    Column("seed", "seed", lambda job: job.view.job.seed),
    Column("host", "host", lambda job: job.view.record.process.host if job.view.record else None),
    _digest_column("config_sha256", "configuration", lambda job: job.view.spec.config_sha256 if job.view.spec else None),
    _digest_column("train_data_sha256", "training data", lambda job: job.view.spec.train_data.sha256 if job.view.spec else None),
    _digest_column("test_data_sha256", "unseen half", lambda job: job.view.spec.test_data.sha256 if job.view.spec else None),
    _digest_column("bundle_sha256", "bundle", lambda job: job.result.get("bundle_sha256")),
]
