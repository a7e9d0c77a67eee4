"""Recompute every sha256 that a study's records have of its files, and every digest of a configuration; say what differs."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from fly64_hpc.command_line import Output, VerbParser, add_directory_flags, add_phase_flag, run_verb, study_paths
from fly64_hpc.errors import EXIT_JOB_FAILED, EXIT_OK
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.study_directory import read_study
from fly64_hpc.verification import Claim, Difference, findings
from ptycho_torch.config import sha256_file

EXAMPLES = ("--study-dir outputs/fly64_demo", "--study configs/fly64_demo.yaml --json")


def main(argv: Sequence[str]) -> int:
    """Run the verb; its exit code is returned."""
    parser = VerbParser(
        "verify", "Recompute every sha256 and every digest that a study's records have, and name what differs.", EXAMPLES
    )
    add_directory_flags(parser)
    add_phase_flag(parser)
    arguments = parser.parse_args(argv)
    output = Output(arguments.json)
    paths = study_paths(arguments)
    found = list(findings(paths, read_study(paths)))
    claims: dict[Path, list[Claim]] = {}
    for claim in found:
        if isinstance(claim, Claim):
            claims.setdefault(claim.file, []).append(claim)
    size_bytes = sum(file.stat().st_size for file in claims if file.is_file())
    differences = [one for one in found if isinstance(one, Difference)]
    with _progress(size_bytes, is_shown=sys.stderr.isatty() and not output.as_json) as advance:
        for file, own in claims.items():
            differences += _checked(paths, file, own)
            advance(file.stat().st_size if file.is_file() else 0)
    for difference in differences:
        output.say(str(difference))
    output.say(f"{len(claims)} files of {size_bytes / 1e6:.1f} MB verified; {_count(len(differences))}")
    result = {"study_dir": str(paths.root), "n_files": len(claims), "size_bytes": size_bytes}
    output.result(result | {"differences": [asdict(one) for one in differences]})
    return EXIT_JOB_FAILED if differences else EXIT_OK


def _checked(paths: StudyPaths, file: Path, claims: Sequence[Claim]) -> list[Difference]:
    """The claims of one file that do not hold; equal ones of several records are one."""
    try:
        found = sha256_file(file)
    except FileNotFoundError:
        found = "missing"
    except OSError as error:
        found = f"unknown, as it cannot be read: {error.strerror}"
    wrong = {claim.sha256: claim for claim in reversed(claims) if claim.sha256 != found}
    return [Difference(paths.inside(file), "sha256", one.sha256, found, one.named_in, one.todo) for one in wrong.values()]


def _count(number: int) -> str:
    return "all as recorded" if number == 0 else f"{number} {'difference' if number == 1 else 'differences'}"


@contextmanager
def _progress(size_bytes: int, *, is_shown: bool) -> Iterator[Callable[[int], None]]:
    """Gives a function that is told how many bytes more have been read."""
    if not is_shown:
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("verifying"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=size_bytes)
        yield lambda more_bytes: progress.advance(task, more_bytes)


if __name__ == "__main__":
    run_verb(main)
