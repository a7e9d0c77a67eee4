"""Requests to the batch system: Slurm's times and amounts, GPUs in a site's words, jobs that need none, more memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fly64_hpc.resources import Resources, RetryLimits, memory_mib, more_memory, time_limit_min

MEM = st.builds("{}{}".format, st.integers(1, 9999), st.sampled_from(["", "K", "M", "G", "T", "MB", "GB"]))
CAP = st.builds("{}{}".format, st.integers(1, 9999), st.sampled_from(["", "M", "G", "T"]))
FACTOR = st.floats(1, 10, exclude_min=True)
NAME = st.one_of(st.none(), st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True))


@given(days=st.integers(0, 30), hours=st.integers(0, 23), minutes=st.integers(0, 59), seconds=st.integers(0, 59))
def test_a_written_time_is_read_back_rounded_up(days: int, hours: int, minutes: int, seconds: int) -> None:
    total_min = days * 1440 + hours * 60 + minutes + (seconds > 0)
    if total_min:
        assert time_limit_min(f"{days}-{hours:02d}:{minutes:02d}:{seconds:02d}") == total_min


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("04:00:00", 240), ("4:00:00", 240), ("10:00", 10), ("90", 90), (90, 90),
     ("1-12", 2160), ("1-12:30", 2190), ("4h", 240), ("90m", 90), ("1.5h", 90), ("2d", 2880), ("0:30", 1)],
)  # fmt: skip
def test_every_form_of_a_time_limit(text: object, minutes: int) -> None:
    assert time_limit_min(text) == minutes


@pytest.mark.parametrize("text", ["", "soon", "-5", "0", "4 hours", "4w", "1:2:3:4", "00:00:00"])
def test_what_is_no_time_limit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no time limit"):
        time_limit_min(text)


def test_an_account_of_digits_is_text() -> None:
    assert Resources.model_validate({"account": 1234, "mem": 4000}).account == "1234"


@pytest.mark.parametrize(
    ("field", "value"),
    [("partition", "a b"), ("mem", "lots"), ("mem", "8X"), ("setup", ["a\nb"]), ("gpus_per_node", -1), ("gpu_type", "a 100"),
     ("gres", "gpu:1 --x"), ("exclude", ["n1", "n 2"]), ("cpu_account", "a;\n"), ("cpu_time", "soon"), ("env", {"A B": "1"}),
     ("gpu_request", "gres"), ("tome", 1)],
)  # fmt: skip
def test_what_would_break_a_script_is_refused(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=field):
        Resources.model_validate({field: value})


@pytest.mark.parametrize(
    ("asked", "request_"),
    [
        ({}, {"gpus_per_node": "1"}),
        ({"gpus_per_node": 4}, {"gpus_per_node": "4"}),
        ({"gpu_type": "a100"}, {"gpus_per_node": "a100:1"}),
        ({"gpu_type": "a100", "gpus_per_node": 2}, {"gpus_per_node": "a100:2"}),
        ({"gres": "gpu:a100:1"}, {"gres": "gpu:a100:1"}),
        ({"gres": "gpu:1,nvme:100", "gpu_type": "a100", "gpus_per_node": 3}, {"gres": "gpu:1,nvme:100"}),
        ({"gpus_per_node": 0}, {}),
        ({"gpus_per_node": 0, "gpu_type": "a100"}, {}),
    ],
)
def test_gpus_are_one_option_of_sbatch_or_none(asked: dict[str, object], request_: dict[str, str]) -> None:
    assert Resources.model_validate(asked).gpu_request == request_


@given(
    gpus=st.integers(0, 64),
    gpu_type=NAME,
    gres=st.sampled_from([None, "gpu:1", "gpu:a100:2"]),
    places=st.fixed_dictionaries(dict.fromkeys(("partition", "account", "qos", "constraint"), NAME)),
    cpu_places=st.fixed_dictionaries({f"cpu_{key}": NAME for key in ("partition", "account", "qos", "constraint")}),
)
def test_a_job_without_gpu_goes_to_its_own_place_or_else_to_that_of_the_others(
    gpus: int, gpu_type: str | None, gres: str | None, places: dict[str, str | None], cpu_places: dict[str, str | None]
) -> None:
    given_ = {"gpus_per_node": gpus, "gpu_type": gpu_type, "gres": gres, "cpu_time": "00:20:00", "mem": "5G", "cpus_per_task": 3}
    resources = Resources.model_validate(given_ | places | cpu_places)
    without = resources.without_gpus()
    assert without.gpu_request == {}
    for key in ("partition", "account", "qos"):
        assert getattr(without, key) == (cpu_places[f"cpu_{key}"] or places[key])
    assert without.constraint == cpu_places["cpu_constraint"]
    assert without.time_limit_min == 20
    untouched = set(Resources.model_fields) - {"partition", "account", "qos", "constraint", "time"}
    untouched -= {"gpus_per_node", "gpu_type", "gres"}
    assert without.model_dump(include=untouched) == resources.model_dump(include=untouched)
    assert without.without_gpus() == without


@pytest.mark.parametrize(
    ("mem", "mib"),
    [("8G", 8192), ("500M", 500), ("4000", 4000), ("2048K", 2), ("1T", 1024**2), ("1P", 1024**3), ("8GB", 8192),
     ("1.5G", 1536), ("8Gn", 8192), ("4000Mc", 4000), ("0", 0)],
)  # fmt: skip
def test_every_form_of_an_amount_of_memory(mem: str, mib: float) -> None:
    assert memory_mib(mem) == mib


@pytest.mark.parametrize("mem", ["", "lots", "G", "-1G", "8X", "8g", "8 G", "8GG", "1e3M", "8Gx"])
def test_what_is_no_amount_of_memory_is_refused(mem: str) -> None:
    with pytest.raises(ValueError, match=f"'{mem}' is no amount of memory"):
        memory_mib(mem)


@given(mem=MEM)
def test_every_amount_that_a_study_may_ask_for_is_read(mem: str) -> None:
    asked = Resources.model_validate({"mem": mem}).mem
    assert asked is not None
    assert memory_mib(asked) > 0


@given(mem=MEM, factor=FACTOR, cap=CAP)
def test_more_memory_is_always_more_and_never_above_the_cap(mem: str, factor: float, cap: str) -> None:
    asked = more_memory(mem, factor, cap)
    if asked is None:
        assert memory_mib(mem) >= memory_mib(cap)
    else:
        assert memory_mib(mem) < memory_mib(asked) <= memory_mib(cap)
        assert memory_mib(asked) < memory_mib(mem) * factor + 1
        assert Resources.model_validate({"mem": asked}).mem == asked


@given(mem=MEM, factor=st.floats(1.01, 10), cap=CAP)
def test_asking_for_more_again_and_again_comes_to_the_cap_and_ends(mem: str, factor: float, cap: str) -> None:
    last = mem
    for _ in range(4000):
        asked = more_memory(last, factor, cap)
        if asked is None:
            break
        last = asked
    assert memory_mib(last) == max(memory_mib(mem), memory_mib(cap))


@pytest.mark.parametrize(
    ("mem", "cap", "asked"), [("8G", "64G", "12288M"), ("48G", "64G", "65536M"), ("64G", "64G", None), ("9G", "8G", None)]
)
def test_more_memory_of_an_ordinary_job(mem: str, cap: str, asked: str | None) -> None:
    assert more_memory(mem, 1.5, cap) == asked


def test_the_limits_of_trying_again_have_defaults_and_can_be_turned_off() -> None:
    assert Resources().retry == RetryLimits(budget=3, mem_factor=1.5, mem_cap="64G")
    off = Resources.model_validate({"retry": {"budget": 0, "mem_cap": None}}).retry
    assert (off.budget, off.mem_cap) == (0, None)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("budget", -1, "greater than or equal to 0"),
        ("mem_factor", 1, "greater than 1"),
        ("mem_factor", 11, "less than or equal to 10"),
        ("mem_cap", "lots", "should match pattern"),
        ("mem_cup", "8G", "Extra inputs are not permitted"),
    ],
)
def test_limits_of_trying_again_that_make_no_sense_are_refused(field: str, value: object, words: str) -> None:
    with pytest.raises(ValidationError, match=rf"retry\.{field}\n.*{words}"):
        Resources.model_validate({"retry": {field: value}})
