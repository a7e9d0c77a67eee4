"""What Slurm says of jobs, asked by their names: at most one squeue and one sacct call, whatever their number.

Names are this program's own and never given twice. Ids are: a controller that lost its state starts again from 1.
"""

import datetime
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from fly64_hpc.job_state import SLURM_STATES, JobState
from fly64_hpc.slurm.calls import Answer, SlurmCalls
from fly64_hpc.slurm.times import duration_s, moment_utc

SQUEUE_FORMAT = "%j|%F|%K|%T|%r|%N|%l|%L|%S"
_NEEDED_CELLS = 6
"""The times after them are a help only."""
SACCT_FORMAT = "JobID,JobName,State,ExitCode,NodeList,ReqMem,MaxRSS"
_CLOCKS_DIFFER = datetime.timedelta(days=1)
_TASK = re.compile(r"(\d+)(?:_(\d+|\[[\d,:\-]+(?:%\d+)?\]))?")

TaskKey = tuple[str, int | None]
"""A job's name and its array index; None for a job that is no array."""


@dataclass(frozen=True)
class QueueRow:
    """A line of squeue."""

    job_id: str
    word: str
    """Slurm's word for the state."""
    reason: str
    node: str
    limit_s: int | None = None
    left_s: int | None = None
    start_utc: str | None = None
    """When it started, or when Slurm expects to start it."""


@dataclass(slots=True)
class Incarnation:
    """A start of a task, as sacct has it; one that was requeued has several.

    Its lines are taken apart when they are asked for: of a large study most belong to jobs that have proven their success.
    """

    job_line: str
    step_lines: list[str] = field(default_factory=list)

    @property
    def job_id(self) -> str:
        """Without an array's index."""
        return self._cell(0).partition("_")[0]

    @property
    def word(self) -> str:
        """Slurm's word for the state."""
        return self._cell(2).partition(" ")[0]

    @property
    def detail(self) -> str:
        """What follows the word: `by 0`."""
        return self._cell(2).partition(" ")[2]

    @property
    def exit_code(self) -> str:
        """`code:signal`."""
        return self._cell(3)

    @property
    def node(self) -> str:
        """Where it ran; empty where it did not."""
        node = self._cell(4)
        return "" if node.startswith("None") else node

    @property
    def asked_memory(self) -> str:
        """As it was asked for: `4G`."""
        return self._cell(5)

    @property
    def step_words(self) -> list[str]:
        """Slurm's word for the state of each step."""
        return [line.split("|")[2] for line in self.step_lines]

    @property
    def step_exit_codes(self) -> list[str]:
        """Those of its steps."""
        return [line.split("|")[3] for line in self.step_lines]

    @property
    def used_memory(self) -> list[str]:
        """The most that each step used, of those that were seen to use any."""
        return [used for line in self.step_lines if (used := line.split("|")[6])]

    def _cell(self, number: int) -> str:
        return self.job_line.split("|")[number]


@dataclass
class Seen:
    """What both say of one task."""

    queue: QueueRow | None = None
    incarnations: list[Incarnation] = field(default_factory=list)
    """Oldest first."""


@dataclass(frozen=True)
class SlurmReport:
    """What Slurm says of some names."""

    tasks: dict[TaskKey, Seen]
    squeue_answered: bool
    sacct_answered: bool
    problems: tuple[str, ...]

    def seen(self, tag: str, index: int | None) -> Seen:
        """What is said of one task; nothing where nothing is."""
        return self.tasks.get((tag, index)) or Seen()


def ask(tags: Sequence[str], since_utc: str, calls: SlurmCalls, job_ids: Sequence[str] = ()) -> SlurmReport:
    """Ask Slurm for the jobs of some names that were submitted at `since_utc` or later.

    Where all `job_ids` are known, sacct is asked by them: by name it hides what was cancelled before it could have started. What
    it then says of somebody else's job of the same id has another name, and is nobody's here.
    """
    if not tags:
        return SlurmReport({}, True, True, ())
    names = ",".join(tags)
    squeue = calls("squeue", "--name", names, "--array", "--states=all", "--noheader", f"--format={SQUEUE_FORMAT}")
    which = ("--jobs", ",".join(job_ids)) if job_ids else ("--name", names)
    sacct = calls(
        "sacct", "--duplicates", *which, "--starttime", _start_time(since_utc), "--noheader", "--parsable2",
        f"--format={SACCT_FORMAT}",
    )  # fmt: skip
    tasks: defaultdict[TaskKey, Seen] = defaultdict(Seen)
    for key, row in parse_squeue(squeue.out if squeue.is_good else ""):
        seen = tasks[key]
        if seen.queue is None or SLURM_STATES.get(row.word, JobState.PENDING).is_open:
            seen.queue = row  # of two jobs of one name, the one that is at work
    for key, incarnation in parse_sacct(sacct.out if sacct.is_good else ""):
        tasks[key].incarnations.append(incarnation)
    return SlurmReport(tasks, squeue.is_good, sacct.is_good, tuple(_problems(squeue=squeue, sacct=sacct)))


@dataclass(frozen=True)
class NameFound:
    """Whether Slurm knows a job by its name."""

    job_id: str | None
    is_certain: bool
    """Whether squeue answered: then what it does not name is not waiting or running."""
    problems: tuple[str, ...]


def find_by_name(tag: str, since_utc: str, calls: SlurmCalls) -> NameFound:
    """Look for the job that was submitted under a name."""
    report = ask([tag], since_utc, calls)
    own = [seen for (name, _), seen in report.tasks.items() if name == tag]
    ids = [seen.queue.job_id if seen.queue else seen.incarnations[-1].job_id for seen in own]
    return NameFound(ids[0] if ids else None, report.squeue_answered, report.problems)


def parse_squeue(text: str) -> Iterator[tuple[TaskKey, QueueRow]]:
    """Read lines of `SQUEUE_FORMAT`; a line that is none is passed over."""
    for line in text.splitlines():
        cells = line.strip().split("|")
        if len(cells) in (_NEEDED_CELLS, SQUEUE_FORMAT.count("|") + 1) and cells[1].isdigit():
            tag, job_id, index, word, reason, node = cells[:_NEEDED_CELLS]
            row = QueueRow(job_id, word, "" if reason == "None" else reason, node, *_times(cells[_NEEDED_CELLS:]))
            for number in _indices(index):
                yield (tag, number), row


def _times(cells: list[str]) -> tuple[int | None, int | None, str | None]:
    """Time limit, what is left of it, and start."""
    if not cells:
        return None, None, None
    return duration_s(cells[0]), duration_s(cells[1]), moment_utc(cells[2])


def parse_sacct(text: str) -> Iterator[tuple[TaskKey, Incarnation]]:
    """Read rows of `SACCT_FORMAT`: each job row is a start of a task, the step rows after it belong to it."""
    started: list[tuple[TaskKey, Incarnation]] = []
    current: Incarnation | None = None
    bars = SACCT_FORMAT.count(",")
    for line in map(str.strip, text.splitlines()):
        if line.count("|") != bars:
            continue
        task, name, _ = line.split("|", 2)
        if "." not in task:
            match = _TASK.fullmatch(task)
            tasks = _indices(match[2] or "N/A") if match else []
            started += [((name, index), Incarnation(line)) for index in tasks]
            current = started[-1][1] if tasks else None
        elif current is not None:
            current.step_lines.append(line)
    yield from started


def _indices(text: str) -> list[int | None]:
    """`N/A` for no array, `4`, or `[0-3,7%2]` for several waiting tasks."""
    if text.isdecimal():  # as nearly all are
        return [int(text)]
    if text == "N/A":
        return [None]
    spans = re.sub(r"%\d+|[\[\]]", "", text)
    try:
        return [index for part in spans.split(",") for index in _span(part)]
    except ValueError:
        return []


def _span(part: str) -> range:
    """`4`, `0-3` or `0-8:2`."""
    bounds, _, step = part.partition(":")
    first, _, last = bounds.partition("-")
    return range(int(first), int(last or first) + 1, int(step or 1))


def _start_time(since_utc: str) -> str:
    """The day before, as sacct reads it: clocks and time zones may differ."""
    return f"{datetime.datetime.fromisoformat(since_utc) - _CLOCKS_DIFFER:%Y-%m-%d}"


def _problems(**answers: Answer) -> Iterator[str]:
    for name, answer in answers.items():
        if not answer.is_good:
            yield f"{name} failed: {answer.words}"
