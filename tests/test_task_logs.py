"""The end of a task's log as evidence of why it ended."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fly64_hpc.slurm.task_logs import NO_EVIDENCE, TAIL_BYTES, LogEvidence, read_log, task_log

KILLED = """\
epoch 3/100 loss 0.5
srun: error: g3: task 0: Killed
srun: Terminating StepId=14.0
"""


def evidence(folder: Path, text: str) -> LogEvidence:
    path = folder / "14_0_0_log.err"
    path.write_text(text)
    return read_log(path)


def test_no_log_is_no_evidence(tmp_path: Path) -> None:
    assert read_log(tmp_path / "absent") == read_log(tmp_path) == NO_EVIDENCE
    assert evidence(tmp_path, "") == NO_EVIDENCE


@pytest.mark.parametrize(
    "line",
    ["slurmstepd: error: Detected 1 oom-kill event(s) in StepId=14.0. Some of your processes may have been killed by the cgroup",
     "slurmstepd: error: Detected 1 oom_kill event in StepId=14.batch. Some of the step tasks have been OOM Killed.",
     "slurmstepd: error: Step 14.0 exceeded memory limit (189252 > 102400), being killed",
     "slurmstepd: error: Exceeded job memory limit", "srun: error: g3: task 0: Out Of Memory"],
)  # fmt: skip
def test_the_line_that_says_that_memory_ran_out_is_kept(tmp_path: Path, line: str) -> None:
    assert evidence(tmp_path, f"epoch 1\n  {line}\n{KILLED}").memory == line


@pytest.mark.parametrize(
    "line",
    ["torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", "RuntimeError: HIP out of memory.", "epoch 4"],
)
def test_a_full_gpu_is_no_full_node(tmp_path: Path, line: str) -> None:
    assert evidence(tmp_path, f"{line}\n{KILLED}").memory == ""


def test_a_kill_is_seen_and_the_last_words_are_the_task_s_own(tmp_path: Path) -> None:
    seen = evidence(tmp_path, KILLED)
    assert (seen.was_killed, seen.last_words) == (True, "epoch 3/100 loss 0.5")
    assert not evidence(tmp_path, "a task 1: Kill of mine\n").was_killed


def test_only_the_batch_system_s_noise_is_no_last_words(tmp_path: Path) -> None:
    assert evidence(tmp_path, "srun: Terminating StepId=14.0\n\n").last_words == ""


@given(st.binary(max_size=300))
def test_bytes_of_any_kind_are_no_error(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "noise.err"
    path.write_bytes(noise + b"\nthe end\n")
    assert read_log(path).last_words == "the end"


def test_only_the_end_counts_and_long_words_are_cut(tmp_path: Path) -> None:
    early = "slurmstepd: error: Exceeded job memory limit\n" + "x" * TAIL_BYTES + "\n"
    seen = evidence(tmp_path, early + "y" * 5000)
    assert seen.memory == ""
    assert set(seen.last_words) == {"y"}
    assert len(seen.last_words) < 1000


def test_a_log_is_named_as_submitit_names_it() -> None:
    assert task_log("/s/0001", "14", 3) == Path("/s/0001/14_3_0_log.err")
    assert task_log("/s/0001", "14", None) == Path("/s/0001/14_0_log.err")
