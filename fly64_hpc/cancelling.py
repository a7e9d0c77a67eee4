"""What a cancel ends: the jobs of a selection that are at work, whoever has them; on Slurm by few calls, tasks named together."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from fly64_hpc.cancellations import CancelledJob
from fly64_hpc.collector import JobView, StudyView
from fly64_hpc.errors import SchedulerError
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.job_state import JobState
from fly64_hpc.local_ending import LocalJob, end_local
from fly64_hpc.slurm.calls import SlurmCalls
from fly64_hpc.slurm.states import find_by_name
from fly64_hpc.submissions import Part, Submission, read_submissions

MOST_WORDS = 200
"""Ids of one scancel."""
_HAS_ENDED = ("invalid job id", "already completing or completed")
"""What scancel says of a job that ended before it came."""


@dataclass(frozen=True)
class Plan:
    """What is to be cancelled of a study."""

    view: StudyView
    jobs: tuple[JobView, ...]
    """At work, or still to be handed over."""
    spared: tuple[JobView, ...]
    """They have ended without success; a collector job that is still to come must not try them again."""
    is_whole: bool
    """Whether nothing of the study is to go on, its dataset and collector jobs included."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to cancel."""
        return not (self.jobs or self.spared or (self.is_whole and self.view.open_parts))

    def records(self) -> list[CancelledJob]:
        """The jobs as a cancellation has them."""
        return [_record(job, had_ended=False) for job in self.jobs] + [_record(job, had_ended=True) for job in self.spared]


def plan(view: StudyView, chosen: Iterable[str], *, is_whole: bool) -> Plan:
    """What is to be cancelled, of the jobs that are chosen."""
    ids = set(chosen)
    asked = [job for job in view.jobs if job.job.job_id in ids and job.submission is not None]
    jobs = [job for job in asked if job.outcome.is_live or _is_to_come(job)]
    ended = [job for job in asked if job not in jobs and not job.cancelled and job.outcome.state is not JobState.SKIPPED]
    spared = [job for job in ended if job.outcome.may_be_submitted and view.open_parts]
    return Plan(view, tuple(jobs), tuple(spared), is_whole)


def _is_to_come(job: JobView) -> bool:
    """Whether whoever submits next would hand it over, because its submitter was killed."""
    submission = job.submission
    left = submission is not None and submission.executor == "slurm" and submission.state == "intended"
    return left and job.outcome.may_be_submitted and not job.cancelled


def _record(job: JobView, *, had_ended: bool) -> CancelledJob:
    assert job.submission is not None
    return CancelledJob(job_id=job.job.job_id, submission=job.submission.number, had_ended=had_ended)


def end_here(plan: Plan) -> list[str]:
    """End what this machine trains; ids of what is still at work are returned."""
    own = [job for job in plan.jobs if job.submission is not None and not job.is_with_slurm]
    return end_local(
        plan.view.paths, [LocalJob(job.job.job_id, job.paths, job.submission.number) for job in own if job.submission]
    )


@dataclass
class SlurmCancel:
    """Tells Slurm to end what a plan has of it; to be used under the study's submit lock."""

    plan: Plan
    calls: SlurmCalls
    not_told: list[str] = field(default_factory=list)
    """What Slurm was not told to end, as Slurm calls it."""
    problems: list[str] = field(default_factory=list)
    """Its words."""

    def run(self) -> None:
        """Cancel; what went wrong is left in `not_told` and `problems`."""
        words = self._words()
        for start in range(0, len(words), MOST_WORDS):
            self._scancel(words[start : start + MOST_WORDS])

    def _scancel(self, words: list[str]) -> None:
        answer = self.calls("scancel", *words)
        lines = [line for line in answer.err.splitlines() if line.strip()]
        if answer.is_good or (answer.code is not None and lines and all(_is_of_an_ended_job(line) for line in lines)):
            return
        self.not_told += words
        self.problems.append(f"scancel: {answer.words}")

    def _words(self) -> list[str]:
        """Collector jobs first, so that none begins when its arrays end."""
        kinds: dict[str, list[str]] = {"collect": [], "train": [], "data": []}
        for submission in read_submissions(self.plan.view.paths):
            if submission.executor == "slurm" and submission.state != "refused":
                for part in self._found(submission).parts:
                    kinds[part.kind] += self._part_words(submission, part)
        return [word for words in kinds.values() for word in words]

    def _found(self, submission: Submission) -> Submission:
        """A submission of which nothing more will be handed over of what is cancelled, and what Slurm has of it by name."""
        if submission.state != "intended":
            return submission
        parts = tuple(self._closed(submission, part) for part in submission.parts)
        state = "submitted" if all(part.state != "intended" for part in parts) else "intended"
        closed = submission.model_copy(update={"parts": parts, "state": state})
        closed.write(self.plan.view.paths.submission(submission.number))
        return closed

    def _closed(self, submission: Submission, part: Part) -> Part:
        cancelled = {job.job.job_id for job in self.plan.jobs if job.submission == submission}
        is_meant = self.plan.is_whole or (part.kind == "train" and cancelled.issuperset(part.jobs))
        if part.state != "intended" or not is_meant:
            return part
        found = find_by_name(part.tag, submission.created_utc, self.calls)
        if found.job_id is not None:
            return part.model_copy(update={"state": "submitted", "scheduler_job_id": found.job_id})
        if found.is_certain:
            return part.model_copy(update={"state": "refused"})
        self.not_told.append(part.tag)
        self.problems += found.problems
        return part

    def _part_words(self, submission: Submission, part: Part) -> list[str]:
        if part.scheduler_job_id is None or part.state != "submitted":
            return []
        if part.kind != "train":
            return [part.scheduler_job_id] if self._ends(submission, part) else []
        own = {job.job.job_id for job in _of(submission, self.plan.jobs)}
        live = {job.job.job_id for job in _of(submission, self.plan.view.jobs) if job.outcome.is_live}
        indices = [index for index, job_id in enumerate(part.jobs) if job_id in own]
        if not indices:
            return []
        if live.intersection(part.jobs) <= own:
            return [part.scheduler_job_id]
        return [f"{part.scheduler_job_id}_[{index_ranges(indices)}]"]

    def _ends(self, submission: Submission, part: Part) -> bool:
        """Whether a dataset or collector job ends too: with the whole study; a dataset job also with all that wait for it."""
        view = self.plan.view
        is_unknown = bool(view.problems) and bool(_of(submission, self.plan.jobs))
        if part.tag not in view.open_parts and not is_unknown:
            return False
        others = [job for job in _of(submission, view.jobs) if job.outcome.is_live and job not in self.plan.jobs]
        return self.plan.is_whole or (part.kind == "data" and not others)


def _of(submission: Submission, jobs: Iterable[JobView]) -> list[JobView]:
    """The jobs of which a submission is the newest."""
    return [job for job in jobs if job.submission is not None and job.submission.number == submission.number]


def _is_of_an_ended_job(line: str) -> bool:
    return any(words in line.lower() for words in _HAS_ENDED)


def index_ranges(indices: Sequence[int]) -> str:
    """Array indices as Slurm writes them: `0-2,5`."""
    runs = [[index for _, index in run] for _, run in groupby(enumerate(sorted(indices)), key=lambda pair: pair[1] - pair[0])]
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def require_told(cancel: SlurmCancel, ended: Sequence[str], paths: StudyPaths) -> None:
    """Say what Slurm was not told.

    Raises
    ------
    SchedulerError
        Slurm did not take all of it.
    """
    if not cancel.not_told:
        return
    here = f" Cancelled: {', '.join(ended)}." if ended else " Nothing else was at work."
    raise SchedulerError(
        f"Slurm was not told to end {', '.join(cancel.not_told)}: {'; '.join(dict.fromkeys(cancel.problems))}.{here}",
        hint=f"Run cancel again when Slurm answers. What starts or trains until then reads {paths.cancellations} and ends.",
    )
