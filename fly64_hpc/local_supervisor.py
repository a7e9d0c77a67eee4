"""The supervisor process of a local submission: `python -m fly64_hpc.local_supervisor STUDY_DIR SUBMISSION`."""

import sys
from pathlib import Path

from fly64_hpc.executors.local import Supervisor, slots
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.job_record import read_record
from fly64_hpc.study_directory import read_study
from fly64_hpc.submissions import Submission


def main(arguments: list[str]) -> None:
    """Run one submission to its end."""
    paths = StudyPaths(Path(arguments[0]))
    submission = read_record(paths.submission(int(arguments[1])), Submission)
    training = read_study(paths).design.training
    Supervisor(paths, submission, slots(training.threads, training.device)).run()


if __name__ == "__main__":
    main(sys.argv[1:])
