"""A study whose directory holds another version of it, of which nothing was ever made: its YAML may be mended."""

from fly64_hpc.collector import look
from fly64_hpc.errors import StudyChangedError
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.slurm.calls import SlurmCalls
from fly64_hpc.study_directory import holds_work
from fly64_hpc.study_growth import joined
from fly64_hpc.study_loading import LoadedStudy


def joined_or_mended(paths: StudyPaths, loaded: LoadedStudy, calls: SlurmCalls) -> LoadedStudy:
    """As `joined`; but a study of which nothing was ever made, as its dataset job failed, is taken as it is now."""
    try:
        return joined(paths, loaded)
    except StudyChangedError:
        if holds_work(paths) or look(paths, calls).is_live():
            raise
        return loaded
