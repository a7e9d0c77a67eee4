"""What a study directory says of its own files, as claims that can be checked; see `verify`. Reads JSON only, and hashes nothing.

A claim is a file and the sha256 that some record has of it. A difference is a claim that does not hold, or two records that
contradict each other. What no record names is nobody's business here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fly64_hpc.errors import StudyDirectoryError
from fly64_hpc.evaluation_record import EVALUATION_NAME, EvaluationRecord
from fly64_hpc.job_matrix import TrainingJob, first_of_each, job_config
from fly64_hpc.job_paths import JobPaths, StudyPaths
from fly64_hpc.job_record import AttemptRecord, DamagedRecord, JobSpec, bundle_of, read_attempt, read_json, read_record
from fly64_hpc.study_directory import StoredStudy

MAKE_AGAIN = "Run submit again: it makes the datasets anew."
BRING_BACK = "Bring the file back as it was, or submit the study under another name."
TRAIN_AGAIN = "Run submit again: the job goes on from its last checkpoint."
INDEX_AGAIN = "Run collect to bring the index up to date, and use another checkpoint if it stays."
EVALUATE_AGAIN = "Run evaluate again."
SUBMIT_AGAIN = "Run submit again with the study's YAML: it writes the file anew."
COLLECT_AGAIN = "Run collect again."


@dataclass(frozen=True)
class Claim:
    """That a file has a sha256."""

    file: Path
    sha256: str
    named_in: str
    """The record that says so, as the study directory names it."""
    todo: str
    """What to do where it has not."""


@dataclass(frozen=True)
class Difference:
    """Something that is not as it is recorded."""

    path: str
    what: str
    expected: str
    found: str
    """`missing` where there is no such file."""
    named_in: str
    todo: str

    def __str__(self) -> str:
        if self.found == "missing":
            return f"{self.path} is missing; {self.named_in} has it with {self.what} {self.expected}. {self.todo}"
        return f"{self.path}: its {self.what} is {self.found}, {self.named_in} has {self.expected}. {self.todo}"


Finding = Claim | Difference


def damaged(path: str, words: str, todo: str) -> Difference:
    """A record that cannot be read."""
    return Difference(path, "content", "a record that can be read", words, "this version", todo)


def findings(paths: StudyPaths, study: StoredStudy) -> Iterator[Finding]:
    """Everything that a study directory claims, and where its records differ from each other."""
    own = study.design.sha256(study.base_sha256, study.swept_base_sha256)
    yield from _same(paths.inside(paths.study), "study_sha256", own, study.sha256, "what it resolves to", SUBMIT_AGAIN)
    yield from _dataset_findings(paths, study)
    for job in study.jobs:
        yield from _JobFindings(paths, study, job).all()
    yield from _manifest_findings(paths)
    if not paths.is_phase_f:
        yield from _index_findings(paths)


def _same(path: str, what: str, expected: Any, found: Any, named_in: str, todo: str) -> Iterator[Finding]:
    if expected != found:
        yield Difference(path, what, str(expected), str(found), named_in, todo)


def _dataset_findings(paths: StudyPaths, study: StoredStudy) -> Iterator[Finding]:
    records: dict[Path, tuple[str, Path]] = {}
    for job in first_of_each(study.jobs, lambda job: job.data):
        variant, dose = study.of(job), job.dose_photons
        folder = paths.phase_c(dose, job.dataset)
        view_folder = paths.phase_d(dose, job.view, job.data_sweep)
        records[folder / "record.json"] = variant.dataset_recipe(dose).sha256(), folder
        recipe = variant.view_recipe(dose, job.view)
        records[view_folder / "metrics_bundle.json"] = recipe.sha256(), folder
    for record, (sha256, folder) in records.items():
        yield from _record_findings(paths, record, sha256, folder)


def _record_findings(paths: StudyPaths, file: Path, recipe_sha256: str, sources: Path) -> Iterator[Finding]:
    """Of a folder of datasets with a record; there is none where a view reads Phase C's files, or data are from outside."""
    if not file.exists():
        return
    name = paths.inside(file)
    try:
        record = read_json(file)
        files = {file.with_name(one): facts["sha256"] for one, facts in record["files"].items()}
        files |= {sources / one: digest for one, digest in record.get("sources", {}).items()}
        found = record["recipe_sha256"]
    except (StudyDirectoryError, KeyError, TypeError, AttributeError) as error:
        yield damaged(name, _words(error), MAKE_AGAIN)
        return
    yield from _same(name, "recipe_sha256", recipe_sha256, found, paths.inside(paths.study), MAKE_AGAIN)
    yield from (Claim(one, digest, name, MAKE_AGAIN) for one, digest in files.items())


class _JobFindings:
    """What is claimed of one job; nothing where it has no job.json yet."""

    def __init__(self, paths: StudyPaths, study: StoredStudy, job: TrainingJob) -> None:
        self._paths, self._study, self._job = paths, study, job
        self._own: JobPaths = paths.job(job)

    def all(self) -> Iterator[Finding]:
        if not self._own.spec.exists():
            return
        name = self._paths.inside(self._own.spec)
        try:
            spec = read_record(self._own.spec, JobSpec)
        except StudyDirectoryError as error:
            yield damaged(name, _words(error), SUBMIT_AGAIN)
            return
        yield from self._spec_findings(spec, name)
        yield from self._success_findings(spec)
        yield from self._evaluation_findings()

    def _spec_findings(self, spec: JobSpec, name: str) -> Iterator[Finding]:
        yield from _same(name, "config_sha256", spec.config.config_sha256(), spec.config_sha256, "its own config", SUBMIT_AGAIN)
        data, variant = spec.config.data_recipe_sha256, self._study.of(self._job)
        if not spec.train_data.external:
            data = variant.view_recipe(self._job.dose_photons, self._job.view).sha256()
        expected = job_config(variant.design, self._job, data).config_sha256()
        study = self._paths.inside(self._paths.study)
        yield from _same(name, "config_sha256", expected, spec.config.config_sha256(), study, SUBMIT_AGAIN)
        for file in (spec.train_data, spec.test_data):
            yield Claim(self._paths.absolute(file.path), file.sha256, name, BRING_BACK if file.external else MAKE_AGAIN)

    def _success_findings(self, spec: JobSpec) -> Iterator[Finding]:
        """Of every attempt's record, and of the bundle that the newest success left."""
        success: AttemptRecord | None = None
        for number in self._own.attempt_numbers():
            record = read_attempt(self._own.result(number), number)
            if isinstance(record, DamagedRecord):
                yield damaged(self._paths.inside(self._own.result(number)), record.reason, TRAIN_AGAIN)
            elif record is not None and record.state == "succeeded":
                success = record
        if success is None:
            return
        name = self._paths.inside(self._own.result(success.attempt))
        job = self._paths.inside(self._own.spec)
        yield from _same(name, "config_sha256", spec.config_sha256, success.config_sha256, job, TRAIN_AGAIN)
        yield Claim(bundle_of(self._own, success), str((success.result or {}).get("bundle_sha256")), name, TRAIN_AGAIN)
        yield from self._half_findings(success, name) if self._paths.is_phase_f else self._model_findings(success, name)

    def _half_findings(self, success: AttemptRecord, named_in: str) -> Iterator[Finding]:
        """What a solver made of each half."""
        for half in ((success.result or {}).get("metrics") or {}).get("halves", {}).values():
            for one in half["methods"].values():
                yield Claim(self._own.root / one["file"], one["sha256"], named_in, TRAIN_AGAIN)

    def _model_findings(self, success: AttemptRecord, named_in: str) -> Iterator[Finding]:
        file = self._own.root / "model.json"
        name = self._paths.inside(file)
        try:
            facts = read_json(file)
            config, weights = facts["config_sha256"], facts["weights_sha256"]
        except (StudyDirectoryError, KeyError, TypeError) as error:
            yield damaged(name, _words(error), TRAIN_AGAIN)
            return
        yield from _same(name, "config_sha256", success.config_sha256, config, named_in, TRAIN_AGAIN)
        yield Claim(self._own.bundle, str(weights), name, TRAIN_AGAIN)

    def _evaluation_findings(self) -> Iterator[Finding]:
        folder = self._paths.evaluation(self._job)
        file = folder / EVALUATION_NAME
        if self._paths.is_phase_f or not file.exists():
            return
        name = self._paths.inside(file)
        try:
            record = read_record(file, EvaluationRecord)
            methods = [one for half in record.halves.values() for one in half["methods"].values()]
            images = [(folder / one["file"], one["sha256"]) for one in methods]
        except (StudyDirectoryError, KeyError, TypeError) as error:
            yield damaged(name, _words(error), EVALUATE_AGAIN)
            return
        yield from (Claim(image, digest, name, EVALUATE_AGAIN) for image, digest in images)
        yield Claim(self._own.bundle, record.bundle_sha256, name, EVALUATE_AGAIN)


def _manifest_findings(paths: StudyPaths) -> Iterator[Finding]:
    if not paths.manifest.exists():
        return
    name = paths.inside(paths.manifest)
    try:
        for job in read_json(paths.manifest)["jobs"]:
            for half in ("train", "test"):
                if job[f"{half}_data_path"] is not None:
                    file = paths.absolute(job[f"{half}_data_path"])
                    yield Claim(file, job[f"{half}_data_sha256"], name, COLLECT_AGAIN)
            if job["result"] is not None:
                result = job["result"]
                yield Claim(paths.absolute(result["bundle_path"]), result["bundle_sha256"], name, COLLECT_AGAIN)
    except (StudyDirectoryError, KeyError, TypeError) as error:
        yield damaged(name, _words(error), COLLECT_AGAIN)


def _index_findings(paths: StudyPaths) -> Iterator[Finding]:
    if not paths.checkpoint_index.exists():
        return
    name = paths.inside(paths.checkpoint_index)
    try:
        for one in read_json(paths.checkpoint_index)["checkpoints"]:
            yield Claim(paths.absolute(one["path"]), one["sha256"], name, INDEX_AGAIN)
    except (StudyDirectoryError, KeyError, TypeError) as error:
        yield damaged(name, _words(error), COLLECT_AGAIN)


def _words(error: Exception) -> str:
    return error.message if isinstance(error, StudyDirectoryError) else f"it lacks {error}"
