"""GPU-hours: what each submission asked for, and what its attempts used."""

from dataclasses import dataclass

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
    """GPUs times time limit, over all jobs that Slurm took; nothing where no scheduler was asked."""
    used_gpu_h: float
    lost_gpu_h: float
    """Of those used: in attempts that did not succeed. What they saved may have served the next one."""
    elapsed_h: float
    """Hours of all attempts together, with a GPU or without."""


def costs(facts: StudyFacts) -> list[Cost]:
    """Every submission in turn."""
    return [_cost(facts, submission) for submission in facts.view.submissions]


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
        f"of these {words.number(lost)} in attempts that did not succeed."
    )
    if not asked and not used:
        sentence = "No GPU was asked for by a scheduler, and none was used."
    lead = f"{sentence} All attempts that have ended took {words.duration(elapsed * 3600)} together."
    return section("costs", "GPU-hours", paragraph(lead, class_="lead"), sortable("costs", "Submissions", _COLUMNS, every))


def _cost(facts: StudyFacts, submission: Submission) -> Cost:
    attempts = [one for job in facts.jobs for one in job.attempts if one.submission == submission.number]
    hours = [((one.elapsed_s or 0.0) / 3600, one) for one in attempts]
    return Cost(
        submission,
        _asked_gpu_h(submission),
        sum(time * one.scheduler.gpus for time, one in hours),
        sum(time * one.scheduler.gpus for time, one in hours if one.state != "succeeded"),
        sum(time for time, _ in hours),
    )


def _asked_gpu_h(submission: Submission) -> float:
    parts = [part for part in submission.parts if part.kind == "train" and part.state == "submitted"]
    return sum(len(part.jobs) * part.resources.gpus_per_node * part.resources.time_limit_min / 60 for part in parts)


_COLUMNS: list[Column[Cost]] = [
    Column("number", "submission", lambda one: one.submission.number),
    Column("created_utc", "when", lambda one: one.submission.created_utc, lambda one: words.time(one.submission.created_utc)),
    Column("executor", "executor", lambda one: one.submission.executor),
    Column("jobs", "jobs", lambda one: len(one.submission.jobs)),
    Column("asked_gpu_h", "GPU-hours asked", lambda one: one.asked_gpu_h, lambda one: words.number(one.asked_gpu_h)),
    Column("used_gpu_h", "GPU-hours used", lambda one: one.used_gpu_h, lambda one: words.number(one.used_gpu_h)),
    Column("lost_gpu_h", "without success", lambda one: one.lost_gpu_h, lambda one: words.number(one.lost_gpu_h)),
    Column("elapsed_h", "time of all attempts", lambda one: one.elapsed_h, lambda one: words.duration(one.elapsed_h * 3600)),
]
