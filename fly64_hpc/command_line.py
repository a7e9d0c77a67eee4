"""What the verbs share: their flags, their words on stdout and stderr, and their exit codes."""

import argparse
import errno
import gc
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from fly64_hpc.errors import EXIT_REQUEST_WRONG, RequestError
from fly64_hpc.job_choice import JobFilter
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.plain_values import plain_value
from fly64_hpc.study import phase_f
from ptycho_torch.config import PtychoError

if TYPE_CHECKING:  # a directory's own study.json needs no YAML
    from fly64_hpc.study_loading import LoadedStudy

DEFAULT_STUDY = Path("configs/fly64_dose_overlap.yaml")

RESOURCE_FLAGS = {
    "partition": "--partition",
    "account": "--account",
    "qos": "--qos",
    "constraint": "--constraint",
    "time": "--time",
    "gpus_per_node": "--gpus-per-node",
    "cpus_per_task": "--cpus-per-task",
    "mem": "--mem",
}

YOUNG_OBJECTS = 1_000_000
"""Before Python looks for cycles among objects: of a large study there are many, hardly one is garbage, and a third of the time
of a look would go into looking them through."""
NUMBER_FIELDS = ("gpus_per_node", "cpus_per_task")


@dataclass(frozen=True)
class Output:
    """Where words go: results on stdout, and with --json every human word on stderr."""

    as_json: bool = False

    def say(self, text: str) -> None:
        """Say something to a person."""
        with suppress(BrokenPipeError):  # nobody listens any more: that must not end the work
            stream = sys.stderr if self.as_json else sys.stdout
            stream.write(f"{text}\n")
            stream.flush()

    def result(self, value: Any) -> None:
        """Give the machine its answer, where it asked for one."""
        if self.as_json:
            sys.stdout.write(json.dumps(value, indent=2) + "\n")


class VerbParser(argparse.ArgumentParser):
    """A parser whose errors are one line and exit code 2, and whose help ends with examples."""

    def __init__(self, verb: str, summary: str, examples: Sequence[str]) -> None:
        lines = "\n".join(f"  python -m fly64_hpc.{verb} {example}".rstrip() for example in examples)
        super().__init__(
            prog=f"python -m fly64_hpc.{verb}",
            description=summary,
            epilog=f"examples:\n{lines}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.add_argument("--json", action="store_true", help="machine-readable output on stdout, human words on stderr")

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        raise RequestError(f"{self.prog}: {message}.", hint="See --help.")


def add_study_flags(parser: argparse.ArgumentParser) -> None:
    """Flags that name a study, override its fields and say where its directory is."""
    parser.add_argument("--study", type=Path, default=DEFAULT_STUDY, metavar="FILE", help=f"the study (default {DEFAULT_STUDY})")
    parser.add_argument(
        "--output-root", type=Path, default=Path("outputs"), metavar="DIR", help="the study lives in DIR/<study name>/"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="override any field of the study")
    parser.add_argument("--profile", metavar="NAME", help="a site profile from batch/profiles/")


def add_phase_flag(parser: argparse.ArgumentParser) -> None:
    """The flag that means the iterative solvers instead of the networks."""
    parser.add_argument(
        "--phase-f", action="store_true", help="the study's iterative solvers (Phase F), in their own folder and manifest"
    )


def add_resource_flags(parser: argparse.ArgumentParser) -> None:
    """Flags that override the study's `resources`."""
    for field, flag in RESOURCE_FLAGS.items():
        parser.add_argument(flag, dest=field, metavar=field.upper(), help=f"override resources.{field}")


def add_filter_flags(parser: argparse.ArgumentParser) -> None:
    """Flags that select jobs."""
    parser.add_argument(
        "--dose", type=float, action="append", default=[], metavar="PHOTONS", help="only this dose (may be repeated)"
    )
    parser.add_argument("--view", action="append", default=[], metavar="VIEW", help="only this view (may be repeated)")
    parser.add_argument(
        "--gridsize", type=int, action="append", default=[], metavar="G", help="only this gridsize (may be repeated)"
    )
    parser.add_argument(
        "--where", action="append", default=[], metavar="AXIS=VALUE", help="only this place on an axis of the sweep (repeatable)"
    )


def add_directory_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of the verbs that look at a study that exists."""
    parser.add_argument(
        "--study-dir", type=Path, metavar="DIR", help="the study's directory (else --study and --output-root name it)"
    )
    add_study_flags(parser)


def loaded_study(arguments: argparse.Namespace, *, with_base: bool = True) -> "LoadedStudy":
    """The study that the flags name, with everything that they override; see `load_study`."""
    from fly64_hpc.study_loading import Override, load_study, parse_set

    overrides = [parse_set(text) for text in arguments.set]
    for field, flag in RESOURCE_FLAGS.items():
        value = getattr(arguments, field, None)
        if value is not None:
            overrides.append(Override(("resources", field), plain_value(value) if field in NUMBER_FIELDS else value, flag))
    return load_study(arguments.study, overrides, arguments.profile, with_base=with_base)


def loaded_phase(arguments: argparse.Namespace) -> "LoadedStudy":
    """The study that the flags name, or its Phase F; see `loaded_study`."""
    loaded = loaded_study(arguments)
    return replace(loaded, design=phase_f(loaded.design)) if arguments.phase_f else loaded


def study_paths(arguments: argparse.Namespace) -> StudyPaths:
    """The directory of a study that exists, or of its Phase F."""
    if arguments.study_dir is not None:
        return _phase_paths(arguments, StudyPaths(arguments.study_dir.resolve()))
    return new_study_paths(arguments, loaded_study(arguments, with_base=False))


def new_study_paths(arguments: argparse.Namespace, loaded: "LoadedStudy") -> StudyPaths:
    """The directory that a study, or its Phase F, has or will have."""
    return _phase_paths(arguments, StudyPaths((arguments.output_root / loaded.design.study).resolve()))


def _phase_paths(arguments: argparse.Namespace, paths: StudyPaths) -> StudyPaths:
    return paths.phase_f if getattr(arguments, "phase_f", False) else paths


def job_filter(arguments: argparse.Namespace) -> JobFilter:
    """The selection that the flags name."""
    where = tuple(_place(text) for text in arguments.where)
    return JobFilter(tuple(arguments.dose), tuple(arguments.view), tuple(arguments.gridsize), where)


def _place(text: str) -> tuple[str, str]:
    axis, equals, value = text.partition("=")
    if not equals or not axis or not value:
        raise RequestError(
            f"--where {text}: needs the form AXIS=VALUE.", hint="For example --where learning_rate=1e-3, an axis of the sweep."
        )
    return axis, value


def run_verb(verb: Callable[[Sequence[str]], int], arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a verb and exit with its code; what a user caused is one clear sentence, never a traceback."""
    gc.set_threshold(YOUNG_OBJECTS)
    gc.freeze()  # what imports have made lasts until the end, where Python would look through all of it: a tenth of `--help`
    try:
        code = verb(sys.argv[1:] if arguments is None else arguments)
    except PtychoError as error:
        sys.stderr.write(f"error: {error}\n")
        code = EXIT_REQUEST_WRONG
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; what was handed over goes on, see `python -m fly64_hpc.status`\n")
        code = 130
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = "Make room and run it again." if is_full else "Check the path and its permissions."
        sys.stderr.write(f"error: {error.filename or 'a file'}: {error.strerror or error}. {advice}\n")
        code = EXIT_REQUEST_WRONG
    _leave(code)


def _leave(code: int) -> NoReturn:
    """Exit; what stdout still holds is dropped where nobody reads it, so that Python does not complain of it."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)
