"""Score every trained network on both halves of its scan, alone and refined by data-consistency steps."""

import argparse
from collections.abc import Sequence
from typing import Any

from fly64_hpc.collector import JobView, StudyView, look
from fly64_hpc.command_line import (
    Output,
    VerbParser,
    add_directory_flags,
    add_filter_flags,
    job_filter,
    run_verb,
    study_paths,
)
from fly64_hpc.errors import EXIT_JOB_FAILED, EXIT_OK
from fly64_hpc.evaluation_record import EVALUATION_NAME, SCHEMA_VERSION, EvaluationRecord, read_evaluation
from fly64_hpc.job_choice import select
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.job_record import AttemptRecord, JobSpec, now_utc
from fly64_hpc.job_state import JobState
from fly64_hpc.provenance import code_facts
from fly64_hpc.slurm.calls import SlurmCalls
from fly64_hpc.train_task import checked_file
from ptycho_torch.config import JobConfig, PtychoError

EXAMPLES = ("--study-dir outputs/fly64_demo", "--study configs/fly64_demo.yaml --dose 1e4 --view dense")


def main(argv: Sequence[str]) -> int:
    """Run the verb; its exit code is returned."""
    arguments = _parser().parse_args(argv)
    output = Output(arguments.json)
    view = look(StudyPaths(study_paths(arguments).home), SlurmCalls())
    chosen = {job.job_id for job in select([job.job for job in view.jobs], job_filter(arguments))}
    records = [_evaluated(view, job, output) for job in view.jobs if job.job.job_id in chosen]
    output.say(f"evaluations: {view.paths.root / 'evaluation'}")
    output.result([record.model_dump(mode="json") for record in records if record is not None])
    return EXIT_OK if all(records) else EXIT_JOB_FAILED


def _parser() -> argparse.ArgumentParser:
    parser = VerbParser(
        "evaluate",
        "Score every trained network on the unseen and the training half, alone and refined; what is current stays.",
        EXAMPLES,
    )
    add_directory_flags(parser)
    add_filter_flags(parser)
    return parser


def _evaluated(view: StudyView, job: JobView, output: Output) -> EvaluationRecord | None:
    """A job's evaluation, made where it is not current; None where it cannot be made, which is said."""
    if job.outcome.state is not JobState.SUCCEEDED or job.spec is None or job.record is None:
        output.say(f"{job.job.job_id}: no network to evaluate: {job.outcome.state.value}: {job.outcome.reason}")
        return None
    record = read_evaluation(view.paths.evaluation(job.job))
    if record is None or not record.is_of(job.spec, job.record):
        output.say(f"{job.job.job_id}: evaluating")
        try:
            record = _evaluate(view.paths, job, job.spec, job.record)
        except PtychoError as error:
            output.say(f"{job.job.job_id}: cannot be evaluated: {error}")
            return None
    output.say(f"{job.job.job_id}: {_words(record)}")
    return record


def _evaluate(paths: StudyPaths, job: JobView, spec: JobSpec, success: AttemptRecord) -> EvaluationRecord:
    from ptycho_torch import pipeline  # --help needs no torch

    folder = paths.evaluation(job.job)
    folder.mkdir(parents=True, exist_ok=True)
    files = pipeline.HalfFiles(checked_file(paths, spec.train_data), checked_file(paths, spec.test_data), folder)
    assert isinstance(spec.config, JobConfig)
    made = pipeline.evaluate_job(spec.config, job.paths.root, files)
    record = EvaluationRecord(
        schema_version=SCHEMA_VERSION,
        job_id=job.job.job_id,
        config_sha256=spec.config_sha256,
        bundle_sha256=made.pop("weights_sha256"),
        train_data=spec.train_data,
        test_data=spec.test_data,
        code=code_facts(),
        created_utc=now_utc(),
        **made,
    )
    record.write(folder / EVALUATION_NAME)
    return record


def _words(record: EvaluationRecord) -> str:
    """The unseen half in a line."""
    half = record.halves["test"]
    figures = [("flat", half["flat"]), *half["methods"].items()]
    return f"unseen half, against the {half['scored_against']}: " + "; ".join(
        f"{name} {_figure_words(one)}" for name, one in figures
    )


def _figure_words(figures: dict[str, Any]) -> str:
    scores = figures["scores"]
    steps = f" after {figures['steps']} steps" if figures["steps"] is not None else ""
    return f"NMSE {scores['nmse']:.4f}, phase MAE {scores['phase_mae_rad']:.3f} rad{steps}"


if __name__ == "__main__":
    run_verb(main)
