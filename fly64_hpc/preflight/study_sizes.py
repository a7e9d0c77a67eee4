"""The study itself: numbers that fit each other on paper, but not the scan."""

from collections.abc import Iterator

from fly64_hpc.job_matrix import TrainingJob
from fly64_hpc.preflight.finding import Finding, Severity
from fly64_hpc.preflight.request import PreflightRequest
from fly64_hpc.preflight.study_volume import patterns_of
from ptycho_torch.config import ViewConfig

SUBJECT = "study"
LEAST_GROUPS = 2
"""One to train and one to validate; a view with fewer is skipped."""


def examine(request: PreflightRequest) -> Iterator[Finding]:
    """Hold each view to the number of patterns that it will have."""
    found = [finding for kind in request.kinds for finding in _of_view(request, kind)]
    yield from found or [Finding(SUBJECT, Severity.OK, f"{len(request.jobs)} jobs; every view has patterns enough.")]


def _of_view(request: PreflightRequest, kind: TrainingJob) -> Iterator[Finding]:
    design = request.loaded.of(kind).design
    view, n_patterns = design.design.views[kind.view], patterns_of(design, kind.view)
    if n_patterns is None or any(one.view == kind.view for one in request.external):
        return
    name = kind.condition.words
    needed = LEAST_GROUPS * view.group_size
    if n_patterns < needed:
        yield Finding(
            SUBJECT,
            Severity.WARNING,
            f"View {name} keeps about {n_patterns} patterns a half, and gridsize {view.gridsize} needs {needed}: "
            "it would be skipped.",
            "Raise scan.positions or its image_fraction.",
        )
        return
    yield from _oversampling(name, view, n_patterns, design.design.neighbor_count)
    if design.training.batch_size > n_patterns and not request.paths.is_phase_f:
        yield Finding(
            SUBJECT,
            Severity.WARNING,
            f"training.batch_size is {design.training.batch_size}, but view {name} has about {n_patterns} patterns to train on: "
            "an epoch is a single step.",
            "Lower training.batch_size.",
        )


def _oversampling(name: str, view: ViewConfig, n_patterns: int, neighbor_count: int) -> Iterator[Finding]:
    """More groups than patterns, from no more neighbours than a group has members, cannot be drawn."""
    if view.groups is not None and view.groups > n_patterns and neighbor_count <= view.group_size and view.gridsize > 1:
        yield Finding(
            SUBJECT,
            Severity.ERROR,
            f"View {name} asks for {view.groups} groups of about {n_patterns} patterns with neighbor_count {neighbor_count}; "
            f"more groups than patterns need more than {view.group_size} neighbours (OVERSAMPLING-001).",
            f"Raise design.neighbor_count above {view.group_size}, or lower the view's groups.",
        )
