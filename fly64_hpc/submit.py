"""Submit a study: make what data is missing, hand its jobs to an executor, return (or wait)."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from fly64_hpc import datasets
from fly64_hpc.collector import StudyView, collect, look
from fly64_hpc.command_line import (
    Output,
    VerbParser,
    add_filter_flags,
    add_phase_flag,
    add_resource_flags,
    add_study_flags,
    job_filter,
    loaded_phase,
    new_study_paths,
    run_verb,
)
from fly64_hpc.dataset_job import changed_jobs, have_data, write_jobs
from fly64_hpc.datasets import JobData, PreparedData
from fly64_hpc.errors import EXIT_JOB_FAILED, EXIT_OK, RequestError, SchedulerError, StudyChangedError
from fly64_hpc.executor_choice import add_data_flags, add_executor_flag, choose_executor, external_roots
from fly64_hpc.frozen_code import freeze
from fly64_hpc.handing_over import Submitter, study_scratch, to_this_machine, to_this_process
from fly64_hpc.job_choice import JobFilter, select
from fly64_hpc.job_matrix import Condition, TrainingJob
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.job_record import bundle_of, read_skipped_conditions
from fly64_hpc.job_state import JobState
from fly64_hpc.mending import joined_or_mended
from fly64_hpc.plan import plan, plan_lines
from fly64_hpc.provenance import submission_provenance
from fly64_hpc.slurm.calls import SlurmCalls
from fly64_hpc.study_directory import write_study
from fly64_hpc.study_loading import LoadedStudy
from fly64_hpc.submissions import ExecutorName, Submission, new_submission, submitting
from fly64_hpc.watching import say_study, watch

EXAMPLES = ("--partition gpu", "--study configs/fly64_demo.yaml --executor local --dose 1000 --view baseline --wait")


def parser() -> argparse.ArgumentParser:
    """The command line of `submit`."""
    verb = VerbParser(
        "submit", "Submit a study: expand its job matrix, make missing datasets, hand the jobs to an executor.", EXAMPLES
    )
    add_study_flags(verb)
    add_phase_flag(verb)
    add_executor_flag(verb)
    add_resource_flags(verb)
    add_filter_flags(verb)
    verb.add_argument(
        "--print-only", "--dry-run", action="store_true", help="print what would happen and the exact scripts; touch nothing"
    )
    add_data_flags(verb)
    verb.add_argument("--wait", action="store_true", help="stay, show progress, collect, exit with the study's outcome")
    verb.add_argument("-y", "--yes", action="store_true", help="no question before submitting")
    return verb


def main(argv: Sequence[str]) -> int:
    """Run the verb; its exit code is returned."""
    arguments = parser().parse_args(argv)
    output, calls = Output(arguments.json), SlurmCalls()
    asked = loaded_phase(arguments)
    selection = job_filter(arguments)
    paths = new_study_paths(arguments, asked)
    loaded = joined_or_mended(paths, asked, calls)
    jobs = select(loaded.jobs, selection)
    external = datasets.external_data(loaded, jobs, external_roots(arguments))
    if arguments.print_only:
        return _print_plan(arguments, output, paths, loaded, jobs, external)
    request = _Request(paths, loaded, jobs, selection, external, output, calls)
    executor = choose_executor(arguments.executor)
    request.refuse_what_would_fail(executor)
    if not _confirmed(arguments, jobs, executor):
        raise RequestError("Nothing was submitted.", hint="Answer y, or add --yes.")
    if executor == "slurm":
        request.to_slurm()
    else:
        request.to_this_machine(executor)
    if arguments.wait and executor != "debug":  # debug has waited already
        watch(paths, output, calls)
    return _finish(request, is_over=arguments.wait or executor == "debug")


@dataclass(frozen=True)
class _Request:
    """What was asked for."""

    paths: StudyPaths
    loaded: LoadedStudy
    jobs: Sequence[TrainingJob]
    selection: JobFilter
    external: dict[Condition, JobData]
    output: Output
    calls: SlurmCalls

    def refuse_what_would_fail(self, executor: ExecutorName) -> None:
        """Say what may stand in the way, and refuse what does; see `check`."""
        from fly64_hpc.preflight.examination import examine_quickly, refuse_errors  # twenty modules, no matter to --print-only
        from fly64_hpc.preflight.request import PreflightRequest

        asked = PreflightRequest(self.paths, self.loaded, self.jobs, self.external, executor, self.calls)
        refuse_errors(examine_quickly(asked), self.output.say)

    def to_slurm(self) -> None:
        """Submit to Slurm; datasets that are missing are made there, by a job of their own."""
        with submitting(self.paths, self.output.say) as lock:
            submitter = Submitter(self.paths, lock, self.calls, self.output.say)
            submitter.adopt()
            self._write_study()
            view = look(self.paths, self.calls)
            anew = self._write_jobs(view, PreparedData(self.external, [])) if self.external else []
            submitter.release(view.held_tasks)
            skipped = read_skipped_conditions(self.paths.skip_summary)  # trying again would only cost a queue
            todo = [job for job in open_jobs(view, self.jobs, anew) if job.data not in skipped]
            self._say_todo(todo, self.jobs)
            if todo:
                requests = [(job.job_id, self.loaded.design.resources) for job in todo]
                makes_data = needs_data(self.paths, self.loaded, todo, self.external)
                submitter.to_slurm(self._submission(todo, "slurm"), requests, makes_data=makes_data)

    def to_this_machine(self, executor: ExecutorName) -> None:
        """Make what data is missing, then run the jobs through a supervisor, or in this process."""
        prepared = datasets.prepare_data(self.paths, self.loaded, self.jobs, self.external, self.output.say)
        able = [job for job in self.jobs if job.data in prepared.data]
        with submitting(self.paths, self.output.say):
            self._write_study()
            view = look(self.paths, self.calls)
            todo = open_jobs(view, able, self._write_jobs(view, prepared))
            submission = self._submission(todo, executor)
            if todo:
                submission.write(self.paths.submission(submission.number))
        self._say_todo(todo, able)
        if todo:
            hand = to_this_machine if executor == "local" else to_this_process
            self.output.say(hand(self.paths, submission))

    def _write_study(self) -> None:
        """Under the submit lock: another submit may have added cells, or begun the study, since this one looked."""
        now = joined_or_mended(self.paths, self.loaded, self.calls)
        if now.jobs != self.loaded.jobs:
            raise StudyChangedError(
                f"{self.paths.root} was changed by another submit at this moment.", hint="Submit again: nothing was submitted."
            )
        write_study(self.paths, now)

    def _write_jobs(self, view: StudyView, prepared: PreparedData) -> Sequence[str]:
        """Say what each job is that nobody is at work on; those that are other jobs now than they were are returned."""
        at_work = {job.job.job_id for job in view.jobs if job.outcome.is_live}
        anew = changed_jobs(self.paths, self.loaded, self.jobs, prepared)
        write_jobs(self.paths, self.loaded, self.jobs, prepared, at_work=at_work)
        return [job_id for job_id in anew if job_id not in at_work]

    def _submission(self, todo: Sequence[TrainingJob], executor: ExecutorName) -> Submission:
        return new_submission(
            self.paths,
            executor=executor,
            jobs=[job.job_id for job in todo],
            filters=self.selection.as_dict(),
            resources=self.loaded.design.resources,
            scratch=study_scratch(self.paths, self.loaded.design.study, self.loaded.sha256),
            code=freeze(self.paths),
            provenance=submission_provenance(self.paths, self.loaded),
        )

    def _say_todo(self, todo: Sequence[TrainingJob], able: Sequence[TrainingJob]) -> None:
        self.output.say(f"{len(todo)} jobs to submit, {len(able) - len(todo)} succeeded or at work already")


def open_jobs(view: StudyView, jobs: Sequence[TrainingJob], anew: Sequence[str] = ()) -> list[TrainingJob]:
    """The jobs that have neither succeeded nor anybody at work on them; what those `anew` were earlier is no success.

    Raises
    ------
    SchedulerError
        Slurm has had one of them and does not say what became of it: submitting it again might train it twice.
    RequestError
        One of them was cancelled and has not ended yet: what it is now would end.
    """
    _refuse_what_is_ending(view, jobs)
    outcomes = {job.job.job_id: job.outcome for job in view.jobs}
    for job in jobs:
        if job.job_id in view.unheard and outcomes[job.job_id].is_live:
            raise SchedulerError(
                f"{job.job_id} may be running: {outcomes[job.job_id].reason}.", hint="Submit again when squeue answers."
            )
    return [job for job in jobs if job.job_id in anew or job.job_id not in outcomes or outcomes[job.job_id].may_be_submitted]


def _refuse_what_is_ending(view: StudyView, jobs: Sequence[TrainingJob]) -> None:
    asked = {job.job_id for job in jobs}
    ending = [job.job.job_id for job in view.jobs if job.job.job_id in asked and job.cancelled and job.outcome.is_live]
    if ending:
        raise RequestError(
            f"{len(ending)} jobs were cancelled and have not ended yet: {', '.join(ending)}.",
            hint="Submit again when `status` shows them as cancelled.",
        )


def needs_data(paths: StudyPaths, loaded: LoadedStudy, jobs: Sequence[TrainingJob], external: dict[Condition, JobData]) -> bool:
    """Whether the datasets of any of the jobs must be made first."""
    inside = [job for job in jobs if job.data not in external]
    return not all(have_data(paths, loaded, job) for job in inside)


def _print_plan(
    arguments: argparse.Namespace,
    output: Output,
    paths: StudyPaths,
    loaded: LoadedStudy,
    jobs: Sequence[TrainingJob],
    external: dict[Condition, JobData],
) -> int:
    executor: ExecutorName = "slurm" if arguments.executor == "auto" else arguments.executor
    todo = open_jobs(look(paths, SlurmCalls()), jobs) if paths.study.exists() else list(jobs)
    planned = plan(paths, loaded, todo, executor, makes_data=needs_data(paths, loaded, todo, external))
    if output.as_json:
        output.result(planned)
    else:
        for line in plan_lines(planned):
            output.say(line)
    return EXIT_OK


def _confirmed(arguments: argparse.Namespace, jobs: Sequence[TrainingJob], executor: ExecutorName) -> bool:
    if arguments.yes or not sys.stdin.isatty():
        return True
    sys.stderr.write(f"Submit {len(jobs)} jobs to the {executor} executor? [Y/n] ")
    sys.stderr.flush()
    return sys.stdin.readline().lower() in ("\n", "y\n", "yes\n")


def _finish(request: _Request, *, is_over: bool) -> int:
    view = collect(request.paths, request.calls)
    output = request.output
    if is_over:
        _say_bundles(view, output)
    say_study(view, output, request.calls)
    output.result({"study_dir": str(request.paths.root), "jobs": {job.job.job_id: job.outcome.state.value for job in view.jobs}})
    return exit_code_of(view, request.jobs) if is_over else EXIT_OK


def exit_code_of(view: StudyView, asked: Sequence[TrainingJob]) -> int:
    """0 where every job that was asked for succeeded or was skipped; whatever else it is, after waiting, is no success."""
    ids = {job.job_id for job in asked}
    states = {job.outcome.state for job in view.jobs if job.job.job_id in ids}
    return EXIT_OK if states <= {JobState.SUCCEEDED, JobState.SKIPPED} else EXIT_JOB_FAILED


def _say_bundles(view: StudyView, output: Output) -> None:
    for job in view.jobs:
        if job.outcome.state is JobState.SUCCEEDED and job.record is not None and job.record.result is not None:
            result = job.record.result
            output.say(f"{job.job.tag} bundle {view.paths.inside(bundle_of(job.paths, job.record))}")
            output.say(f"{job.job.tag} sha256 {result['bundle_sha256']}")
            output.say(f"{job.job.tag} size {result['bundle_size_bytes']} bytes")


if __name__ == "__main__":
    run_verb(main)
