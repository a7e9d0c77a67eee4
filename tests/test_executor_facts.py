"""What the executors say, joined to jobs, and what a look at the study makes of it: nobody is taken for dead without proof."""

import datetime
from dataclasses import replace
from pathlib import Path

import pytest
from scripted_slurm import ScriptedSlurm
from test_handing_over import LONG_AGO, submitted
from tiny_study import AWAY, TinyStudy, tiny_study

from fly64_hpc import collector
from fly64_hpc.collector import JobView, look
from fly64_hpc.job_record import JobError
from fly64_hpc.job_state import JobState
from fly64_hpc.outcome import Cause
from fly64_hpc.process_identity import this_process
from fly64_hpc.slurm.facts import LAG_S
from fly64_hpc.slurm.task_logs import NO_EVIDENCE, LogEvidence
from fly64_hpc.submissions import DatasetJobRecord, SupervisorRecord
from ptycho_torch.config import sha256_file

SILENT = {"squeue": None, "sacct": None}
ERROR = JobError(type="ValueError", message="no such luck")


@pytest.fixture
def study(tmp_path: Path) -> TinyStudy:
    """A study of which nothing was submitted."""
    return tiny_study(tmp_path / "study")


def first(study: TinyStudy, squeue: str | None = "", sacct: str | None = "") -> JobView:
    """The first job, as a look sees it."""
    return look(study.paths, ScriptedSlurm(answers={"squeue": squeue, "sacct": sacct})).jobs[0]


def succeed(study: TinyStudy, job: int) -> None:
    study.job(job).bundle.write_bytes(b"weights")
    study.attempt(1, "succeeded", job, result={"bundle_sha256": sha256_file(study.job(job).bundle)})


def supervise(study: TinyStudy, **fields: object) -> None:
    """A local submission of the first job, with what its supervisor says."""
    study.submission(study.ids[0], number=1, executor="local", submitter=AWAY).write(study.paths.submission(1))
    SupervisorRecord.model_validate({"process": AWAY, "started": {}, "ended": {}} | fields).write(study.paths.supervisor(1))


def test_a_study_that_was_not_submitted_asks_nobody(study: TinyStudy) -> None:
    slurm = ScriptedSlurm()
    view = look(study.paths, slurm)
    assert not slurm.counts
    assert {job.outcome.state for job in view.jobs} == {JobState.PENDING}
    assert not view.is_live()


def test_each_job_is_asked_for_by_the_name_and_index_of_its_newest_submission(study: TinyStudy) -> None:
    submitted(study, 1)
    tag = submitted(study, 2, *study.ids[:2]).parts[0].tag
    slurm = ScriptedSlurm(answers={"squeue": f"{tag}|2|0|RUNNING|None|g1\n{tag}|2|1|PENDING|Resources|"})
    jobs = look(study.paths, slurm).jobs
    assert [job.outcome.state for job in jobs[:2]] == [JobState.RUNNING, JobState.PENDING]
    assert jobs[0].node == "g1"
    assert slurm.counts == {"squeue": 1, "sacct": 1}


def test_where_both_are_silent_what_has_no_proof_is_unheard_and_waited_for(study: TinyStudy) -> None:
    submitted(study, 1)
    view = look(study.paths, ScriptedSlurm(answers={**SILENT}))
    assert view.unheard == set(study.ids)
    assert all(job.outcome.is_live and job.outcome.state is JobState.UNKNOWN for job in view.jobs)


def test_what_has_proven_its_success_is_not_unheard(study: TinyStudy) -> None:
    submitted(study, 1)
    for job in range(len(study.jobs)):
        succeed(study, job)
    assert look(study.paths, ScriptedSlurm(answers={**SILENT})).unheard == frozenset()


def test_an_older_failure_does_not_prove_that_a_newer_submission_is_over(study: TinyStudy) -> None:
    submitted(study, 1, study.ids[0])
    study.attempt(1, "failed", submission=1, error=ERROR)
    submitted(study, 2, study.ids[0])
    outcome = first(study, None, None).outcome
    assert (outcome.state, outcome.is_live, outcome.may_be_submitted) == (JobState.UNKNOWN, True, False)


def test_a_refused_submission_does_not_make_an_older_failure_history(study: TinyStudy) -> None:
    submitted(study, 1, study.ids[0])
    study.attempt(1, "failed", submission=1, error=ERROR)
    study.submission(study.ids[0], number=2, state="refused", submitter=AWAY).write(study.paths.submission(2))
    job = first(study, None, None)
    assert job.submission is not None
    assert (job.submission.number, job.outcome.cause) == (1, Cause.RAISED)


def test_a_failure_of_the_newest_submission_is_proof_although_nobody_answers(study: TinyStudy) -> None:
    submitted(study, 1, study.ids[0])
    study.attempt(1, "failed", submission=1, error=ERROR)
    assert first(study, None, None).outcome.may_be_submitted


def test_a_log_is_asked_only_where_no_record_of_this_submission_tells_the_end(
    study: TinyStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def log_evidence(_: object, job_id: str) -> LogEvidence:
        asked.append(job_id)
        return NO_EVIDENCE

    monkeypatch.setattr(collector, "log_evidence", log_evidence)
    tag = submitted(study, 2, *study.ids[:5]).parts[0].tag
    for job, state, submission in ((0, "failed", 2), (1, "running", 2), (2, "failed", 1), (3, "interrupted", 2)):
        study.attempt(1, state, job, submission=submission, error=ERROR)
    lines = [f"2_{index}|{tag}|FAILED|1:0|g2|8G|" for index in range(5)]
    look(study.paths, ScriptedSlurm(answers={"squeue": "", "sacct": "\n".join(lines)}))
    assert asked == [study.ids[1], study.ids[2], study.ids[4]]


def test_an_older_failure_does_not_hide_how_a_newer_submission_ended(study: TinyStudy) -> None:
    submitted(study, 1, study.ids[0])
    study.attempt(1, "failed", submission=1, error=ERROR)
    tag = submitted(study, 2, study.ids[0]).parts[0].tag
    outcome = first(study, "", f"2_0|{tag}|NODE_FAIL|1:0|g2|8G|").outcome
    assert (outcome.state, outcome.cause) == (JobState.NODE_FAILED, Cause.NODE_FAILED)


def test_a_state_of_slurm_s_that_we_do_not_know_is_waited_for(study: TinyStudy) -> None:
    tag = submitted(study, 1, study.ids[0]).parts[0].tag
    outcome = first(study, f"{tag}|1|0|DANCING|None|g1", f"1_0|{tag}|FAILED|1:0|g1|8G|").outcome
    assert (outcome.state, outcome.is_live, outcome.may_be_submitted) == (JobState.PENDING, True, False)
    assert "squeue: DANCING" in outcome.reason


@pytest.mark.parametrize("word", ["PREEMPTED", "NODE_FAIL"])
def test_what_slurm_may_have_taken_back_is_unheard_while_squeue_is_silent(study: TinyStudy, word: str) -> None:
    tag = submitted(study, 1, study.ids[0]).parts[0].tag
    sacct = f"1_0|{tag}|{word}|1:0|g1|8G|"
    view = look(study.paths, ScriptedSlurm(answers={"squeue": None, "sacct": sacct}))
    assert view.unheard == {study.ids[0]}
    assert not view.jobs[0].outcome.may_be_submitted
    assert first(study, "", sacct).outcome.may_be_submitted


def test_who_holds_the_lock_is_submitting_and_who_is_gone_has_left_it(study: TinyStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    study.submission(study.ids[0], number=1, submitter=AWAY).write(study.paths.submission(1))
    with monkeypatch.context() as somebody_else:
        somebody_else.setattr("fly64_hpc.executor_facts.somebody_submits", lambda _: True)
        assert first(study).outcome.is_live
    left = first(study).outcome
    assert (left.state, left.is_live) == (JobState.PENDING, False)
    assert "ended before it handed this job over" in left.reason


def test_what_neither_knows_yet_was_submitted_a_moment_ago(study: TinyStudy) -> None:
    made = submitted(study, 1, study.ids[0])
    for age_s, is_new in ((0, True), (LAG_S / 2, True), (2 * LAG_S, False)):
        since = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=age_s)
        young = made.model_copy(update={"created_utc": f"{since:%Y-%m-%dT%H:%M:%S}.000Z"})
        young.write(study.paths.submission(1))
        outcome = first(study).outcome
        assert (outcome.is_live, outcome.cause is Cause.LOST) == (is_new, not is_new)


def test_what_neither_knows_is_lost_but_not_while_either_is_silent(study: TinyStudy) -> None:
    submitted(study, 1, study.ids[0])
    assert first(study).outcome.cause is Cause.LOST
    assert first(study, "", None).outcome.cause is Cause.SILENCE
    assert first(study, None, "").outcome.is_live


def dataset_job(study: TinyStudy, state: str, squeue: str = "") -> JobView:
    """The first job beside a dataset job that says so of itself."""
    made = submitted(study, 1, study.ids[0])
    data = made.parts[1].model_copy(update={"kind": "data", "tag": "data"})
    parts = (made.parts[0].model_copy(update={"after_ok": (1,)}), data)
    made.model_copy(update={"parts": parts}).write(study.paths.submission(1))
    DatasetJobRecord.model_validate({"state": state, "process": AWAY, "error": "no room"}).write(study.paths.dataset_job(1))
    return first(study, squeue.replace("TAG", made.parts[0].tag))


@pytest.mark.parametrize("squeue", ["TAG|1|0|CANCELLED|Dependency|", "TAG|1|0|PENDING|DependencyNeverSatisfied|", ""])
def test_a_job_whose_dataset_job_failed_is_cancelled_with_the_cause(study: TinyStudy, squeue: str) -> None:
    outcome = dataset_job(study, "failed", squeue).outcome
    assert outcome.state is JobState.CANCELLED
    assert "cancelled, because the dataset job failed: no room" in outcome.reason


@pytest.mark.parametrize("state", ["running", "succeeded"])
def test_a_job_that_waits_for_its_dataset_job_is_pending(study: TinyStudy, state: str) -> None:
    outcome = dataset_job(study, state, "TAG|1|0|PENDING|Dependency|\ndata|2|N/A|RUNNING|None|g1").outcome
    assert (outcome.state, outcome.is_live) == (JobState.PENDING, True)


def test_a_supervisor_here_that_lives_will_start_what_waits(study: TinyStudy) -> None:
    supervise(study, process=this_process())
    assert first(study).outcome.is_live


@pytest.mark.parametrize("has_begun", [False, True])
def test_a_supervisor_on_another_machine_is_not_taken_for_dead(study: TinyStudy, has_begun: bool) -> None:
    supervise(study, started={study.ids[0]: LONG_AGO} if has_begun else {})
    if has_begun:
        study.attempt(1, "running")
    outcome = first(study).outcome
    assert outcome.state is (JobState.RUNNING if has_begun else JobState.PENDING)
    assert (outcome.is_live, outcome.may_be_submitted) == (True, False)
    assert outcome.reason.endswith(f"on {AWAY.host} as far as this machine can know")


def test_nor_is_a_submitter_on_another_machine(study: TinyStudy) -> None:
    study.submission(study.ids[0], number=1, executor="local", submitter=AWAY).write(study.paths.submission(1))
    outcome = first(study).outcome
    assert (outcome.state, outcome.is_live) == (JobState.PENDING, True)
    assert outcome.reason.endswith(f"on {AWAY.host} as far as this machine can know")


@pytest.mark.parametrize("has_begun", [False, True])
def test_who_is_known_to_be_gone_hinders_nobody(study: TinyStudy, has_begun: bool) -> None:
    gone = replace(this_process(), start_ticks=this_process().start_ticks + 1)
    supervise(study, process=gone, started={study.ids[0]: LONG_AGO} if has_begun else {})
    assert first(study).outcome.may_be_submitted
