"""What the submission asks of Slurm, beside what this Slurm has."""

from collections.abc import Iterator

from fly64_hpc.handing_over import JobRequest
from fly64_hpc.preflight import array_limits, node_hardware, node_sight, partition_rules, start_estimate
from fly64_hpc.preflight.finding import Finding, Severity
from fly64_hpc.preflight.request import PreflightRequest
from fly64_hpc.resources import Resources
from fly64_hpc.slurm.arrays import DEFAULT_MAX_ARRAY_SIZE
from fly64_hpc.slurm.cluster_facts import ClusterFacts, ask_cluster
from fly64_hpc.submissions import Submission, new_submission

SUBJECT = "slurm"


def examine(request: PreflightRequest) -> Iterator[Finding]:
    """Partition, nodes, storage, arrays and start. Where sinfo has no answer, nothing else is asked."""
    cluster = ask_cluster(request.calls)
    for problem in cluster.problems:
        yield Finding(SUBJECT, Severity.UNKNOWN, f"Slurm did not tell what it has: {problem}.", "Check again when it answers.")
    if not cluster.nodes:
        return
    yield from node_sight.examine(request, cluster.nodes)
    submission = planned(request, cluster)
    found = [finding for resources in resource_shapes(submission) for finding in _fit(resources, cluster)]
    yield from found
    yield from array_limits.examine(submission.parts, submission.resources.array_parallelism, cluster)
    if not any(finding.severity is Severity.ERROR for finding in found):
        yield from start_estimate.examine(request, submission)


def _fit(resources: Resources, cluster: ClusterFacts) -> Iterator[Finding]:
    yield from partition_rules.examine(resources, cluster)
    for partition in partition_rules.partitions_meant(resources, cluster):
        if nodes := cluster.nodes_of(partition):
            yield from node_hardware.examine(resources, partition, nodes)


def resource_shapes(submission: Submission) -> list[Resources]:
    """The resources of each kind of training, and of the jobs without a GPU."""
    return [submission.parts[index].resources for index in start_estimate.shapes(submission.parts)]


def planned(request: PreflightRequest, cluster: ClusterFacts) -> Submission:
    """The submission that a submit of these jobs would hand over."""
    from fly64_hpc.executors.slurm import with_parts_of

    design = request.loaded.design
    blank = new_submission(
        request.paths,
        executor="slurm",
        jobs=[job.job_id for job in request.jobs],
        filters={},
        resources=design.resources,
        scratch=request.paths.scratch(design.study, request.loaded.sha256),
    )
    requests: list[JobRequest] = [(job.job_id, design.resources) for job in request.jobs]
    size = cluster.number("MaxArraySize") or DEFAULT_MAX_ARRAY_SIZE
    return with_parts_of(blank, requests, size, makes_data=request.makes_data)
