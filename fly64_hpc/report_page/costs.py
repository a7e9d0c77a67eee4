"""GPU-hours: what each submission asked for, and what its attempts used."""

from collections.abc import Sequence
from dataclasses import dataclass

from fly64_hpc.attempt_costs import Spent
from fly64_hpc.gpu_hours import asked_gpu_h, job_costs
from fly64_hpc.job_record import AttemptRecord
from fly64_hpc.report_page import words
from fly64_hpc.report_page.facts import StudyFacts
from fly64_hpc.report_page.markup import Markup, paragraph, section
from fly64_hpc.report_page.tables import Column, sortable
from fly64_hpc.submissions import Submission


@dataclass(frozen=True)
class Cost:
    """What one submission asked for and what its attempts used."""

    submission: Submission
    asked_gpu_h: float
    used_gpu_h: float
    lost_gpu_h: float
    """By the law of `gpu_hours`."""
    elapsed_h: float
    """Hours of all attempts together, with a GPU or without."""


def costs(facts: StudyFacts) -> list[Cost]:
    """Every submission in turn."""
    attempts = [one for job in facts.jobs for one in job_costs(job.view)]
    return [_cost(submission, attempts) for submission in facts.view.submissions]


def costs_section(facts: StudyFacts) -> Markup:
    """The sums in a sentence, and a line a submission."""
    every = costs(facts)
    if not every:
        return section("costs", "GPU-hours", paragraph("Nothing was submitted yet."))
    asked, used, lost, elapsed = (
        sum(getattr(one, name) for one in every) for name in ("asked_gpu_h", "used_gpu_h", "lost_gpu_h", "elapsed_h")
    )
    sentence = (
        f"Asked for {words.number(asked)} GPU-hours, used {words.number(used)}, "
        f"lost {words.number(lost)}: steps that nobody could go on from."
    )
    if not asked and not used:
        sentence = "No GPU was asked for by a scheduler, and none was used."
    lead = f"{sentence} All attempts took {words.duration(elapsed * 3600)} together."
    return section("costs", "GPU-hours", paragraph(lead, class_="lead"), sortable("costs", "Submissions", _COLUMNS, every))


def _cost(submission: Submission, attempts: Sequence[tuple[AttemptRecord, Spent]]) -> Cost:
    spent = Spent.total(hours for record, hours in attempts if record.submission == submission.number)
    return Cost(submission, asked_gpu_h(submission), spent.gpu_h, spent.lost_gpu_h, spent.hours)


_COLUMNS: list[Column[Cost]] = [
    Column("number", "submission", lambda one: one.submission.number),
    Column("created_utc", "when", lambda one: one.submission.created_utc, lambda one: words.time(one.submission.created_utc)),
    Column("executor", "executor", lambda one: one.submission.executor),
    Column("jobs", "jobs", lambda one: len(one.submission.jobs)),
    Column("asked_gpu_h", "GPU-hours asked", lambda one: one.asked_gpu_h, lambda one: words.number(one.asked_gpu_h)),
    Column("used_gpu_h", "GPU-hours used", lambda one: one.used_gpu_h, lambda one: words.number(one.used_gpu_h)),
    Column("lost_gpu_h", "GPU-hours lost", lambda one: one.lost_gpu_h, lambda one: words.number(one.lost_gpu_h)),
    Column("elapsed_h", "time of all attempts", lambda one: one.elapsed_h, lambda one: words.duration(one.elapsed_h * 3600)),
]
