"""Why a job waits: Slurm's words as sentences, each with what a person may do about it, where there is anything. Pure."""

import re

WAITS = {
    "None": "waits for Slurm to look at it",
    "Priority": "waits for jobs of higher priority",
    "Resources": "waits for free resources, and is next in its partition",
    "Dependency": "waits for a job that must end before",
    "DependencyNeverSatisfied": "will never start: the job that it waits for failed; submit again",
    "BeginTime": "waits for the time from which it may start; after a requeue that is about two minutes",
    "JobArrayTaskLimit": "waits for another job of its array, of which only resources.array_parallelism may run",
    "JobHeldUser": "is held by its user; release it with scontrol release",
    "JobHeldAdmin": "is held by an administrator; ask them",
    "Licenses": "waits for a licence",
    "Reservation": "waits for its reservation to begin",
    "ReservationDeleted": "will not start: its reservation is gone",
    "PartitionDown": "waits: its partition is down",
    "PartitionInactive": "waits: its partition is inactive",
    "PartitionNodeLimit": "will not start: it asks for more nodes than its partition allows",
    "PartitionTimeLimit": "will not start: its time limit is longer than its partition allows; lower resources.time",
    "PartitionConfig": "will not start: it asks for what its partition does not have",
    "ReqNodeNotAvail": "waits: nodes that it needs are down, drained or reserved",
    "NodeDown": "waits: a node that it needs is down",
    "BadConstraints": "will not start: no node has what its constraint asks for; see resources.constraint",
    "AccountNotAllowed": "will not start: its account may not use this partition; see resources.account",
    "InvalidAccount": "will not start: its account is invalid or expired; see resources.account",
    "QOSNotAllowed": "will not start: its QOS may not be used here; see resources.qos",
    "InvalidQOS": "will not start: there is no such QOS; see resources.qos",
    "SystemFailure": "waits: Slurm, a node or the file system failed",
    "JobLaunchFailure": "could not be launched on its node",
    "JobHoldMaxRequeue": "is held: it was requeued too often",
    "MaxMemPerLimit": "will not start: it asks for more memory than is allowed; lower resources.mem",
    "Prolog": "waits for its node's prolog",
    "Cleaning": "waits for its node to be cleaned up after an earlier start",
    "BurstBufferResources": "waits for room in the burst buffer",
    "BurstBufferStageIn": "waits for the burst buffer to be filled",
    "FrontEndDown": "waits: the front end is down",
    "DeadLine": "will not start: its deadline cannot be kept",
}
"""squeue's reason to what it means."""
_BY_BEGINNING = {
    "launchfailedrequeuedheld": "is held: its launch failed; submit or retry releases it",
    "jobrequeuedinheldstate": "is held after a requeue; release it with scontrol release",
    "nodesrequiredforjobaredown": WAITS["ReqNodeNotAvail"],
    "userprogramfailed": "is held after a failure; release it with scontrol release",
}
"""Sentences that Slurm itself writes, without their spaces and underscores."""

_LIMIT = re.compile(r"(?P<whose>QOS|Association|Assoc)(?P<how>Grp|Max|Min)?(?P<what>.*?)(?P<per>Per[A-Z][a-z]+?)?(?:Limit)?")
_WHOSE = {"QOS": "QOS", "Assoc": "account", "Association": "account"}
_WHAT = {
    "Jobs": "running jobs",
    "Job": "running jobs",
    "SubmitJobs": "submitted jobs",
    "SubmitJob": "submitted jobs",
    "CPU": "cores",
    "Cpu": "cores",
    "CPUMinutes": "core-minutes",
    "CPURunMinutes": "core-minutes under way",
    "GRES": "GPUs",
    "GRESMinutes": "GPU-minutes",
    "GRESRunMinutes": "GPU-minutes under way",
    "Mem": "memory",
    "Memory": "memory",
    "Node": "nodes",
    "Wall": "wall time",
    "WallDuration": "time limits",
    "Time": "time limits",
    "Billing": "billed resources",
    "BillingMinutes": "billed minutes",
    "Resource": "resources",
    "UsageThreshold": "usage",
}
_PER = {"PerUser": " a user", "PerAccount": " an account", "PerJob": " a job", "PerNode": " a node"}


def waiting_sentence(reason: str) -> str:
    """Why a job waits, from squeue's reason, whose raw word stands in brackets; one that nobody knows here is said to be that."""
    word = reason.strip() or "None"
    head = re.split(r"[,:(]", word)[0].strip()
    sentence = WAITS.get(head) or _of_slurm(word) or _limit(head)
    if sentence is None:
        return f"waits; Slurm's reason is {word!r}, for which there is no explanation here"
    return sentence if word == "None" else f"{sentence} ({word})"


def _of_slurm(word: str) -> str | None:
    plain = re.sub(r"[\s_()]", "", word).lower()
    return next((sentence for beginning, sentence in _BY_BEGINNING.items() if plain.startswith(beginning)), None)


def _limit(word: str) -> str | None:
    match = _LIMIT.fullmatch(word)
    what = _WHAT.get(match["what"]) if match is not None else None
    if match is None or what is None:
        return None
    if match["how"] == "Min":
        return f"will not start: it asks for less than its {_WHOSE[match['whose']]} wants"
    together = " of all users together" if match["how"] == "Grp" else ""
    limit = f"its {_WHOSE[match['whose']]}'s limit on {what}{_PER.get(match['per'] or '', '')}{together}"
    return f"will not start: it is over {limit}" if match["per"] == "PerJob" else f"waits: {limit} is reached"
