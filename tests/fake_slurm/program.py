"""Every command, the controller too: `python -E -S program.py FOLDER COMMAND ARGUMENTS...`."""

import os
import sys
import time
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fake_slurm.options import Refusal
from fake_slurm.store import UNLOGGED, Store

PLACES = {
    "sbatch": "submitting",
    "srun": "stepping",
    "squeue": "queue_table",
    "sacct": "accounting",
    "scancel": "acting",
    "scontrol": "acting",
    "sinfo": "node_table",
    "controller": "controller",
}


def main() -> int:
    """Run the command line; its exit code is returned."""
    folder, command, *arguments = sys.argv[1:]
    store = Store(Path(folder))
    if command != "controller":
        if UNLOGGED not in os.environ:
            store.log_call([command, *arguments])
        time.sleep(store.read()["hangs"].get(command, 0))
    try:
        # Each is imported alone, which is what makes them quick.
        getattr(import_module(f"fake_slurm.{PLACES[command]}"), command)(store, arguments)
    except Refusal as refusal:
        print(refusal.words, file=sys.stderr)
        return refusal.code
    return 0


if __name__ == "__main__":
    sys.exit(main())
