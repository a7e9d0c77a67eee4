"""Which files the study directory holds, by what they are for."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fly64_hpc.report_page import words
from fly64_hpc.report_page.facts import StudyFacts, shown
from fly64_hpc.report_page.markup import Markup, paragraph, section, tag
from fly64_hpc.report_page.tables import Column, sortable
from ptycho_torch.npz_contract import RECONSTRUCTION_NAME

MOST_FILES = 300


@dataclass(frozen=True)
class StudyFile:
    """One file."""

    path: str
    """Relative to the study directory; absolute where it lies outside."""
    what: str
    size_bytes: int


def study_files(facts: StudyFacts) -> list[StudyFile]:
    """The files that a reader may want, those of the whole study first."""
    found = {path: what for path, what in _candidates(facts) if path.is_file()}
    return [StudyFile(facts.paths.inside(path), what, path.stat().st_size) for path, what in found.items()]


def files_section(facts: StudyFacts) -> Markup:
    """A line a file."""
    every = study_files(facts)
    chosen, more = shown(every, MOST_FILES, "files")
    total = words.size(sum(file.size_bytes for file in every))
    lead = f"{words.count(len(every), 'file')} of {total} in {facts.paths.root}; checkpoints and attempts' records lie there too."
    return section(
        "files",
        "Files",
        paragraph(lead, class_="lead"),
        paragraph(more) if more else None,
        sortable("files", "Files of the study", _COLUMNS, chosen),
    )


def _candidates(facts: StudyFacts) -> Iterable[tuple[Path, str]]:
    paths = facts.paths
    yield paths.study, "the study, every default filled in"
    yield paths.manifest, "state and result of every job"
    yield paths.checkpoint_index, "every checkpoint with its sha256"
    for submission in facts.view.submissions:
        if submission.code is not None:
            yield paths.frozen_code(submission.code), "the code that its nodes ran"
        if submission.provenance is not None and submission.provenance.code.diff is not None:
            yield paths.absolute(submission.provenance.code.diff), "what that code had changed since its commit"
    yield paths.skip_summary, "views that could not be made"
    yield paths.comparison / "comparison.csv", "the comparison"
    yield paths.comparison / "comparison.png", "the comparison as a picture"
    for job in facts.jobs:
        for data in (job.view.spec.train_data, job.view.spec.test_data) if job.view.spec else ():
            yield paths.absolute(data.path), "dataset (DATA-001)"
    for job in facts.jobs:
        own = job.view.paths
        yield own.bundle, "weights"
        yield own.root / "model.json", "how to run the weights"
        yield own.root / RECONSTRUCTION_NAME, "reconstruction of the unseen half"
        yield own.history, "losses, a line an epoch"
        yield own.log, "log"
        yield paths.evaluation(job.view.job) / "evaluation.json", "evaluation of both halves"


_COLUMNS: list[Column[StudyFile]] = [
    Column("path", "file", lambda file: file.path, lambda file: tag("code", file.path)),
    Column("what", "what it is", lambda file: file.what),
    Column("size_bytes", "size", lambda file: file.size_bytes, lambda file: words.size(file.size_bytes)),
]
