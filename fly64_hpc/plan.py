"""--print-only: everything that a submit would do, and the exact scripts; touches nothing."""

from collections.abc import Iterator, Sequence
from typing import Any

from fly64_hpc.job_matrix import TrainingJob
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.study_loading import LoadedStudy
from fly64_hpc.submissions import ExecutorName, next_number, submission_tag


def plan(paths: StudyPaths, loaded: LoadedStudy, jobs: Sequence[TrainingJob], executor: ExecutorName) -> dict[str, Any]:
    """What a submit of `jobs` would do."""
    return {
        "study": loaded.design.study,
        "study_sha256": loaded.sha256,
        "study_dir": str(paths.root),
        "executor": executor,
        "resolved": [{"key": key, "value": value, "origin": origin} for key, value, origin in resolved_values(loaded)],
        "jobs": [{"job_id": job.job_id, "artifact_dir": paths.inside(paths.job(job).root), "seed": job.seed} for job in jobs],
        "scripts": [_script(paths, loaded, jobs)] if executor == "slurm" else [],
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


def _script(paths: StudyPaths, loaded: LoadedStudy, jobs: Sequence[TrainingJob]) -> str:
    from fly64_hpc.executors.slurm import render_script  # imports submitit

    number = next_number(paths)
    scratch = paths.scratch(loaded.design.study, loaded.sha256) / f"{number:04d}"
    return render_script(scratch, submission_tag(paths, number), number, [job.job_id for job in jobs], loaded.design.resources)


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
    for script in plan["scripts"]:
        yield ""
        yield "the script that sbatch gets:"
        yield script


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)
