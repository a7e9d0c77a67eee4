"""Runs a verb, and kills it before the N-th thing that it does to files or processes: `kill_at.py N COUNT_FILE VERB ...`.

With N = 0 nothing is killed, and COUNT_FILE gets the number of such things. What changes nothing, such as making a folder that is
there, is none.
"""

import os
import runpy
import signal
import sys
from pathlib import Path

from fly64_hpc.preflight import examination

WATCHED = {"os.rename", "os.link", "subprocess.Popen", "fcntl.flock"}
FOLDERS = ("outputs", "logs")


class _Counter:
    def __init__(self, deadly: int) -> None:
        self.deadly = deadly
        self.count = 0

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if event in WATCHED or self._changes_files(event, arguments):
            self.count += 1
            if self.count == self.deadly:
                os.kill(os.getpid(), signal.SIGKILL)

    def _changes_files(self, event: str, arguments: tuple[object, ...]) -> bool:
        if event == "open":
            return "w" in str(arguments[1]) and any(f"/{folder}/" in str(arguments[0]) for folder in FOLDERS)
        exists = event in ("os.mkdir", "os.remove") and os.path.lexists(str(arguments[0]))
        return (event == "os.remove" and exists) or (event == "os.mkdir" and not exists)


def main() -> None:
    number, count_file, verb, *arguments = sys.argv[1:]
    counter = _Counter(int(number))
    examination.examine_quickly = lambda request: []  # it begins nothing, so to be killed in it is nothing; and it takes its time
    sys.addaudithook(counter)
    sys.argv = [verb, *arguments]
    try:
        runpy.run_module(f"fly64_hpc.{verb}", run_name="__main__")
    finally:
        Path(count_file).write_text(str(counter.count))


if __name__ == "__main__":
    main()
