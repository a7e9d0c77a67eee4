"""comparison.csv: one line a cell, mean and 95 % interval over the seeds, and the digests that each figure comes from."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

from fly64_hpc.comparison import Cell, Measurement

SCORES = (
    "nmse",
    "phase_mae_rad",
    "phase_psnr_db",
    "amplitude_psnr_db",
    "phase_ssim",
    "amplitude_ssim",
    "frc_crossing_cycles_per_px",
    "phase_std_ratio",
    "phase_correlation",
)
"""Figures of a cell that compare images."""
FIGURES = (*SCORES, "held_out_deviance", "steps", "training_s", "reconstruction_s")
DIGESTS = ("config_sha256", "train_data_sha256", "test_data_sha256", "bundle_sha256")
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Mean:
    """A mean over seeds."""

    value: float
    half_width: float | None
    """Of the 95 % interval by Student's t; None for a single seed."""


def mean_of(values: Sequence[float]) -> Mean | None:
    """The mean and its interval; None of nothing."""
    if not values:
        return None
    mean = sum(values) / len(values)
    if len(values) == 1:
        return Mean(mean, None)
    from scipy.stats import t  # takes a second to import

    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return Mean(mean, float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * sqrt(variance / len(values)))


def figure(measurement: Measurement, name: str) -> float | None:
    """One figure of a measurement, where it has it."""
    if name == "training_s":
        return measurement.training_s
    if name in SCORES:
        value: float | None = (measurement.figures["scores"] or {}).get(name)
        return value
    own: float | None = measurement.figures["seconds" if name == "reconstruction_s" else name]
    return own


def cell_mean(cell: Cell, name: str) -> Mean | None:
    """A figure of a cell over its seeds; None where any seed lacks it, for a mean over others would be another thing."""
    values = [figure(measurement, name) for measurement in cell.measurements]
    return None if None in values else mean_of([value for value in values if value is not None])


def table(study: str, cells: Sequence[Cell]) -> list[dict[str, str]]:
    """The cells as rows of text, with a column for each axis of the sweep, empty where it does not count."""
    axes = list(dict.fromkeys(axis for cell in cells for axis, _ in cell.condition.sweep))
    return [_row(study, cell, axes) for cell in cells]


def csv_text(rows: Sequence[dict[str, str]]) -> str:
    """The rows as CSV with a heading."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def _row(study: str, cell: Cell, axes: Sequence[str]) -> dict[str, str]:
    row = {
        "study": study,
        "dose_photons": f"{cell.condition.dose_photons:g}",
        "view": cell.condition.view,
        **{f"sweep_{axis}": dict(cell.condition.sweep).get(axis, "") for axis in axes},
        "gridsize": str(cell.gridsize),
        "method": cell.method,
        "half": "unseen" if cell.half == "test" else "training",
        "state": cell.state,
        "missing": "; ".join(cell.missing),
        "n_seeds": str(len(cell.measurements)),
        "seeds": _joined(cell, lambda one: str(one.seed)),
        "scored_against": _distinct(cell, lambda one: one.scored_against),
        "collapsed_seeds": str(sum(_has_collapsed(one) for one in cell.measurements)),
    }
    for name in FIGURES:
        mean = cell_mean(cell, name)
        row[name] = "" if mean is None else f"{mean.value:.6g}"
        row[f"{name}_ci95"] = "" if mean is None or mean.half_width is None else f"{mean.half_width:.3g}"
    row["device"] = _distinct(cell, lambda one: one.device)
    return row | {name: _joined(cell, lambda one, name=name: getattr(one, name)) for name in DIGESTS}  # type: ignore[misc]


def _has_collapsed(measurement: Measurement) -> bool:
    scores: dict[str, Any] = measurement.figures["scores"] or {}
    return scores.get("collapse_reason") is not None


def _joined(cell: Cell, what: Callable[[Measurement], str]) -> str:
    """One entry a seed, in the order of `seeds`."""
    return " ".join(what(one) for one in cell.measurements)


def _distinct(cell: Cell, what: Callable[[Measurement], str]) -> str:
    return ", ".join(dict.fromkeys(what(one) for one in cell.measurements))
