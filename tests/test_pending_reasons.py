"""Why a job waits: every word of Slurm becomes a sentence that still holds the word."""

from datetime import datetime

import pytest

from fly64_hpc.slurm.pending_reasons import waiting_sentence
from fly64_hpc.slurm.times import duration_s, moment_utc


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("Priority", "jobs of higher priority"),
        ("Resources", "free resources"),
        ("Dependency", "a job that must end before"),
        ("DependencyNeverSatisfied", "submit again"),
        ("BeginTime", "the time from which it may start"),
        ("JobHeldUser", "scontrol release"),
        ("PartitionDown", "partition is down"),
        ("PartitionTimeLimit", "lower resources.time"),
        ("ReqNodeNotAvail, UnavailableNodes:g[1-2]", "down, drained or reserved"),
        ("launch failed requeued held", "submit or retry releases it"),
        ("launch_failed_requeued_held", "submit or retry releases it"),
        ("Nodes required for job are DOWN, DRAINED or reserved", "down, drained or reserved"),
        ("QOSMaxJobsPerUserLimit", "its QOS's limit on running jobs a user is reached"),
        ("AssocGrpGRES", "its account's limit on GPUs of all users together is reached"),
        ("AssocGrpCPUMinutesLimit", "limit on core-minutes of all users together"),
        ("AssociationJobLimit", "its account's limit on running jobs is reached"),
        ("QOSMaxWallDurationPerJobLimit", "will not start: it is over its QOS's limit on time limits a job"),
    ],
)
def test_a_reason_is_a_sentence_with_the_raw_word_in_brackets(reason: str, words: str) -> None:
    sentence = waiting_sentence(reason)
    assert words in sentence
    assert sentence.endswith(f"({reason})")


@pytest.mark.parametrize("word", ["Wibble", "QOSWibbleLimit", "AssocGrpWibble", "a sentence (of Slurm's), not known", "|", "é"])
def test_a_word_that_nobody_knows_is_shown_and_not_explained(word: str) -> None:
    assert f"{word!r}, for which there is no explanation" in waiting_sentence(word)


def test_nothing_said_is_said_so() -> None:
    assert waiting_sentence("") == waiting_sentence("None") == "waits for Slurm to look at it"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1-02:00:00", 93600),
        ("3:12:00", 11520),
        ("30:05", 1805),
        ("UNLIMITED", None),
        ("N/A", None),
        ("INVALID", None),
        ("", None),
    ],
)
def test_a_duration_of_slurm_in_seconds(text: str, seconds: int | None) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["N/A", "", "Unknown", "2026-13-01T00:00:00", "9999-12-31T23:59:59+-"])
def test_what_is_no_moment_is_none(text: str) -> None:
    assert moment_utc(text) is None


def test_a_moment_is_of_this_machine_s_time_zone() -> None:
    found = moment_utc("2026-11-28T20:00:00")
    assert found is not None
    assert datetime.fromisoformat(found) == datetime(2026, 11, 28, 20).astimezone()
