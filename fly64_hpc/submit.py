"""Submit a study: make what data is missing, hand its jobs to an executor, return (or wait)."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fly64_hpc import datasets
from fly64_hpc.collector import StudyView, collect, look
from fly64_hpc.command_line import (
    Output,
    VerbParser,
    add_filter_flags,
    add_resource_flags,
    add_study_flags,
    job_filter,
    loaded_study,
    new_study_paths,
    run_verb,
)
from fly64_hpc.datasets import ExternalRoots, JobData, PreparedData
from fly64_hpc.errors import EXIT_JOB_FAILED, EXIT_OK, RequestError, SchedulerError
from fly64_hpc.handing_over import hand_over, record_intent
from fly64_hpc.job_matrix import JobFilter, TrainingJob, job_config, job_matrix, select
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.job_record import JobSpec
from fly64_hpc.job_state import JobState
from fly64_hpc.plan import plan, plan_lines
from fly64_hpc.study_directory import refuse_other_version, write_study
from fly64_hpc.study_loading import LoadedStudy
from fly64_hpc.submissions import ExecutorName, submitting
from fly64_hpc.watching import say_study, watch

EXAMPLES = ("--partition gpu", "--study configs/fly64_demo.yaml --executor local --dose 1000 --view baseline --wait")


def parser() -> argparse.ArgumentParser:
    """The command line of `submit`."""
    verb = VerbParser(
        "submit", "Submit a study: expand its job matrix, make missing datasets, hand the jobs to an executor.", EXAMPLES
    )
    add_study_flags(verb)
    verb.add_argument(
        "--executor", choices=("auto", "slurm", "local", "debug"), default="auto", help="auto is slurm where sbatch is"
    )
    add_resource_flags(verb)
    add_filter_flags(verb)
    verb.add_argument(
        "--print-only", "--dry-run", action="store_true", help="print what would happen and the exact scripts; touch nothing"
    )
    verb.add_argument("--phase-c-root", type=Path, metavar="DIR", help="train on Phase C datasets that exist already")
    verb.add_argument("--phase-d-root", type=Path, metavar="DIR", help="train on Phase D datasets that exist already")
    verb.add_argument("--wait", action="store_true", help="stay, show progress, collect, exit with the study's outcome")
    verb.add_argument("-y", "--yes", action="store_true", help="no question before submitting")
    return verb


def main(argv: Sequence[str]) -> int:
    """Run the verb; its exit code is returned."""
    arguments = parser().parse_args(argv)
    output = Output(arguments.json)
    loaded = loaded_study(arguments)
    selection = job_filter(arguments)
    jobs = select(job_matrix(loaded.design), selection)
    paths = new_study_paths(arguments, loaded)
    refuse_other_version(paths, loaded)
    external = datasets.external_data(loaded, jobs, ExternalRoots(arguments.phase_c_root, arguments.phase_d_root))
    if arguments.print_only:
        meant: ExecutorName = "slurm" if arguments.executor == "auto" else arguments.executor
        return _print_plan(output, plan(paths, loaded, open_jobs(paths, jobs), meant))
    executor = choose_executor(arguments.executor)
    _refuse_unwritable(paths)
    if not _confirmed(arguments, jobs, executor):
        raise RequestError("Nothing was submitted.", hint="Answer y, or add --yes.")
    prepared = datasets.prepare_data(paths, loaded, jobs, external, output.say)
    able = _write_jobs(paths, loaded, jobs, prepared)
    _submit_open_jobs(paths, loaded, able, selection, executor, output)
    if arguments.wait and executor != "debug":  # debug has waited already
        watch(paths, output)
    return _finish(paths, output, jobs, is_over=arguments.wait or executor == "debug")


def _submit_open_jobs(
    paths: StudyPaths,
    loaded: LoadedStudy,
    able: Sequence[TrainingJob],
    selection: JobFilter,
    executor: ExecutorName,
    output: Output,
) -> None:
    with submitting(paths):
        todo = [job.job_id for job in open_jobs(paths, able)]
        submission = record_intent(paths, loaded, todo, selection, executor) if todo else None
    output.say(f"{len(todo)} jobs to submit, {len(able) - len(todo)} succeeded or at work already")
    if submission is not None:
        output.say(hand_over(paths, loaded, submission))


def open_jobs(paths: StudyPaths, jobs: Sequence[TrainingJob]) -> list[TrainingJob]:
    """The jobs that have neither succeeded nor anybody at work on them.

    Raises
    ------
    SchedulerError
        Slurm has had one of them and does not say what became of it: submitting it again might train it twice.
    """
    if not paths.study.exists():
        return list(jobs)
    view = look(paths)
    known = {job.job.job_id: job for job in view.jobs}
    for job in jobs:
        if job.job_id in known and view.may_be_running_unseen(known[job.job_id]):
            raise SchedulerError(
                f"{job.job_id} may be running: {known[job.job_id].outcome.reason}; {'; '.join(view.problems)}.",
                hint="Submit again when squeue answers.",
            )
    return [job for job in jobs if job.job_id not in known or known[job.job_id].outcome.may_be_submitted]


def choose_executor(name: str) -> ExecutorName:
    """The executor that a flag means on this machine.

    Raises
    ------
    SchedulerError
        Slurm is meant and is not here.
    """
    if name in ("local", "debug"):
        return "local" if name == "local" else "debug"
    from fly64_hpc.executors.slurm import require_slurm, slurm_is_here

    if name == "auto" and not slurm_is_here():
        raise SchedulerError(
            "There is no sbatch on the PATH of this machine, so --executor auto finds no Slurm.",
            hint="Run here with --executor local, or submit from a login node of the cluster.",
        )
    require_slurm()
    return "slurm"


def _print_plan(output: Output, planned: dict[str, Any]) -> int:
    if output.as_json:
        output.result(planned)
    else:
        for line in plan_lines(planned):
            output.say(line)
    return EXIT_OK


def _refuse_unwritable(paths: StudyPaths) -> None:
    """Find out before anything is made whether the study directory can be written, and leave no trace."""
    folder = next(folder for folder in (paths.root, *paths.root.parents) if folder.exists())
    try:
        tempfile.TemporaryDirectory(dir=folder).cleanup()
    except OSError as error:
        raise RequestError(
            f"{paths.root} cannot be written: {folder}: {error.strerror}.", hint="Choose another --output-root."
        ) from None


def _confirmed(arguments: argparse.Namespace, jobs: Sequence[TrainingJob], executor: ExecutorName) -> bool:
    if arguments.yes or not sys.stdin.isatty():
        return True
    sys.stderr.write(f"Submit {len(jobs)} jobs to the {executor} executor? [Y/n] ")
    sys.stderr.flush()
    return sys.stdin.readline().lower() in ("\n", "y\n", "yes\n")


def _write_jobs(paths: StudyPaths, loaded: LoadedStudy, jobs: Sequence[TrainingJob], prepared: PreparedData) -> list[TrainingJob]:
    """Write study.json and each job's job.json; the jobs that have data are returned."""
    write_study(paths, loaded)
    datasets.write_skip_summary(paths, prepared)
    able = [job for job in jobs if (job.dose_photons, job.view) in prepared.data]
    for job in able:
        job_spec(loaded, job, prepared.data[job.dose_photons, job.view]).write(paths.job(job).spec)
    return able


def job_spec(loaded: LoadedStudy, job: TrainingJob, data: JobData) -> JobSpec:
    """What a job is, with the data that it reads."""
    config = job_config(loaded.design, job, data.recipe_sha256)
    return JobSpec(config=config, config_sha256=config.config_sha256(), train_data=data.train, test_data=data.test)


def _finish(paths: StudyPaths, output: Output, asked: Sequence[TrainingJob], *, is_over: bool) -> int:
    view = collect(paths)
    if is_over:
        _say_bundles(view, output)
    say_study(view, output)
    output.result({"study_dir": str(paths.root), "jobs": {job.job.job_id: job.outcome.state.value for job in view.jobs}})
    return exit_code_of(view, asked) if is_over else EXIT_OK


def exit_code_of(view: StudyView, asked: Sequence[TrainingJob]) -> int:
    """0 where every job that was asked for succeeded or was skipped; whatever else it is, after waiting, is no success."""
    ids = {job.job_id for job in asked}
    states = {job.outcome.state for job in view.jobs if job.job.job_id in ids}
    return EXIT_OK if states <= {JobState.SUCCEEDED, JobState.SKIPPED} else EXIT_JOB_FAILED


def _say_bundles(view: StudyView, output: Output) -> None:
    for job in view.jobs:
        if job.outcome.state is JobState.SUCCEEDED and job.record is not None and job.record.result is not None:
            result = job.record.result
            output.say(f"{job.job.tag} bundle {view.paths.inside(job.paths.bundle)}")
            output.say(f"{job.job.tag} sha256 {result['bundle_sha256']}")
            output.say(f"{job.job.tag} size {result['bundle_size_bytes']} bytes")


if __name__ == "__main__":
    run_verb(main)
