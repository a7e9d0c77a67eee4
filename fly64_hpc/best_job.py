"""The best of a study's jobs, by what its own evaluation on the unseen half says."""

from collections.abc import Mapping, Sequence
from typing import Any

from fly64_hpc.collector import JobView
from fly64_hpc.errors import RequestError
from fly64_hpc.job_state import JobState

FIGURES = {"phase-error": "phase_mae_rad", "held-out-deviance": "held_out_deviance"}
"""What a job may be best by, and the figure of its metrics; the first needs a known object."""
REFINED = "refined"


def best_job(jobs: Sequence[JobView], by: str | None, method: str | None) -> tuple[JobView, str, float]:
    """The job with the least figure among those that succeeded, which figure, and how large it is.

    Parameters
    ----------
    by
        A key of `FIGURES`; None: the phase error where the object is known, else the held-out deviance.
    method
        `network` or `refined`, of which the phase error is taken; None: refined where there is one. The held-out deviance is
        always the network's.

    Raises
    ------
    RequestError
        None of the jobs has succeeded, or none has the figure.
    """
    metrics = [(job, _metrics(job)) for job in jobs if job.outcome.state is JobState.SUCCEEDED]
    if not metrics:
        raise RequestError(f"None of {len(jobs)} jobs has succeeded.", hint="See status; wait for them, or loosen the filters.")
    for one in FIGURES if by is None else (by,):
        known = [(value, job) for job, own in metrics if (value := _figure(own, one, method)) is not None]
        if known:
            value, job = min(known, key=lambda pair: pair[0])
            return job, one, value
    raise RequestError(
        f"No job that succeeded has a {by or 'figure to be best by'}.", hint="Name a job instead, or choose another --best."
    )


def _metrics(job: JobView) -> Mapping[str, Any]:
    metrics: dict[str, Any] = (job.record.result or {}).get("metrics", {}) if job.record else {}
    return metrics


def _figure(metrics: Mapping[str, Any], by: str, method: str | None) -> float | None:
    name = FIGURES[by]
    if "halves" in metrics:  # a solver's
        solved = metrics["halves"]["test"]["methods"]["solver"]
        metrics = (solved["scores"] if metrics["halves"]["test"]["scored_against"] == "truth" else {}) | {
            "held_out_deviance": solved["held_out_deviance"]
        }
    elif name == "phase_mae_rad" and method != "network":
        metrics = metrics.get(REFINED, metrics if method is None else {})
    value: float | None = metrics.get(name)
    return value
