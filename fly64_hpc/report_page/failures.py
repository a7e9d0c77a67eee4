"""What went wrong, causes before consequences: a dataset job that failed stands before the jobs that waited for it."""

from collections.abc import Iterator
from dataclasses import dataclass

from fly64_hpc.job_matrix import Condition
from fly64_hpc.job_record import skipped_condition
from fly64_hpc.job_state import JobState
from fly64_hpc.outcome import Outcome
from fly64_hpc.report_page import words
from fly64_hpc.report_page.facts import Job, StudyFacts
from fly64_hpc.report_page.markup import Markup, paragraph, section, tag

MOST_JOBS_NAMED = 12


@dataclass(frozen=True)
class Failure:
    """One cause, and all that came of it."""

    title: str
    message: str
    hint: str
    jobs: tuple[str, ...]
    """The jobs that failed for it."""
    is_root: bool = False
    """Whether the jobs themselves are well, and only waited for what failed."""
    where: str = ""
    """A file that says more."""


def failures(facts: StudyFacts) -> list[Failure]:
    """Every cause once: first those that other jobs waited for, then those that cost most jobs."""
    roots = list(_dataset_failures(facts))
    explained = {job_id for root in roots for job_id in root.jobs}
    own = [job for job in facts.jobs if job.state.is_bad and job.job_id not in explained]
    grouped: dict[tuple[JobState, str, str], list[Job]] = {}
    for job in own:
        grouped.setdefault(_cause(job), []).append(job)
    return roots + sorted((_own_failure(facts, jobs) for jobs in grouped.values()), key=lambda one: -len(one.jobs))


def failures_section(facts: StudyFacts, found: list[Failure]) -> Markup:
    """Causes with their consequences, views that could not be made, and what could not be asked."""
    parts = [_block(one) for one in found]
    parts += [_skipped(skipped_condition(view), view["reason"]) for view in facts.view.skipped_views]
    parts += [paragraph("The scheduler could not be asked: ", problem) for problem in facts.view.problems]
    if not parts:
        return section("failures", "Failures", paragraph("None: no job failed, and every view could be made."))
    lead = "Causes come before their consequences; what cost most jobs comes first." if len(found) > 1 else None
    return section("failures", "Failures", paragraph(lead, class_="lead") if lead else None, *parts)


def _dataset_failures(facts: StudyFacts) -> Iterator[Failure]:
    """A dataset job that failed, with the jobs whose newest submission it belongs to and that never began there."""
    for number, record in facts.dataset_jobs.items():
        waited = [job for job in facts.jobs if _waited_for(job, number)]
        if record.state == "failed" and waited:
            yield Failure(
                title=f"The dataset job of submission {number} failed on {record.process.host}",
                message=record.error,
                hint="Mend what it names, then submit again: the jobs below never began.",
                jobs=tuple(job.job_id for job in waited),
                is_root=True,
                where=facts.paths.inside(facts.paths.dataset_job(number)),
            )


def _waited_for(job: Job, submission_number: int) -> bool:
    submission = job.view.submission
    began = any(attempt.submission == submission_number for attempt in job.attempts)
    return submission is not None and submission.number == submission_number and not began and job.state is not JobState.SUCCEEDED


def _cause(job: Job) -> tuple[JobState, str, str]:
    error = job.view.outcome.error
    return (job.state, error.type, error.message) if error else (job.state, "", job.view.outcome.reason)


def _own_failure(facts: StudyFacts, jobs: list[Job]) -> Failure:
    outcome: Outcome = jobs[0].view.outcome
    error = outcome.error
    return Failure(
        title=f"{words.count(len(jobs), 'job')} {jobs[0].state.value.replace('_', ' ')}" + (f": {error.type}" if error else ""),
        message=error.message if error else outcome.reason,
        hint=error.hint if error else "",
        jobs=tuple(job.job_id for job in jobs),
        where=facts.paths.inside(jobs[0].view.paths.log) if jobs[0].view.paths.log.exists() else "",
    )


def _block(failure: Failure) -> Markup:
    named = words.listed(failure.jobs, MOST_JOBS_NAMED)
    consequence = f"As a consequence {words.count(len(failure.jobs), 'job')} never began: " if failure.is_root else "Jobs: "
    return tag(
        "article",
        tag("h3", failure.title),
        tag("pre", failure.message, tabindex="0") if failure.message else None,
        paragraph(tag("b", "Next: "), failure.hint) if failure.hint else None,
        paragraph(consequence, named, ".", class_="quiet"),
        paragraph("More in ", tag("code", failure.where), ".", class_="quiet") if failure.where else None,
        class_="failure root" if failure.is_root else "failure",
    )


def _skipped(condition: Condition, reason: str) -> Markup:
    title = f"View {condition.words} at {words.dose_in_words(condition.dose_photons)} could not be made"
    return tag("article", tag("h3", title), paragraph(reason), class_="failure skipped")
