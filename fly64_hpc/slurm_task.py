"""What every Slurm job of a submission runs on its node: `python -m fly64_hpc.slurm_task STUDY_DIR SUBMISSION PART`.

What there is to do is read from the submission's record; in an array, the array index says which job.
"""

import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from fly64_hpc.frozen_code import code_problem
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.job_record import AttemptRecord, read_record, read_skipped_conditions
from fly64_hpc.stop_signals import TimeLimit
from fly64_hpc.study_directory import find_job
from fly64_hpc.submissions import Part, Submission
from fly64_hpc.train_task import attempt_job
from ptycho_torch.config import PtychoError

STARTED = time.time()
EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_INTERRUPTED = 75
"""EX_TEMPFAIL: Slurm must not call an interrupted training completed."""

PREEMPTION_WAIT_S = 300.0


def main(arguments: list[str]) -> int:
    """Run one task; its exit code is returned."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # a warning means something to a training only
    paths = StudyPaths(Path(arguments[0]))
    submission = read_record(paths.submission(int(arguments[1])), Submission)
    part = submission.parts[int(arguments[2])]
    if part.kind == "train":
        return _train(paths, part, os.environ)
    if part.kind == "data":
        from fly64_hpc.dataset_job import run_dataset_job

        return EXIT_DONE if run_dataset_job(paths, submission, _say) else EXIT_FAILED
    from fly64_hpc.collector_job import run_collector_job

    if problem := code_problem(paths, submission.code):
        _say(f"{problem} This collector job goes on: it trains nothing")
    run_collector_job(paths, submission.number, int(arguments[2]), _say)
    return EXIT_DONE


def _train(paths: StudyPaths, part: Part, environment: Mapping[str, str]) -> int:
    own_id = environment.get("SLURM_ARRAY_JOB_ID")
    if part.scheduler_job_id not in (None, own_id):
        _say(f"array {own_id} is not {part.scheduler_job_id}, which the submission has on record: nothing to do")
        return EXIT_DONE
    job = find_job(paths, part.jobs[int(environment["SLURM_ARRAY_TASK_ID"])])
    if job.data in read_skipped_conditions(paths.skip_summary):
        _say(f"{job.job_id}: its view could not be made")
        return EXIT_DONE
    record = attempt_job(str(paths.root), job.job_id, time_limit(part, environment))
    if record is None or record.state == "succeeded":
        return EXIT_DONE
    if record.state == "interrupted":
        _wait_to_be_taken_back(record)
        return EXIT_INTERRUPTED
    _say(f"{job.job_id}: {record.error.message if record.error else record.state}")
    return EXIT_FAILED


def time_limit(part: Part, environment: Mapping[str, str]) -> TimeLimit:
    """When Slurm will end this task: as it says itself, which older ones do not, or counted from the start of this process."""
    own = STARTED + 60.0 * part.resources.time_limit_min
    end = environment.get("SLURM_JOB_END_TIME", "")
    return TimeLimit(end=float(end) if end.isdigit() else own, warning_s=part.resources.signal_delay_s)


def _wait_to_be_taken_back(record: AttemptRecord) -> None:
    """After a warning that is not the time limit's, wait to be ended: Slurm requeues a preempted job only if it still runs."""
    if record.stopped_by == signal.SIGUSR2.name:
        time.sleep(PREEMPTION_WAIT_S)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (PtychoError, OSError) as error:
        _say(f"error: {error}")
        sys.exit(EXIT_FAILED)
