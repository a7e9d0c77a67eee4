"""--print-only: everything that a submit would do, and the exact scripts; touches nothing."""

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from fly64_hpc.frozen_code import own_sha256
from fly64_hpc.job_matrix import TrainingJob
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.slurm.calls import SlurmCalls
from fly64_hpc.study_loading import LoadedStudy
from fly64_hpc.submissions import ExecutorName, Submission, new_submission


def plan(
    paths: StudyPaths, loaded: LoadedStudy, jobs: Sequence[TrainingJob], executor: ExecutorName, *, makes_data: bool
) -> dict[str, Any]:
    """What a submit of `jobs` would do."""
    scripts = list(_scripts(paths, loaded, jobs, makes_data=makes_data)) if executor == "slurm" and jobs else []
    return {
        "study": loaded.design.study,
        "study_sha256": loaded.sha256,
        "study_dir": str(paths.root),
        "executor": executor,
        "resolved": [{"key": key, "value": value, "origin": origin} for key, value, origin in resolved_values(loaded)],
        "jobs": [{"job_id": job.job_id, "artifact_dir": paths.inside(paths.job(job).root), "seed": job.seed} for job in jobs],
        "commands": [command for command, _ in scripts],
        "scripts": [script for _, script in scripts],
    }


def resolved_values(loaded: LoadedStudy) -> Iterator[tuple[str, Any, str]]:
    """Every value of the study: its key, itself, and where it came from."""
    yield from _leaves(loaded.design.model_dump(mode="json"), (), loaded)


def _leaves(section: dict[str, Any], path: tuple[str, ...], loaded: LoadedStudy) -> Iterator[tuple[str, Any, str]]:
    for key, value in section.items():
        inner = (*path, key)
        if isinstance(value, dict) and value:
            yield from _leaves(value, inner, loaded)
        else:
            yield ".".join(inner), value, loaded.origin(inner)


def _scripts(
    paths: StudyPaths, loaded: LoadedStudy, jobs: Sequence[TrainingJob], *, makes_data: bool
) -> Iterator[tuple[str, str]]:
    """The call of sbatch for each part of the submission, with `<id>` for what is known later only, and its script."""
    from fly64_hpc.executors.slurm import command_line, script_path, with_parts  # imports submitit
    from fly64_hpc.slurm.scripts import render_script

    submission = planned_submission(paths, loaded, [job.job_id for job in jobs])
    requests = [(job.job_id, loaded.design.resources) for job in jobs]
    submission = with_parts(submission, requests, SlurmCalls(), makes_data=makes_data)
    for index, part in enumerate(submission.parts):
        command = shlex.join(["sbatch", "--parsable", *command_line(submission, part, script_path(submission, index))])
        yield command, render_script(paths, submission, index)


def planned_submission(paths: StudyPaths, loaded: LoadedStudy, jobs: Sequence[str]) -> Submission:
    """The submission to Slurm that a submit would make, with a random name as it would have."""
    return new_submission(
        paths,
        executor="slurm",
        jobs=jobs,
        filters={},
        resources=loaded.design.resources,
        scratch=paths.scratch(loaded.design.study, loaded.sha256),
        code=own_sha256(),
    )


def plan_lines(plan: dict[str, Any]) -> Iterator[str]:
    """A plan in words."""
    yield f"study {plan['study']} ({plan['study_sha256'][:8]}) in {plan['study_dir']}"
    yield ""
    width = max(len(row["key"]) for row in plan["resolved"])
    for row in plan["resolved"]:
        yield f"  {row['key']:<{width}}  {_shown(row['value'])}  <- {row['origin']}"
    yield ""
    yield f"{len(plan['jobs'])} jobs for the {plan['executor']} executor"
    for index, job in enumerate(plan["jobs"]):
        yield f"  {index:>3}  {job['job_id']}  {job['artifact_dir']}"
    for command, script in zip(plan["commands"], plan["scripts"], strict=True):
        yield ""
        yield f"{command}   # the name's last digits are drawn anew each time; with this script:"
        yield script


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)
