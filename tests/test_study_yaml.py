"""YAML as a person means it, and each refusal with its line."""

import string

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fly64_hpc.errors import StudyError
from fly64_hpc.plain_values import plain_value
from fly64_hpc.study_yaml import parse_yaml

keys = st.text(string.ascii_lowercase, min_size=1, max_size=8)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
)
documents = st.dictionaries(
    keys, st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(keys, inner), max_leaves=12)
)


@given(documents)
def test_what_yaml_writes_is_read_back(document: dict[str, object]) -> None:
    assert parse_yaml(yaml.safe_dump(document), "x.yaml").data == document


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e3", 1e3), ("1e-3", 1e-3), ("2.5E+1", 25.0), ("4:00:00", "4:00:00"), ("10:00", "10:00"), ("on", "on"), ("no", "no"),
     ("1_000", 1000), ("007", "007"), ("0", 0),
     ("1_", "1_"), ("1__0", "1__0"), ("9" * 5000, "9" * 5000), ("5.", 5.0),
     ("1-12:00:00", "1-12:00:00"), ("true", True), ("~", None), ("", None), (".5", 0.5)],
)  # fmt: skip
def test_scalars_mean_what_a_person_thinks(text: str, value: object) -> None:
    assert plain_value(text) == value
    assert type(plain_value(text)) is type(value)


def test_quoted_numbers_stay_text() -> None:
    assert parse_yaml('a: "1e3"', "x.yaml").data == {"a": "1e3"}


def test_the_line_of_a_key_is_known_and_of_a_missing_one_its_section() -> None:
    document = parse_yaml("a: 1\nb:\n  c: 2\n", "x.yaml")
    assert document.where(("b", "c")) == "x.yaml:3"
    assert document.where(("b", "missing")) == "x.yaml:2"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a:\n\tb: 1\n", r"x\.yaml:2: a tab is used for indentation.* replace the tab"),
        ("a: &loop\n  b: *loop\n", r"x\.yaml:1: an alias points back into its own section"),
        ("a: 1\na: 2\n", r"x\.yaml:2: the key 'a' stands twice"),
        ("a: [1, 2\n", r"x\.yaml:2: this is not YAML"),
        ("? [a, b]\n: 1\n", r"x\.yaml:1: a key must be a word"),
    ],
)
def test_refusals_name_file_and_line(text: str, words: str) -> None:
    with pytest.raises(StudyError, match=words):
        parse_yaml(text, "x.yaml")


@pytest.mark.parametrize("text", ["[" * 3000, "a: \x00"])
def test_what_would_break_the_parser_is_one_line(text: str) -> None:
    with pytest.raises(StudyError, match=r"x\.yaml:1: ") as refusal:
        parse_yaml(text, "x.yaml")
    assert "\n" not in str(refusal.value)


def test_an_alias_bomb_is_refused() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(StudyError, match="has more than 20000 values"):
        parse_yaml("\n".join(lines), "x.yaml")
