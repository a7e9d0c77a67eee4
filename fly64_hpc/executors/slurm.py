"""Slurm through submitit: one array of a submission's jobs, and the exact script that sbatch gets."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import submitit
from submitit.core import core, utils

from fly64_hpc.errors import RefusedError, SchedulerError
from fly64_hpc.resources import Resources
from fly64_hpc.submissions import Submission
from fly64_hpc.train_task import SUBMISSION_VARIABLE, run_job

_JOB_ID = re.compile(r"(\d+)(?:;\S+)?")
UNCERTAIN_WORDS = ("timed out", "Unable to contact", "Zero Bytes", "Connection re")
"""In sbatch's words: the request may have arrived although the answer did not."""


class ArrayExecutor(submitit.SlurmExecutor):
    """submitit's Slurm executor, always as an array, without its wckey, and with sbatch's parsable answer."""

    @classmethod
    def affinity(cls) -> int:
        """Usable wherever it is asked for: rendering a script needs no Slurm, and submitting checks for it first."""
        return 2

    def script(self, n_jobs: int) -> str:
        """The script that sbatch gets for an array of `n_jobs`."""
        self.parameters["map_count"] = n_jobs
        return self._make_submission_file_text(self._submitit_command_str, "")

    def _make_submission_file_text(self, command: str, uid: str) -> str:
        text: str = super()._make_submission_file_text(command, uid)
        return re.sub(r"#SBATCH --wckey=.*\n", "", text)

    def _make_submission_command(self, submission_file_path: Path) -> list[str]:
        return ["sbatch", "--parsable", str(submission_file_path)]

    @staticmethod
    def _get_job_id_from_submission_command(string: bytes | str) -> str:
        text = string if isinstance(string, str) else string.decode()
        ids = [match[1] for line in text.splitlines() if (match := _JOB_ID.fullmatch(line.strip()))]
        if not ids:
            raise utils.FailedSubmissionError(f"sbatch answered without a job id: {text!r}")
        return ids[-1]

    def _internal_process_submissions(self, delayed_submissions: list[utils.DelayedSubmission]) -> list[core.Job[Any]]:
        folder = utils.JobPaths.get_first_id_independent_folder(self.folder)
        folder.mkdir(parents=True, exist_ok=True)
        pickles = [folder / f"{index:05d}.pkl" for index in range(len(delayed_submissions))]
        for submission, pickle in zip(delayed_submissions, pickles, strict=True):
            submission.set_timeout(self.parameters.get("time", 5), self.max_num_timeout)
            submission.dump(pickle)
        self.parameters["map_count"] = len(delayed_submissions)
        array = self._submit_command(self._submitit_command_str)
        jobs: list[core.Job[Any]] = [
            submitit.SlurmJob(folder=self.folder, job_id=f"{array.job_id}_{index}", tasks=[0]) for index in range(len(pickles))
        ]
        for job, pickle in zip(jobs, pickles, strict=True):
            job.paths.move_temporary_file(pickle, "submitted_pickle")
        return jobs


def slurm_is_here() -> bool:
    """Whether sbatch is on the PATH."""
    return shutil.which("sbatch") is not None


def require_slurm() -> None:
    """Refuse where there is no Slurm.

    Raises
    ------
    SchedulerError
        sbatch is not on the PATH.
    """
    if not slurm_is_here():
        raise SchedulerError(
            "--executor slurm needs sbatch, which is not on the PATH of this machine.",
            hint="Submit from a login node of the cluster, or run here with --executor local.",
        )


def array_executor(scratch: Path, job_name: str, number: int, resources: Resources) -> ArrayExecutor:
    """An executor that asks for `resources` for each job of an array."""
    executor = ArrayExecutor(folder=scratch)
    executor.update_parameters(**_parameters(job_name, number, resources))
    return executor


def _parameters(job_name: str, number: int, resources: Resources) -> dict[str, Any]:
    asked = {
        "job_name": job_name,
        "partition": resources.partition,
        "account": resources.account,
        "qos": resources.qos,
        "constraint": resources.constraint,
        "time": resources.time_limit_min,
        "nodes": 1,
        "ntasks_per_node": 1,
        "cpus_per_task": resources.cpus_per_task,
        "mem": resources.mem,
        "array_parallelism": resources.array_parallelism,
        "signal_delay_s": resources.signal_delay_s,
        "setup": _setup_lines(number, resources),
        # Slurm 22.05 to 23.02 do not hand --cpus-per-task down from sbatch to srun.
        "srun_args": [f"--cpus-per-task={resources.cpus_per_task}"],
    }
    if resources.gpus_per_node:
        gres = resources.gpu_request == "gres"
        asked["gres" if gres else "gpus_per_node"] = f"gpu:{resources.gpus_per_node}" if gres else resources.gpus_per_node
    return {key: value for key, value in asked.items() if value is not None}


def _setup_lines(number: int, resources: Resources) -> list[str]:
    exports = [f"export {name}={shlex.quote(value)}" for name, value in resources.env.items()]
    return ["set -e  # a job whose setup fails must fail", *resources.setup, *exports, f"export {SUBMISSION_VARIABLE}={number}"]


def submit_array(study_dir: Path, submission: Submission, resources: Resources) -> str:
    """Hand a submission to Slurm as one array; its job id is returned.

    Raises
    ------
    RefusedError
        sbatch refused, with its own words; nothing was submitted.
    SchedulerError
        What sbatch said is no answer; the array may or may not be with Slurm, and its name will tell.
    """
    executor = array_executor(Path(submission.scratch), submission.tag, submission.number, resources)
    try:
        jobs = executor.map_array(run_job, [str(study_dir)] * len(submission.jobs), submission.jobs)
    except (utils.FailedJobError, utils.FailedSubmissionError, subprocess.CalledProcessError) as error:
        raise _as_refused_or_open(error, submission.tag) from None
    return str(jobs[0].job_id).split("_")[0]


def _as_refused_or_open(error: Exception, tag: str) -> SchedulerError:
    words = _sbatch_words(str(error))
    if isinstance(error, utils.FailedSubmissionError) or any(word in words for word in UNCERTAIN_WORDS):
        return SchedulerError(
            f"What sbatch said leaves open whether it took the submission: {words}",
            hint=f"Run collect or submit again: they look for its name, {tag}.",
        )
    hint = "Nothing was submitted; change the resources and submit again."
    return RefusedError(f"sbatch refused the submission: {words}", hint=hint)


def _sbatch_words(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if "sbatch:" in line]
    return " ".join(lines) or text.strip()


def render_script(scratch: Path, job_name: str, number: int, jobs: Sequence[str], resources: Resources) -> str:
    """The exact script that a submission of `jobs` would hand to sbatch; writes nothing."""
    return array_executor(scratch, job_name, number, resources).script(len(jobs))
