"""Look at everything that may stand in a study's way before its jobs wait in a queue. Leaves no trace."""

import argparse
import sys
from collections.abc import Sequence

from fly64_hpc import datasets
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
from fly64_hpc.errors import EXIT_OK, EXIT_REQUEST_WRONG
from fly64_hpc.executor_choice import add_data_flags, add_executor_flag, choose_executor, external_roots
from fly64_hpc.job_choice import select
from fly64_hpc.job_matrix import Condition
from fly64_hpc.mending import joined_or_mended
from fly64_hpc.preflight.examination import examine
from fly64_hpc.preflight.finding import Finding, Severity
from fly64_hpc.preflight.findings_page import as_json, lines, severity_counts
from fly64_hpc.preflight.request import PreflightRequest
from fly64_hpc.slurm.calls import SlurmCalls
from ptycho_torch.config import PtychoError

EXAMPLES = ("--partition gpu --time 02:00:00", "--study configs/fly64_demo.yaml --executor local")


def parser() -> argparse.ArgumentParser:
    """The command line of `check`."""
    verb = VerbParser("check", "Look at all that may stand in a study's way, before it is submitted; touches nothing.", EXAMPLES)
    add_study_flags(verb)
    add_phase_flag(verb)
    add_executor_flag(verb)
    add_resource_flags(verb)
    add_filter_flags(verb)
    add_data_flags(verb)
    return verb


def main(argv: Sequence[str]) -> int:
    """Run the verb; its exit code is returned."""
    arguments = parser().parse_args(argv)
    output = Output(arguments.json)
    request, found = _requested(arguments)
    found += examine(request)
    for line in lines(found, in_colour=_on_terminal(output)):
        output.say(line)
    if request.calls.counts:
        output.say(request.calls.summary())
    output.result(
        {
            "study": request.loaded.design.study,
            "study_dir": str(request.paths.root),
            "executor": request.executor,
            "findings": as_json(found),
            "counts": severity_counts(found),
        }
    )
    return EXIT_REQUEST_WRONG if any(finding.severity is Severity.ERROR for finding in found) else EXIT_OK


def _requested(arguments: argparse.Namespace) -> tuple[PreflightRequest, list[Finding]]:
    """What is asked for, and what is wrong with it already."""
    loaded, found = loaded_phase(arguments), []
    paths, calls = new_study_paths(arguments, loaded), SlurmCalls()
    external: dict[Condition, datasets.JobData] = {}
    try:
        loaded = joined_or_mended(paths, loaded, calls)
    except PtychoError as error:
        found.append(Finding("study", Severity.ERROR, error.message, error.hint))
    jobs = select(loaded.jobs, job_filter(arguments))
    try:
        external = datasets.external_data(loaded, jobs, external_roots(arguments))
    except PtychoError as error:
        found.append(Finding("datasets", Severity.ERROR, error.message, error.hint))
    executor = choose_executor(arguments.executor)
    return PreflightRequest(paths, loaded, jobs, external, executor, calls), found


def _on_terminal(output: Output) -> bool:
    return (sys.stderr if output.as_json else sys.stdout).isatty()


if __name__ == "__main__":
    run_verb(main)
