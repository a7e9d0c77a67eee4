"""The dataset job: on a node, makes the datasets of a submission's jobs and says what each job is, before the arrays start."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from fly64_hpc import datasets
from fly64_hpc.datasets import JobData, PreparedData, Say
from fly64_hpc.errors import StudyDirectoryError
from fly64_hpc.file_digests import file_digest
from fly64_hpc.file_lock import locked
from fly64_hpc.frozen_code import require_code
from fly64_hpc.job_matrix import TrainingJob, job_config
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.job_record import JobSpec, read_record
from fly64_hpc.process_identity import this_process
from fly64_hpc.resolved_study import ResolvedStudy
from fly64_hpc.study_directory import read_study
from fly64_hpc.submissions import DatasetJobRecord, Submission


def run_dataset_job(paths: StudyPaths, submission: Submission, say: Say) -> bool:
    """Make the datasets of a submission and leave a record; whether that succeeded."""
    record = DatasetJobRecord(state="running", process=this_process())
    record.write(paths.dataset_job(submission.number))
    try:
        require_code(paths, submission.code)
        study = read_study(paths)
        jobs = [job for job in study.jobs if job.job_id in submission.jobs]
        with _one_maker(paths):
            write_jobs(paths, study, jobs, datasets.prepare_data(paths, study, jobs, {}, say))
    except Exception as error:  # noqa: BLE001 - whatever it is, the record must say it, for the jobs that wait
        words = f"{type(error).__name__}: {error}"
        record.model_copy(update={"state": "failed", "error": words}).write(paths.dataset_job(submission.number))
        say(f"the datasets could not be made: {words}")
        return False
    record.model_copy(update={"state": "succeeded"}).write(paths.dataset_job(submission.number))
    return True


@contextmanager
def _one_maker(paths: StudyPaths) -> Iterator[None]:
    """Dataset jobs of two submissions may want the same datasets: one makes them, the other finds them made."""
    paths.data.mkdir(parents=True, exist_ok=True)
    with locked(paths.data / ".lock"):
        yield


def have_data(paths: StudyPaths, study: ResolvedStudy, job: TrainingJob, *, from_outside: bool = False) -> bool:
    """Whether a job's job.json is of this study, and the files that it names lie there unharmed.

    Files from outside the study directory count where `from_outside` allows them.
    """
    try:
        spec = read_record(paths.job(job).spec, JobSpec)
    except StudyDirectoryError:
        return False
    if spec.train_data.external and not from_outside:
        return False
    variant = study.of(job)
    recipe_sha256 = variant.view_recipe(job.dose_photons, job.view).sha256()
    if spec.train_data.external:
        recipe_sha256 = spec.config.data_recipe_sha256
    files = ((paths.absolute(data.path), data.sha256) for data in (spec.train_data, spec.test_data))
    return spec.config_sha256 == job_config(variant.design, job, recipe_sha256).config_sha256() and all(
        file.is_file() and file_digest(file) == digest for file, digest in files
    )


def write_jobs(
    paths: StudyPaths,
    study: ResolvedStudy,
    jobs: Sequence[TrainingJob],
    prepared: PreparedData,
    *,
    at_work: Collection[str] = (),
) -> list[TrainingJob]:
    """Write each job's job.json, and which views could not be made; the jobs that have data are returned.

    A job `at_work` keeps its job.json: it belongs to the submission that asked for it.
    """
    datasets.write_skip_summary(paths, prepared)
    able = [job for job in jobs if job.data in prepared.data]
    for job in (job for job in able if job.job_id not in at_work):
        job_spec(study, job, prepared.data[job.data]).write(paths.job(job).spec)
    return able


def changed_jobs(paths: StudyPaths, study: ResolvedStudy, jobs: Sequence[TrainingJob], prepared: PreparedData) -> list[str]:
    """Ids of the jobs whose job.json is of another configuration, or of other data, than it would be now."""
    known = [job for job in jobs if job.data in prepared.data and paths.job(job).spec.exists()]
    specs = [(job, job_spec(study, job, prepared.data[job.data])) for job in known]
    return [job.job_id for job, spec in specs if _has_changed(paths, job, spec)]


def _has_changed(paths: StudyPaths, job: TrainingJob, spec: JobSpec) -> bool:
    try:
        return read_record(paths.job(job).spec, JobSpec).config_sha256 != spec.config_sha256
    except StudyDirectoryError:
        return True


def job_spec(study: ResolvedStudy, job: TrainingJob, data: JobData) -> JobSpec:
    """What a job is, with the data that it reads."""
    config = job_config(study.of(job).design, job, data.recipe_sha256)
    return JobSpec(config=config, config_sha256=config.config_sha256(), train_data=data.train, test_data=data.test)
