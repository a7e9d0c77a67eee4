"""One job's log: what its attempts and its tasks wrote, on whatever node, and, where asked, what they are still writing."""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field

from fly64_hpc.collector import StudyView, look
from fly64_hpc.command_line import (
    Output,
    VerbParser,
    add_directory_flags,
    add_filter_flags,
    add_phase_flag,
    job_filter,
    run_verb,
    study_paths,
)
from fly64_hpc.errors import EXIT_JOB_FAILED, EXIT_OK, RequestError
from fly64_hpc.job_choice import chosen_job
from fly64_hpc.job_log import JobLog, LogPart
from fly64_hpc.job_matrix import TrainingJob
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.job_state import JobState
from fly64_hpc.retrying import decisions
from fly64_hpc.slurm.calls import SlurmCalls
from fly64_hpc.submissions import read_submissions
from fly64_hpc.watching import FIRST_SLURM_POLL_S, LONGEST_SLURM_POLL_S

EXAMPLES = ("dose_1000-dense-gs2 --study-dir outputs/fly64_demo", "--dose 1000 --view dense --follow")
POLL_S = 1.0


def main(argv: Sequence[str]) -> int:
    """Run the verb; its exit code is returned."""
    arguments = _parser().parse_args(argv)
    output, calls = Output(arguments.json), SlurmCalls()
    _refuse_wrong(arguments)
    paths = study_paths(arguments)
    view = look(paths, calls)
    job = chosen_job([one.job for one in view.jobs], arguments.job, job_filter(arguments))
    following = _Following(paths, job, calls, JobLog(paths.job(job), job.job_id, arguments.attempt), arguments.lines)
    shown = following.log.news(view.submissions)
    if arguments.attempt is not None and not any(part.attempt == arguments.attempt for part in shown):
        raise RequestError(f"{job.job_id} has no attempt {arguments.attempt}.", hint="Leave out --attempt to see them all.")
    outcome = view.of_job(job).outcome
    if not shown:
        output.say(f"{job.job_id} has no log yet: {outcome.state.value}: {outcome.reason}")
    for line in following.printed(shown):
        output.say(line)
    cut = [asdict(part) | {"lines": list(_last(part.lines, arguments.lines))} for part in shown]
    output.result({"job_id": job.job_id, "state": outcome.state.value, "reason": outcome.reason, "parts": cut})
    return following.run(output, view) if arguments.follow else EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = VerbParser(
        "logs", "Show one job's log across attempts and nodes: train.log, and what its tasks printed in the scratch.", EXAMPLES
    )
    parser.add_argument("job", nargs="?", metavar="JOB", help="a job id, or a part of one that no other has")
    add_directory_flags(parser)
    add_phase_flag(parser)
    add_filter_flags(parser)
    parser.add_argument("--follow", "-f", action="store_true", help="go on until the job has ended, across attempts")
    parser.add_argument("--attempt", type=int, metavar="N", help="only this attempt, and what its task printed")
    parser.add_argument("--lines", "-n", type=int, metavar="N", help="of each part only the last N lines")
    return parser


def _refuse_wrong(arguments: argparse.Namespace) -> None:
    if arguments.follow and arguments.json:
        raise RequestError("--follow writes as it comes, and --json is one answer.", hint="Leave out one of them.")
    if arguments.lines is not None and arguments.lines < 0:
        raise RequestError(f"--lines {arguments.lines}: must be 0 or more.", hint="Leave it out to see all lines.")


def _last(lines: Sequence[str], most: int | None) -> Sequence[str]:
    return lines if most is None else lines[max(0, len(lines) - most) :]


@dataclass
class _Following:
    """A log that is shown and, where asked, followed."""

    paths: StudyPaths
    job: TrainingJob
    calls: SlurmCalls
    log: JobLog
    most: int | None
    _title: str = ""
    """What the last line that was printed belongs to."""
    _known: set[str] = field(default_factory=set)
    """The titles that were printed."""

    def printed(self, parts: Sequence[LogPart], *, is_new: bool = False) -> Iterator[str]:
        """Parts as lines; of what is new, a title only where it is another or has lines."""
        for part in parts:
            if is_new and not part.lines and part.title in self._known:
                continue
            if part.title != self._title:
                yield part.title
            self._title = part.title
            self._known.add(part.title)
            yield from part.lines if is_new else _last(part.lines, self.most)

    def run(self, output: Output, view: StudyView) -> int:
        """Follow until the job has ended; the exit code is returned."""
        period_s = FIRST_SLURM_POLL_S
        looked_at = time.monotonic()
        while self._goes_on(view):
            time.sleep(POLL_S)
            self._show_news(output)
            if not view.of_job(self.job).is_with_slurm or time.monotonic() - looked_at > period_s:
                before, view = view.of_job(self.job).outcome.state, look(self.paths, self.calls)
                has_changed = before is not view.of_job(self.job).outcome.state
                period_s = FIRST_SLURM_POLL_S if has_changed else min(1.5 * period_s, LONGEST_SLURM_POLL_S)
                looked_at = time.monotonic()
        self._show_news(output)
        outcome = view.of_job(self.job).outcome
        output.say(f"{self.job.job_id}: {outcome.state.value}: {outcome.reason}")
        return EXIT_OK if outcome.state in (JobState.SUCCEEDED, JobState.SKIPPED) else EXIT_JOB_FAILED

    def _show_news(self, output: Output) -> None:
        for line in self.printed(self.log.news(read_submissions(self.paths)), is_new=True):
            output.say(line)

    def _goes_on(self, view: StudyView) -> bool:
        """Whether somebody is at work on the job, or a collector job that is to come will try it again."""
        if view.of_job(self.job).outcome.is_live:
            return True
        return bool(view.open_parts) and any(one.again for one in decisions(view) if one.job_id == self.job.job_id)


if __name__ == "__main__":
    run_verb(main)
