"""Handing a submission to Slurm: its parts are planned and on the disk before sbatch is called, each answer is noted at once.

The submitter may be killed anywhere. What is then still `intended` is either with Slurm, where its name finds it, or was never
there; whoever submits next looks, adopts it or hands it over.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fly64_hpc.errors import RefusedError, SchedulerError
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.resources import Resources
from fly64_hpc.slurm.arrays import Array, halves, plan_arrays
from fly64_hpc.slurm.calls import SlurmCalls
from fly64_hpc.slurm.configuration import max_array_size
from fly64_hpc.slurm.refusals import advice_for
from fly64_hpc.slurm.sbatch import SbatchAnswer, Verdict, call_sbatch
from fly64_hpc.slurm.scripts import render_script
from fly64_hpc.slurm.states import find_by_name
from fly64_hpc.submissions import Part, PartKind, Submission
from ptycho_torch.config import write_text

Say = Callable[[str], None]

LOOK_UP_S = (0.5, 1, 2, 4, 8)
"""Pauses between look-ups of a name after an answer that leaves open whether Slurm took the job."""
FIRST_WAIT_S, LONGEST_WAIT_S = 5.0, 120.0
"""Between tries while Slurm has no room for another job."""


def with_parts(
    submission: Submission, jobs: Sequence[tuple[str, Resources]], calls: SlurmCalls, *, makes_data: bool
) -> Submission:
    """A submission with what it will hand to Slurm: dataset job where one is needed, arrays, and the collector job."""
    return with_parts_of(submission, jobs, max_array_size(calls), makes_data=makes_data)


def with_parts_of(
    submission: Submission, jobs: Sequence[tuple[str, Resources]], array_size: int, *, makes_data: bool
) -> Submission:
    """As `with_parts`, where it is known how large an array may be."""
    arrays = plan_arrays(jobs, max_array_size=array_size, parallelism=submission.resources.array_parallelism)
    planned = submission
    if makes_data:
        planned = _with_part(planned, "data", submission.resources.without_gpus())
    first = len(planned.parts)
    for array in arrays:
        planned = _with_array(planned, array, () if array.waits_for is None else (first + array.waits_for,))
    return _with_part(planned, "collect", collector_resources(submission.resources))


def collector_resources(resources: Resources) -> Resources:
    """What the collector job asks for: it reads small files and hashes large ones."""
    return resources.without_gpus().model_copy(update={"cpus_per_task": 1, "mem": None if resources.mem is None else "1G"})


def with_collector(submission: Submission, after_any: Sequence[int], delay_s: int) -> Submission:
    """A submission that gets another collector job, because some of its jobs are at work again."""
    resources = collector_resources(submission.resources)
    return _with_part(submission, "collect", resources, after_any=tuple(after_any), delay_s=delay_s)


def _with_array(submission: Submission, array: Array, after_any: tuple[int, ...], replaces: int | None = None) -> Submission:
    data = tuple(index for index, part in enumerate(submission.parts) if part.kind == "data")
    return _with_part(
        submission,
        "train",
        array.resources,
        jobs=array.jobs,
        throttle=array.throttle,
        after_ok=data,
        after_any=after_any,
        replaces=replaces,
    )


def _with_part(submission: Submission, kind: PartKind, resources: Resources, **fields: object) -> Submission:
    part = Part.model_validate(
        {"kind": kind, "tag": f"{submission.tag}-{len(submission.parts)}", "resources": resources, **fields}
    )
    return submission.model_copy(update={"state": "intended", "parts": (*submission.parts, part)})


def command_line(submission: Submission, part: Part, script: Path) -> list[str]:
    """What sbatch is told besides the script: the part's name, and what must have ended before."""
    parents = {"afterok": submission.standing(part.after_ok), "afterany": _ended_before(submission, part)}
    ids = {kind: dict.fromkeys(parent.scheduler_job_id or "<id>" for parent in found) for kind, found in parents.items()}
    depends = [f"{kind}:{':'.join(found)}" for kind, found in ids.items() if found]
    return [
        f"--job-name={part.tag}",
        *([f"--dependency={','.join(depends)}", "--kill-on-invalid-dep=yes"] if depends else []),
        *([f"--begin=now+{part.delay_s}"] if part.delay_s else []),
        str(script),
    ]


def _ended_before(submission: Submission, part: Part) -> list[Part]:
    """A collector job waits for everything, unless it is told for what."""
    if part.kind == "collect" and not part.after_any:
        return submission.standing([index for index, other in enumerate(submission.parts) if other.kind != "collect"])
    return submission.standing(part.after_any)


def user_defaults(part: Part) -> list[str]:
    """The user's own defaults for what a study leaves open; a constraint is meant for the nodes that train."""
    fields = ("partition", "account", "qos", *(["constraint"] if part.kind == "train" else []))
    return [f"SBATCH_{field.upper()}" for field in fields if getattr(part.resources, field) is None]


def script_path(submission: Submission, index: int) -> Path:
    """Where the script of a part lies."""
    return Path(submission.scratch) / f"{index}-{submission.parts[index].kind}.sh"


@dataclass
class SlurmHandOver:
    """Hands the parts of a submission to Slurm, one after the other, under the study's submit lock."""

    paths: StudyPaths
    submission: Submission
    calls: SlurmCalls
    lock: int
    say: Say
    patience_s: float

    def run(self, *, is_adopted: bool = False) -> Submission:
        """Bring every part to Slurm; where `is_adopted`, those that are with Slurm already are found by their names first.

        Raises
        ------
        RefusedError
            sbatch refused a part of a new submission, with its own words; what went before it is cancelled.
        SchedulerError
            Slurm does not answer; the next submit goes on from here.
        """
        Path(self.submission.scratch).mkdir(parents=True, exist_ok=True, mode=0o700)
        while (index := self._next_part()) is not None:
            self._hand_over(index, is_adopted=is_adopted)
        self._write(self.submission.model_copy(update={"state": "submitted"}))
        return self.submission

    def _next_part(self) -> int | None:
        """The first part that Slurm does not have and whose predecessors it has; the collector job last, as it waits for all."""
        intended = [
            index for index, part in enumerate(self.submission.parts) if part.state == "intended" and self._is_ready(part)
        ]
        return min(intended, key=lambda index: (self.submission.parts[index].kind == "collect", index), default=None)

    def _is_ready(self, part: Part) -> bool:
        before = [*self.submission.standing(part.after_ok), *_ended_before(self.submission, part)]
        return all(parent.scheduler_job_id is not None for parent in before)

    def _hand_over(self, index: int, *, is_adopted: bool) -> None:
        part = self.submission.parts[index]
        if is_adopted and (job_id := self._known_id(part.tag)):
            self.say(f"Slurm has {part.tag} already, as {job_id}")
            self._note(index, state="submitted", scheduler_job_id=job_id)
            return
        answer = self._sbatch(index)
        if answer.verdict is Verdict.TAKEN:
            self._note(index, state="submitted", scheduler_job_id=answer.job_id)
        elif answer.verdict is Verdict.NO_ROOM:
            self._split(index)
        elif is_adopted and self._ids():
            self.say(f"sbatch refused {part.tag}, whose submission goes on without it: {answer.words}")
            self._note(index, state="refused")
        else:
            self._take_back(answer.words)

    def _ids(self) -> list[str]:
        """What Slurm has of the submission."""
        return [part.scheduler_job_id for part in self.submission.parts if part.scheduler_job_id is not None]

    def _sbatch(self, index: int) -> SbatchAnswer:
        """Call sbatch until there is an answer; a single task, or a part that is no array, waits for room."""
        part = self.submission.parts[index]
        script = script_path(self.submission, index)
        write_text(script, render_script(self.paths, self.submission, index))
        wait_s, waited_s = FIRST_WAIT_S, 0.0
        while True:
            answer = call_sbatch(self.calls, command_line(self.submission, part, script), self.lock, user_defaults(part))
            if answer.verdict is Verdict.LEFT_OPEN:
                answer = self._settle(part, answer)
            if answer.verdict is not Verdict.NO_ROOM or len(part.jobs) > 1:
                return answer
            if waited_s > self.patience_s:
                raise SchedulerError(f"Slurm has no room for another job: {answer.words}.", hint="Submit again later.")
            self.say(f"Slurm has no room for another job ({answer.words}); trying again in {wait_s:.0f} s")
            time.sleep(wait_s)
            waited_s, wait_s = waited_s + wait_s, min(2 * wait_s, LONGEST_WAIT_S)

    def _settle(self, part: Part, answer: SbatchAnswer) -> SbatchAnswer:
        """Find out by its name whether Slurm took a part although sbatch did not say so."""
        self.say(f"sbatch's answer leaves open whether it took {part.tag} ({answer.words}); looking for its name")
        for pause_s in LOOK_UP_S:
            time.sleep(pause_s)
            if job_id := self._known_id(part.tag):
                return SbatchAnswer(Verdict.TAKEN, f"job {job_id}", job_id)
        raise SchedulerError(
            f"sbatch did not say whether it took {part.tag}, and Slurm knows no such name: {answer.words}.",
            hint="Submit again when Slurm answers: it looks for the name once more, and goes on from there.",
        )

    def _known_id(self, tag: str) -> str | None:
        found = find_by_name(tag, self.submission.created_utc, self.calls)
        if found.job_id is None and not found.is_certain:
            raise SchedulerError(f"Slurm does not answer: {'; '.join(found.problems)}.", hint="Submit again when squeue answers.")
        return found.job_id

    def _split(self, index: int) -> None:
        """Slurm has no room for a whole array: hand it over as two, the second after the first, within the same throttle."""
        part = self.submission.parts[index]
        first, second = halves(Array(part.jobs, part.resources, part.throttle))
        sizes = f"{len(first.jobs)} and {len(second.jobs)}"
        self.say(f"Slurm has no room for an array of {len(part.jobs)}; handing over {sizes} instead")
        split = _with_array(self._changed(index, state="refused"), first, part.after_any, index)
        self._write(_with_array(split, second, (len(split.parts) - 1,), index))

    def _take_back(self, words: str) -> None:
        """A part was refused for good, and nothing of the submission was there before: take back what goes with it."""
        for job_id in self._ids():
            answer = self.calls("scancel", job_id)
            if not answer.is_good:
                raise SchedulerError(
                    f"sbatch refused a part of the submission ({words}), and job {job_id} cannot be taken back: {answer.words}.",
                    hint="Submit again when Slurm answers.",
                )
        parts = [part.model_copy(update={"state": "refused"}) for part in self.submission.parts]
        self._write(self.submission.model_copy(update={"state": "refused", "parts": tuple(parts)}))
        raise RefusedError(f"sbatch refused the submission: {words}", hint=f"Nothing was submitted. {advice_for(words)}")

    def _note(self, index: int, **changes: object) -> None:
        self._write(self._changed(index, **changes))

    def _changed(self, index: int, **changes: object) -> Submission:
        parts = list(self.submission.parts)
        parts[index] = parts[index].model_copy(update=changes)
        return self.submission.model_copy(update={"parts": tuple(parts)})

    def _write(self, submission: Submission) -> None:
        submission.write(self.paths.submission(submission.number))
        self.submission = submission
