"""Draw what `status` shows on a terminal, from a study directory that is written for it.

python docs/status_picture.py docs/status.svg
"""

import io
import os
import re
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI

from fly64_hpc.collector import look
from fly64_hpc.glance.facts import glance
from fly64_hpc.glance.table import picture
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.slurm.calls import SlurmCalls

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
from built_study import build

STUDY = Path("configs/fly64_demo.yaml")
WIDTH, HEIGHT = 165, 40
STATES = ("succeeded", "succeeded", "succeeded", "succeeded", "running", "stuck", "failed", "pending", "pending")


def status_picture(target: Path) -> None:
    """Write the picture."""
    with tempfile.TemporaryDirectory() as folder:
        paths = build(Path(folder), STUDY, states=STATES)
        calls = SlurmCalls(environment=os.environ | {"PATH": f"{folder}/bin:{os.environ['PATH']}"})
        shown = glance(look(paths, calls))
        shown = replace(shown, view=replace(shown.view, paths=StudyPaths(Path("outputs") / paths.root.name)))
        console = Console(record=True, width=WIDTH, height=HEIGHT, file=io.StringIO(), force_terminal=True)
        console.print(picture(shown, shown.view.problems, calls.summary(), console))
    drawn = console.export_svg(title="python -m fly64_hpc.status --watch", theme=MONOKAI, unique_id="status")
    target.write_text(re.sub(r"[ \t]+$", "", drawn, flags=re.MULTILINE))


if __name__ == "__main__":
    status_picture(Path(sys.argv[1]))
