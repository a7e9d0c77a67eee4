"""`fly64-hpc VERB ...`: the same verbs as `python -m fly64_hpc.VERB ...`."""

import importlib
import sys
from collections.abc import Sequence
from typing import NoReturn

from fly64_hpc.command_line import run_verb
from fly64_hpc.errors import EXIT_OK, RequestError

VERBS = {
    "submit": "submit a study",
    "check": "look at all that may stand in a study's way, before it is submitted",
    "prepare": "make a study's datasets only",
    "collect": "poll job states, write manifest and checkpoint index",
    "status": "the study at a glance",
    "retry": "submit again what may succeed the next time",
    "logs": "one job's log, across attempts and nodes",
    "cancel": "end a study's jobs, or some of them, each with its checkpoint",
    "verify": "recompute every sha256 and digest, name what differs",
    "evaluate": "score every trained network, alone and refined",
    "compare": "networks beside iterative solvers, as a table and a picture",
    "report": "the study as one HTML file, to read and to send",
    "reconstruct": "a new scan with a trained network -> its object",
    "export": "a reconstruction as files that other programs open",
    "ingest": "a scan in another format -> a DATA-001 file",
}


def dispatch(argv: Sequence[str]) -> int:
    """Run the verb that the first argument names."""
    if not argv or argv[0] in ("-h", "--help"):
        lines = "\n".join(f"  {verb:<12}{what}" for verb, what in VERBS.items())
        sys.stdout.write(f"usage: fly64-hpc VERB ...\n\nverbs (each has --help):\n{lines}\n")
        return EXIT_OK
    if argv[0] not in VERBS:
        raise RequestError(f"fly64-hpc has no verb {argv[0]!r}; it has {', '.join(VERBS)}.", hint="See fly64-hpc --help.")
    code: int = importlib.import_module(f"fly64_hpc.{argv[0]}").main(argv[1:])
    return code


def main() -> NoReturn:
    """The console script."""
    run_verb(dispatch)


if __name__ == "__main__":
    main()
