"""Counts: which are possible."""

import math

import pytest

from components.gate.evidence import Tally


@pytest.mark.parametrize(
    "counts",
    [
        {"rows": 1, "correct": 2},
        {"rows": 10, "correct": 9, "lost": 2},
        {"rows": 10, "correct": 3, "gained": 4},
        {"rows": 10, "correct": -1},
    ],
)
def test_impossible_counts_are_an_error(counts: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="is impossible"):
        Tally(**counts)


def test_of_no_examples_neither_the_accuracy_nor_its_change_is_a_number() -> None:
    nothing = Tally(0, 0)
    assert math.isnan(nothing.accuracy)
    assert math.isnan(nothing.change)
