"""Every dataset that is there or is named: readable, within DATA-001, and with the sha256 on record. Reads all their bytes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fly64_hpc.errors import StudyDirectoryError
from fly64_hpc.file_digests import file_digest
from fly64_hpc.job_record import read_json
from fly64_hpc.preflight.finding import Finding, Severity
from fly64_hpc.preflight.request import PreflightRequest
from fly64_hpc.study import StudyDesign
from ptycho_torch.config import PtychoError
from ptycho_torch.npz_contract import read_arrays, read_dataset

SUBJECT = "datasets"
MADE_ANEW = "The submission makes it anew."
_BASE_PAIRS = (("objectGuess", "probeGuess"), ("obj", "probe"))


def examine(request: PreflightRequest) -> Iterator[Finding]:
    """The base file, and what was made already."""
    bases = {(design.base_file, design.design.patch_size_px): design for design in request.variants}
    for design in bases.values():
        yield from examine_base(design)
    if request.external:
        yield Finding(SUBJECT, Severity.OK, f"{len(request.external)} conditions read datasets from outside, within DATA-001.")
    missing = 0
    for record in request.data_records:
        if record.is_file():
            yield from _recorded(record)
        else:
            missing += 1
    if missing:
        yield Finding(SUBJECT, Severity.OK, f"{missing} datasets are still to be made, which the submission does first.")


def examine_base(design: StudyDesign) -> Iterator[Finding]:
    """Whether the base file holds what Phase C needs."""
    if design.base_file is None:
        return
    source = Path(design.base_file)
    try:
        problem = "" if design.base.npz is None else _base_problem(source, design.design.patch_size_px)
        if design.base.measured is not None:
            read_dataset(source)
    except PtychoError as error:
        yield Finding(SUBJECT, Severity.ERROR, error.message, error.hint)
        return
    if problem:
        yield Finding(
            SUBJECT, Severity.ERROR, f"{source}: {problem}.", "Save object and probe under one of these pairs of names."
        )
    else:
        yield Finding(SUBJECT, Severity.OK, f"{source} holds what a base needs.")


def _base_problem(source: Path, patch_size_px: int) -> str:
    arrays = read_arrays(source, {key for pair in _BASE_PAIRS for key in pair})
    for object_key, probe_key in _BASE_PAIRS:
        if object_key in arrays and probe_key in arrays:
            width = arrays[probe_key].shape[-1] if arrays[probe_key].ndim else 0
            return "" if width >= patch_size_px else f"the probe is {width} px wide, but patch_size_px is {patch_size_px}"
    return f"needs `objectGuess` and `probeGuess`, or `obj` and `probe`; of these it holds {sorted(arrays) or 'none'}"


def _recorded(record: Path) -> Iterator[Finding]:
    """The files that a record of datasets names."""
    try:
        files: dict[str, dict[str, Any]] = read_json(record)["files"]
        for name, facts in files.items():
            _verify(record.with_name(name), facts["sha256"])
    except PtychoError as error:
        yield Finding(SUBJECT, Severity.WARNING, error.message, MADE_ANEW)
    except (KeyError, TypeError, AttributeError):
        yield Finding(SUBJECT, Severity.WARNING, f"{record} is damaged.", MADE_ANEW)
    else:
        yield Finding(SUBJECT, Severity.OK, f"{record.parent}: {' and '.join(files)} are as recorded, and within DATA-001.")


def _verify(file: Path, sha256: str) -> None:
    read_dataset(file)
    if file_digest(file) != sha256:
        raise StudyDirectoryError(f"{file} has changed since it was made: its sha256 is not the one in the record beside it.")
