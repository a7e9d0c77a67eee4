"""The datasets of a study: made where they are missing, or taken from folders that exist already."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fly64_hpc.errors import RequestError
from fly64_hpc.job_matrix import Condition, TrainingJob, first_of_each
from fly64_hpc.job_paths import StudyPaths, phase_c_folder, phase_d_folder
from fly64_hpc.job_record import DataFile, now_utc, read_skipped_views, skipped_condition, skipped_view
from fly64_hpc.resolved_study import ResolvedStudy
from fly64_hpc.sweep import Labels
from ptycho_torch.config import ViewConfig, ViewUnavailableError, sha256_file, sha256_json, write_json

Say = Callable[[str], None]


@dataclass(frozen=True)
class JobData:
    """The two files of a condition, and the digest of what they come from."""

    train: DataFile
    test: DataFile
    recipe_sha256: str


@dataclass(frozen=True)
class ExternalRoots:
    """Folders with datasets that exist already, laid out as this program lays them out."""

    phase_c: Path | None = None
    phase_d: Path | None = None


@dataclass(frozen=True)
class PreparedData:
    """What the conditions of a study read, and the views that could not be made."""

    data: dict[Condition, JobData]
    skipped: list[dict[str, Any]]


def reads_phase_c(view: ViewConfig) -> bool:
    """Whether a view is the whole scan, one pattern a group: then Phase C's files serve as they are."""
    return view.gridsize == 1 and view.image_fraction == 1


def file_names(view: str, view_config: ViewConfig) -> tuple[str, str]:
    """The names of a view's training and test file."""
    stem = "patched" if reads_phase_c(view_config) else view
    return f"{stem}_train.npz", f"{stem}_test.npz"


def external_data(study: ResolvedStudy, jobs: Sequence[TrainingJob], roots: ExternalRoots) -> dict[Condition, JobData]:
    """The conditions whose files lie in the named folders, each file checked against DATA-001.

    Raises
    ------
    DataContractError
        A file is missing or refused.
    """
    found: dict[Condition, JobData] = {}
    if (roots.phase_c is None) != (roots.phase_d is None):
        _refuse_half_of_the_data(study, jobs, roots)
    for job in first_of_each(jobs, lambda job: job.data):
        view = study.of(job).design.design.views[job.view]
        root = roots.phase_c if reads_phase_c(view) else roots.phase_d
        if root is not None:
            inside = _phase_c(job) if reads_phase_c(view) else phase_d_folder(job.dose_photons, job.view, job.data_sweep)
            train, test = (_external_file(root.resolve() / inside / name) for name in file_names(job.view, view))
            found[job.data] = JobData(train, test, sha256_json([train.sha256, test.sha256]))
    return found


def _phase_c(job: TrainingJob) -> Path:
    return phase_c_folder(job.dose_photons, job.dataset)


def _refuse_half_of_the_data(study: ResolvedStudy, jobs: Sequence[TrainingJob], roots: ExternalRoots) -> None:
    """Some networks on data from outside and others on data made here could not be compared."""
    missing = "--phase-d-root" if roots.phase_d is None else "--phase-c-root"
    for job in jobs:
        if reads_phase_c(study.of(job).design.design.views[job.view]) == (roots.phase_c is None):
            raise RequestError(
                f"View {job.view} needs {missing} too: its data would be made here, and the other views' not.",
                hint=f"Add {missing} DIR, or leave the view out with --view.",
            )


def _external_file(path: Path) -> DataFile:
    from ptycho_torch.npz_contract import read_dataset  # imports numpy

    plain = path.with_name(path.name.rpartition("_")[2])  # upstream's later layout: train.npz in the view's folder
    file = plain if not path.exists() and plain.exists() else path
    read_dataset(file)
    return DataFile(path=str(file), sha256=sha256_file(file), external=True)


def prepare_data(
    paths: StudyPaths, study: ResolvedStudy, jobs: Sequence[TrainingJob], external: dict[Condition, JobData], say: Say
) -> PreparedData:
    """Make what is missing of the datasets of `jobs`; views that cannot be made are noted as skipped.

    Raises
    ------
    RequestError
        The base or the scan cannot give a dataset; nothing was written for that dose.
    """
    prepared = PreparedData(dict(external), [])
    wanted: dict[tuple[float, Labels], list[TrainingJob]] = {}
    for job in first_of_each(jobs, lambda job: job.data):
        if job.data not in external:
            wanted.setdefault((job.dose_photons, job.dataset), []).append(job)
    for alike in wanted.values():
        _prepare_dataset(paths, study, alike[0], say)
        for job in alike:
            _prepare_view(paths, study, job, prepared, say)
    return prepared


def _prepare_dataset(paths: StudyPaths, study: ResolvedStudy, job: TrainingJob, say: Say) -> None:
    from ptycho_torch import pipeline  # making data needs torch; --help and --print-only do not

    variant, folder = study.of(job), paths.phase_c(job.dose_photons, job.dataset)
    recipe = variant.dataset_recipe(job.dose_photons)
    try:
        record = pipeline.prepare_dataset(recipe, folder)
    except OSError as error:
        raise RequestError(f"{folder} cannot be written: {error.strerror}.", hint="Choose another --output-root.") from None
    drawn = ", ".join(
        f"{name} {facts['n_patterns']} patterns of {facts['photons_per_frame_drawn']:.4g} photons"
        for name, facts in record["files"].items()
    )
    say(f"{' '.join(_phase_c(job).parts)}: {drawn}")


def _prepare_view(paths: StudyPaths, study: ResolvedStudy, job: TrainingJob, prepared: PreparedData, say: Say) -> None:
    from ptycho_torch import pipeline

    variant = study.of(job)
    config = variant.design.design.views[job.view]
    recipe = variant.view_recipe(job.dose_photons, job.view)
    source = folder = paths.phase_c(job.dose_photons, job.dataset)
    if not reads_phase_c(config):
        place = phase_d_folder(job.dose_photons, job.view, job.data_sweep)
        folder = paths.phase_d(job.dose_photons, job.view, job.data_sweep)
        try:
            bundle = pipeline.prepare_view(recipe, source, folder)
        except ViewUnavailableError as error:
            prepared.skipped.append(skipped_view(job.data, str(error)))
            say(f"{' '.join(place.parts)}: skipped: {error}")
            return
        say(f"{' '.join(place.parts)}: {_overlap_words(bundle)}")
    train, test = (
        DataFile(path=paths.inside(folder / name), sha256=sha256_file(folder / name)) for name in file_names(job.view, config)
    )
    prepared.data[job.data] = JobData(train, test, recipe.sha256())


def _overlap_words(bundle: dict[str, Any]) -> str:
    train = bundle["train"]
    names = {
        "metric_1_group_based_avg": "within groups",
        "metric_2_image_based_avg": "between neighbours",
        "metric_3_group_to_group_avg": "between groups",
    }
    overlaps = ", ".join(f"{train[key]:.2f} {words}" for key, words in names.items() if train.get(key) is not None)
    return f"{train['n_images_subsampled']} of {train['n_images_total']} training patterns, overlap {overlaps}"


def write_skip_summary(paths: StudyPaths, prepared: PreparedData) -> None:
    """Bring skip_summary.json up to date with the conditions that were just prepared."""
    kept = [view for view in read_skipped_views(paths.skip_summary) if skipped_condition(view) not in prepared.data]
    known = {skipped_condition(view) for view in prepared.skipped}
    views = [view for view in kept if skipped_condition(view) not in known] + prepared.skipped
    write_json(paths.skip_summary, {"timestamp": now_utc(), "skipped_views": views, "skipped_count": len(views)})
