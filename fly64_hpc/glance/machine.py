"""What `status --json` says: everything, with units in the names. Pure."""

from typing import Any

from fly64_hpc.glance import words
from fly64_hpc.glance.facts import JobGlance, StudyGlance
from fly64_hpc.job_state import JobState


def machine_view(glance: StudyGlance, calls: dict[str, int]) -> dict[str, Any]:
    """The study as JSON has it.

    Parameters
    ----------
    calls
        How often each of Slurm's commands was called.
    """
    states = [job.state for job in glance.jobs]
    spent = glance.spent
    return {
        "study": glance.view.study.design.study,
        "study_dir": str(glance.view.paths.root),
        "made_utc": glance.made_utc,
        "is_live": glance.view.is_live(),
        "counts": {state.value: states.count(state) for state in JobState},
        "stuck_jobs": [job.view.job.job_id for job in glance.jobs if job.is_stuck],
        "asked_gpu_h": glance.asked_gpu_h,
        "used_gpu_h": spent.gpu_h,
        "lost_gpu_h": spent.lost_gpu_h,
        "used_h": spent.hours,
        "lost_h": spent.lost_hours,
        "problems": list(glance.view.problems),
        "scheduler_calls": calls,
        "jobs": [job_facts(job) for job in glance.jobs],
    }


def job_facts(job: JobGlance) -> dict[str, Any]:
    """A job as JSON has it; what is not known is null."""
    cell = job.view.job
    solver = {"solver": cell.solver} if cell.solver else {}
    return {
        "job": cell.job_id,
        "dose_photons": cell.dose_photons,
        "view": cell.view,
        "gridsize": cell.gridsize,
        "seed": cell.seed,
        **({"sweep": dict(cell.sweep)} if cell.sweep else {}),
        **solver,
        "state": job.state.value,
        "is_live": job.view.outcome.is_live,
        "is_stuck": job.is_stuck,
        "is_suspended": job.is_halted,
        "why": words.why(job),
        "state_reason": job.view.outcome.reason,
        "attempts": job.view.attempts,
        "node": job.view.node or None,
        **_progress(job),
        **_queue(job),
        "used_gpu_h": job.spent.gpu_h,
        "lost_gpu_h": job.spent.lost_gpu_h,
        "used_h": job.spent.hours,
        "lost_h": job.spent.lost_hours,
    }


def _progress(job: JobGlance) -> dict[str, Any]:
    beat, forecast = job.beat, job.forecast
    return {
        "epoch": job.epoch,
        "epochs": job.epochs,
        "lesson": job.last.lesson,
        "train_loss": job.last.train_loss,
        "val_loss": job.last.val_loss,
        "val_losses": [row.get("val_loss") for row in job.lesson],
        "samples_per_s": job.last.samples_per_s,
        "phase": beat.phase if beat else None,
        "step": beat.step if beat else None,
        "total_steps": beat.total_steps if beat else None,
        "step_s": beat.step_s if beat else None,
        "silence_s": job.silence_s,
        "checkpoint_age_s": job.checkpoint_age_s,
        "training_left_s": forecast.training_s,
        "training_left_is_whole": forecast.is_whole if forecast.training_s is not None else None,
        "limit_left_s": forecast.limit_s,
        "fits_limit": forecast.fits,
    }


def _queue(job: JobGlance) -> dict[str, Any]:
    queue = job.view.queue
    return {
        "scheduler_state": queue.word if queue else None,
        "scheduler_reason": queue.reason or None if queue else None,
        "limit_s": queue.limit_s if queue else None,
        "start_utc": queue.start_utc if queue else None,
    }
