"""The script that sbatch gets for a part of a submission, rendered by submitit; writes nothing."""

import re
import shlex
import sys
from pathlib import Path
from typing import Any

import submitit

from fly64_hpc.frozen_code import shell_lines
from fly64_hpc.job_paths import StudyPaths
from fly64_hpc.resources import Resources
from fly64_hpc.slurm.calls import BATCH_PID_VARIABLE
from fly64_hpc.submissions import Part, Submission
from fly64_hpc.train_task import SUBMISSION_VARIABLE

NODE_MODULE = "fly64_hpc.slurm_task"


class _ScriptWriter(submitit.SlurmExecutor):
    """submitit's Slurm executor, of which only the script is wanted: what runs is found by a study directory and numbers.

    So no pickle is written, and a submission that submitit would not know to be its own still finds its jobs.
    """

    @classmethod
    def affinity(cls) -> int:
        """Usable wherever it is asked for: rendering a script needs no Slurm."""
        return 2

    def render(self, command: str) -> str:
        text: str = self._make_submission_file_text(command, "")
        return re.sub(r"#SBATCH --wckey=.*\n", "", text)


def render_script(paths: StudyPaths, submission: Submission, index: int) -> str:
    """The script of part `index` of a submission, whose output goes to the submission's scratch.

    Its name and what it depends on are not in it: sbatch is told them on its command line.
    """
    part = submission.parts[index]
    writer = _ScriptWriter(folder=Path(submission.scratch))
    writer.update_parameters(**_parameters(part.resources, part.kind, _setup_lines(paths, submission, part)))
    if part.kind == "train":
        writer.parameters |= {"map_count": len(part.jobs), "array_parallelism": part.throttle}
    command = [sys.executable, "-u", "-m", NODE_MODULE, str(paths.root), str(submission.number), str(index)]
    return writer.render(shlex.join(command))


def _parameters(resources: Resources, kind: str, setup: list[str]) -> dict[str, Any]:
    asked = {
        "job_name": f"fly64-{kind}",
        "partition": resources.partition,
        "account": resources.account,
        "qos": resources.qos,
        "constraint": resources.constraint,
        "exclude": ",".join(resources.exclude) or None,
        "time": resources.time_limit_min,
        "nodes": 1,
        "ntasks_per_node": 1,
        "cpus_per_task": resources.cpus_per_task,
        "mem": resources.mem,
        "signal_delay_s": resources.signal_delay_s,
        "additional_parameters": {"requeue": True},
        "setup": setup,
        # Slurm 22.05 to 23.02 do not hand --cpus-per-task down from sbatch to srun.
        "srun_args": [f"--cpus-per-task={resources.cpus_per_task}"],
    }
    return {key: value for key, value in (asked | resources.gpu_request).items() if value is not None}


def _setup_lines(paths: StudyPaths, submission: Submission, part: Part) -> list[str]:
    resources = part.resources
    exports = [f"export {name}={shlex.quote(value)}" for name, value in resources.env.items()]
    # The collector job needs nothing of a node, and must tell what went wrong on one even from there.
    strict = [] if part.kind == "collect" else ["set -e  # a job whose setup fails must fail"]
    return [
        *strict,
        f"export {BATCH_PID_VARIABLE}=$$  # whose first environment is that of the submit",
        *resources.setup,
        *exports,
        f"export {SUBMISSION_VARIABLE}={submission.number}",
        *([] if submission.code is None else shell_lines(paths.frozen_code(submission.code))),
    ]
