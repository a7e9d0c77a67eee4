"""How the jobs are cut into arrays, and whether Slurm's queue holds so many."""

from collections.abc import Iterator, Sequence

from fly64_hpc.preflight.finding import Finding, Severity
from fly64_hpc.slurm.cluster_facts import ClusterFacts
from fly64_hpc.submissions import Part

SUBJECT = "arrays"


def examine(parts: Sequence[Part], parallelism: int, cluster: ClusterFacts) -> Iterator[Finding]:
    """Say into how many arrays the jobs go, and how many run at a time."""
    arrays = [part for part in parts if part.kind == "train"]
    n_jobs = sum(len(part.jobs) for part in arrays)
    at_once = min(n_jobs, parallelism)
    split = "one array" if len(arrays) == 1 else f"{len(arrays)} arrays, as MaxArraySize is {cluster.number('MaxArraySize')}"
    if cluster.number("MaxArraySize") is not None or len(arrays) == 1:
        yield Finding(SUBJECT, Severity.OK, f"{n_jobs} jobs go as {split}; at most {at_once} run at a time.")
    most = cluster.number("MaxJobCount")
    if most is not None and n_jobs + len(parts) > most:
        sentence = f"{n_jobs} jobs are more than this Slurm's queue holds (MaxJobCount is {most})."
        yield Finding(SUBJECT, Severity.WARNING, sentence, "Submit a part of them at a time, by --dose or --view.")
