"""Every job with its figures, sortable, and to be saved."""

from collections.abc import Sequence

from fly64_hpc.report_page import words
from fly64_hpc.report_page.facts import Job, StudyFacts
from fly64_hpc.report_page.markup import Markup, paragraph, section
from fly64_hpc.report_page.summary import state_badge
from fly64_hpc.report_page.tables import Column, downloads, sortable

FIGURES = (
    ("network", "phase_mae_rad", "phase error, network [rad]", True),
    ("refined", "phase_mae_rad", "phase error, refined [rad]", True),
    ("network", "nmse", "NMSE, network", True),
    ("refined", "nmse", "NMSE, refined", True),
    ("network", "frc_crossing_cycles_per_px", "FRC crossing, network [1/px]", True),
    ("refined", "frc_crossing_cycles_per_px", "FRC crossing, refined [1/px]", True),
    ("network", "held_out_deviance", "held-out deviance", True),
    ("network", "flat_deviance", "held-out deviance, flat object", False),
    ("network", "phase_ssim", "phase SSIM, network", False),
    ("refined", "phase_ssim", "phase SSIM, refined", False),
    ("network", "phase_psnr_db", "phase PSNR, network [dB]", False),
    ("refined", "phase_psnr_db", "phase PSNR, refined [dB]", False),
)
"""Method, metric, heading, and whether the page shows it; the files that a reader saves have all of them."""


def conditions_section(facts: StudyFacts) -> Markup:
    """The table of all jobs."""
    columns = job_columns(facts.jobs, with_seed=facts.several_seeds, sweep=facts.sweep_axes)
    return section(
        "jobs",
        "Jobs",
        paragraph("Choose a heading to sort by it, again to turn the order round.", class_="lead needs-script"),
        sortable("jobs", "Every job of the study with its figures on the unseen half", columns, facts.jobs),
        downloads(f"{facts.design.study}-jobs", columns, facts.jobs),
    )


def job_columns(jobs: Sequence[Job], *, with_seed: bool, sweep: Sequence[str] = ()) -> list[Column[Job]]:
    """What is told of each job, its place on the axes of the sweep too; figures that no job has are left off the page."""
    return [
        Column("job_id", "job", lambda job: job.job_id),
        Column(
            "dose_photons",
            "photons",
            lambda job: job.view.job.dose_photons,
            lambda job: words.dose(job.view.job.dose_photons),
        ),
        Column("view", "view", lambda job: job.view.job.view),
        Column("gridsize", "gridsize", lambda job: job.view.job.gridsize, is_shown=False),
        *map(_sweep_column, sweep),
        Column("seed", "seed", lambda job: job.view.job.seed, is_shown=with_seed),
        Column("state", "state", lambda job: job.state.value, lambda job: state_badge(job.state)),
        Column("state_reason", "why", lambda job: job.view.outcome.reason, is_shown=False),
        *(_figure_column(jobs, *figure) for figure in FIGURES),
        Column(
            "collapsed",
            "collapsed",
            lambda job: job.collapse_reason is not None if job.result else None,
            is_shown=any(job.collapse_reason is not None for job in jobs),
        ),
        Column("epochs", "epochs", lambda job: job.result.get("epochs_completed")),
        Column("elapsed_s", "time", lambda job: job.elapsed_s, lambda job: words.duration(job.elapsed_s)),
        Column("attempts", "attempts", lambda job: job.view.attempts),
    ]


def _sweep_column(axis: str) -> Column[Job]:
    return Column(f"sweep_{axis}", axis.replace("_", " "), lambda job: dict(job.view.job.sweep).get(axis, ""))


def _figure_column(jobs: Sequence[Job], method: str, name: str, heading: str, is_shown: bool) -> Column[Job]:
    return Column(
        f"{method}_{name}",
        heading,
        lambda job: job.figure(method, name),
        is_shown=is_shown and any(job.figure(method, name) is not None for job in jobs),
    )
