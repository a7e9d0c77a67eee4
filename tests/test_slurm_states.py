"""What squeue and sacct print, read, and how seldom they are asked; the rows are those of a real Slurm 22.05."""

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_slurm import ScriptedSlurm

from fly64_hpc.slurm.states import Seen, TaskKey, ask, find_by_name, parse_sacct, parse_squeue

SINCE = "2026-03-01T00:30:00.000Z"
PREEMPTED = """\
2_0|lowtag|PREEMPTED|0:0|g1|100M|
2_0.batch|batch|CANCELLED|0:15|g1||11820K
2_0.0|python3|CANCELLED|0:9|g1||13512K
2_0|lowtag|PENDING|0:0|None assigned|100M|
"""
KILLED = """\
14_0|memtag|FAILED|9:0|g3|100M|
14_0.batch|batch|FAILED|9:0|g3||12452K
14_0.0|python3|CANCELLED by 0|0:9|g3||189252K
"""
TASKS = st.sets(st.integers(0, 300), min_size=1)


def span_text(tasks: set[int]) -> str:
    """Tasks as Slurm writes them: `0-2,5`."""
    parts: list[list[int]] = []
    for task in sorted(tasks):
        if parts and parts[-1][-1] == task - 1:
            parts[-1].append(task)
        else:
            parts.append([task])
    return ",".join(f"{part[0]}-{part[-1]}" if len(part) > 1 else f"{part[0]}" for part in parts)


def seen(squeue: str = "", sacct: str = "") -> dict[TaskKey, Seen]:
    return ask(["t"], SINCE, ScriptedSlurm(answers={"squeue": squeue, "sacct": sacct})).tasks


@pytest.mark.parametrize(
    ("line", "key", "facts"),
    [("lowtag|2|0|PENDING|BeginTime|", ("lowtag", 0), ("2", "PENDING", "BeginTime", "")),
     ("lowtag|2|0|RUNNING|None|g1", ("lowtag", 0), ("2", "RUNNING", "", "g1")),
     ("memtag|14|0|FAILED|NonZeroExitCode|g3", ("memtag", 0), ("14", "FAILED", "NonZeroExitCode", "g3")),
     ("x|7|N/A|PENDING|Dependency|", ("x", None), ("7", "PENDING", "Dependency", ""))],
)  # fmt: skip
def test_a_line_of_squeue_is_a_task_by_its_name(line: str, key: TaskKey, facts: tuple[str, ...]) -> None:
    [(found, row)] = parse_squeue(line)
    assert found == key
    assert (row.job_id, row.word, row.reason, row.node) == facts


def test_a_preempted_task_that_waits_again_has_two_starts_with_the_steps_at_the_first() -> None:
    [(key, first), (again, second)] = parse_sacct(PREEMPTED)
    assert key == again == ("lowtag", 0)
    assert (first.job_id, first.word, first.node, first.exit_code) == ("2", "PREEMPTED", "g1", "0:0")
    assert first.step_exit_codes == ["0:15", "0:9"]
    assert first.used_memory == ["11820K", "13512K"]
    assert (second.word, second.node, second.step_words) == ("PENDING", "", [])


def test_by_whom_is_apart_from_the_word_and_steps_keep_theirs() -> None:
    [(_, start)] = parse_sacct("9_4|t|CANCELLED by 1000|0:0|n1|1G|")
    assert (start.word, start.detail, start.asked_memory) == ("CANCELLED", "by 1000", "1G")
    [(_, killed)] = parse_sacct(KILLED)
    assert killed.step_words == ["FAILED", "CANCELLED by 0"]


def test_a_job_that_is_no_array_has_no_index() -> None:
    assert [key for key, _ in parse_sacct("7|x|COMPLETED|0:0|g1|1G|\n7.batch|batch|COMPLETED|0:0|g1||3K")] == [("x", None)]


@given(TASKS, st.sampled_from(["", "%1", "%256"]))
def test_ranges_are_whole_in_both(tasks: set[int], throttle: str) -> None:
    text = f"[{span_text(tasks)}{throttle}]"
    expected = {("t", task) for task in tasks}
    assert {key for key, _ in parse_squeue(f"t|7|{text}|PENDING|Priority|")} == expected
    assert {key for key, _ in parse_sacct(f"7_{text}|t|PENDING|0:0|None assigned|1G|")} == expected


@given(st.integers(0, 50), st.integers(0, 50), st.integers(1, 9))
def test_a_range_with_a_step_skips(first: int, more: int, step: int) -> None:
    rows = parse_squeue(f"t|7|{first}-{first + more}:{step}|PENDING|Priority|")
    assert [index for (_, index), _ in rows] == list(range(first, first + more + 1, step))


@given(st.lists(st.text(alphabet="|.:;_-+[]%,0193NAxé²\t ", max_size=9), max_size=12).map("|".join))
def test_noise_is_no_error(noise: str) -> None:
    assert all(index is None or index >= 0 for (_, index), _ in [*parse_squeue(noise), *parse_sacct(noise)])


@given(st.text(alphabet=st.characters(exclude_characters="|")))
def test_what_a_site_prints_between_the_rows_is_no_fact(banner: str) -> None:
    assert seen(banner, banner) == {}
    assert list(seen(f"{banner}\nt|7|N/A|PENDING|Dependency|\n{banner}")) == [("t", None)]


def test_steps_of_a_row_that_is_not_understood_are_nobody_elses() -> None:
    text = "14_0|t|FAILED|1:0|g3|100M|\n15+0|other|OUT_OF_MEMORY|0:125|g3|100M|\n15+0.0|python3|OUT_OF_MEMORY|0:125|g3||90M"
    assert seen(sacct=text)["t", 0].incarnations[0].step_words == []


@pytest.mark.parametrize("lines", ["t|101|0|RUNNING|None|g1\nt|100|0|COMPLETED|None|g1",
                                   "t|100|0|COMPLETED|None|g1\nt|101|0|RUNNING|None|g1"])  # fmt: skip
def test_of_two_jobs_of_one_name_the_one_that_is_at_work_counts(lines: str) -> None:
    """As are an array whose answer was lost and the one that was submitted after it."""
    row = seen(lines)["t", 0].queue
    assert row is not None
    assert (row.job_id, row.word) == ("101", "RUNNING")


def test_no_names_no_calls() -> None:
    slurm = ScriptedSlurm()
    report = ask([], SINCE, slurm)
    assert not slurm.counts
    assert (report.tasks, report.squeue_answered, report.problems) == ({}, True, ())


@given(st.lists(st.from_regex(r"[a-z]{1,8}-\d{4}-\d", fullmatch=True), min_size=1, max_size=50, unique=True))
def test_one_squeue_and_one_sacct_whatever_the_number_of_names(tags: list[str]) -> None:
    slurm = ScriptedSlurm()
    ask(tags, SINCE, slurm)
    assert slurm.counts == {"squeue": 1, "sacct": 1}
    assert all(",".join(tags) in command for command in slurm.asked)


@given(st.datetimes(datetime.datetime(2000, 1, 2), datetime.datetime(2100, 1, 1)))
def test_sacct_is_asked_from_the_day_before(moment: datetime.datetime) -> None:
    slurm = ScriptedSlurm()
    ask(["t"], f"{moment.isoformat(timespec='milliseconds')}Z", slurm)
    sacct = slurm.asked[1]
    assert sacct[sacct.index("--starttime") + 1] == str(moment.date() - datetime.timedelta(days=1))


@pytest.mark.parametrize(("silent", "other"), [("squeue", "sacct"), ("sacct", "squeue")])
def test_where_one_is_silent_the_other_still_counts(silent: str, other: str) -> None:
    answers: dict[str, str | None] = {"squeue": "t|7|0|RUNNING|None|g1", "sacct": "7_0|t|RUNNING|0:0|g1|1G|", silent: None}
    report = ask(["t"], SINCE, ScriptedSlurm(answers={**answers}))
    assert list(report.tasks) == [("t", 0)]
    assert {"squeue": report.squeue_answered, "sacct": report.sacct_answered} == {silent: False, other: True}
    assert report.problems[0].startswith(f"{silent} failed: {silent}: error: Unable to contact")


def test_a_name_is_found_by_either_and_not_to_find_it_is_certain_only_by_squeue() -> None:
    def found(squeue: str | None, sacct: str | None) -> tuple[str | None, bool]:
        answer = find_by_name("t", SINCE, ScriptedSlurm(answers={"squeue": squeue, "sacct": sacct}))
        return answer.job_id, answer.is_certain

    assert found("t|7|0|RUNNING|None|g1", None) == ("7", True)
    assert found(None, "7_0|t|FAILED|1:0|g1|1G|") == ("7", False)
    assert found("", None) == (None, True)
    assert found(None, "") == (None, False)


def test_a_task_that_nobody_names_is_seen_as_nothing() -> None:
    assert ask(["t"], SINCE, ScriptedSlurm()).seen("t", 3) == Seen()


def test_sacct_is_asked_by_ids_where_all_are_known_because_by_name_it_hides_what_never_started() -> None:
    slurm = ScriptedSlurm()
    ask(["a", "b"], "2026-11-25T00:00:00.000Z", slurm, ["12", "13"])
    ask(["a", "b"], "2026-11-25T00:00:00.000Z", slurm)
    by_id, by_name = (call for call in slurm.asked if call[0] == "sacct")
    assert by_id[2:4] == ("--jobs", "12,13")
    assert by_name[2:4] == ("--name", "a,b")


def test_another_s_job_of_the_same_id_has_another_name() -> None:
    slurm = ScriptedSlurm(answers={"sacct": "12_0|foreign|RUNNING|0:0|g1|8G|\n"})
    assert ask(["a"], "2026-11-25T00:00:00.000Z", slurm, ["12"]).seen("a", 0) == Seen()
