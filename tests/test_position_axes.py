"""The eight turns of positions are the symmetries of the square."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptycho_torch.position_axes import ALL_TURNS, AS_THEY_ARE, AxisTurn

turns = st.sampled_from(ALL_TURNS)
YX = np.array([[1.0, 2.0], [-3.0, 5.0]])


def test_there_are_eight_and_no_two_are_alike() -> None:
    assert len({turn.apply(YX).tobytes() for turn in ALL_TURNS}) == len({str(turn) for turn in ALL_TURNS}) == 8


@given(turns)
def test_a_turn_and_its_inverse_are_nothing(turn: AxisTurn) -> None:
    assert turn.after(turn.inverse) == turn.inverse.after(turn) == AS_THEY_ARE
    np.testing.assert_array_equal(turn.inverse.apply(turn.apply(YX)), YX)


@given(turns, turns)
def test_one_after_the_other_is_what_positions_do(second: AxisTurn, first: AxisTurn) -> None:
    np.testing.assert_array_equal(second.after(first).apply(YX), second.apply(first.apply(YX)))


@given(turns, turns, turns)
def test_the_order_of_work_does_not_matter(a: AxisTurn, b: AxisTurn, c: AxisTurn) -> None:
    assert a.after(b).after(c) == a.after(b.after(c))


@pytest.mark.parametrize(
    ("turn", "expected", "words"),
    [
        (AS_THEY_ARE, [1, 2], "as they are"),
        (AxisTurn(is_swapped=True), [2, 1], "rows and columns swapped"),
        (AxisTurn(flips_y=True), [-1, 2], "y turned"),
        (AxisTurn(is_swapped=True, flips_y=True), [-2, 1], "rows and columns swapped, y turned"),
        (AxisTurn(flips_y=True, flips_x=True), [-1, -2], "both axes turned"),
    ],
)
def test_it_swaps_first_and_turns_second(turn: AxisTurn, expected: list[float], words: str) -> None:
    np.testing.assert_array_equal(turn.apply(YX)[0], expected)
    assert str(turn) == words


@given(turns)
def test_flips_are_named_by_the_axes_whose_sign_is_turned(turn: AxisTurn) -> None:
    assert (turn.flips_y, turn.flips_x) == ("y" in turn.flips, "x" in turn.flips)
    assert (turn.flips == "none") == (not turn.flips_y and not turn.flips_x)
