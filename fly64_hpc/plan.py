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
from fly64_hpc.sweep import is_below


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
        "jobs": [_planned_job(paths, job, loaded) for job in jobs],
        "commands": [command for command, _ in scripts],
        "scripts": [script for _, script in scripts],
    }


def _planned_job(paths: StudyPaths, job: TrainingJob, loaded: LoadedStudy) -> dict[str, Any]:
    """A job, and in a sweep what its place on the axes sets in the study."""
    planned = {"job_id": job.job_id, "artifact_dir": paths.inside(paths.job(job).root), "seed": job.seed}
    if not job.sweep or loaded.design.sweep is None:
        return planned
    axes = {axis.name: axis for axis in loaded.design.sweep.directions}
    values: dict[str, Any] = {}
    for name, label in job.sweep:
        values |= axes[name].settings(axes[name].labels.index(label))
    return planned | {"sweep": dict(job.sweep), "values": values}


def resolved_values(loaded: LoadedStudy) -> Iterator[tuple[str, Any, str]]:
    """Every value of the study: its key, itself, and where it came from; what the sweep sets is told with each job."""
    swept = {key: axis.name for axis in loaded.design.sweep.directions for key in axis.keys} if loaded.design.sweep else {}
    resolved = loaded.design.model_dump(mode="json")
    for key, value, origin in _leaves(resolved, (), loaded):
        axis = next((name for name_of_key, name in swept.items() if is_below(key, name_of_key)), None)
        if axis is None:
            yield key, value, origin
    for key, name in swept.items():
        yield key, "see the jobs", f"sweep.axes.{name}"


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
        values = "".join(f"  {key}={_shown(value)}" for key, value in job.get("values", {}).items())
        yield f"  {index:>3}  {job['job_id']}  {job['artifact_dir']}{values}"
    for command, script in zip(plan["commands"], plan["scripts"], strict=True):
        yield ""
        yield f"{command}   # the name's last digits are drawn anew each time; with this script:"
        yield script


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)
