"""Counts: which are possible."""

import json
import math

import numpy as np
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


def test_counts_of_numpy_become_pythons_own_which_json_takes() -> None:
    tally = Tally(np.int64(4), np.array([1, 0, 1, 1]).sum())
    assert json.dumps([tally.rows, tally.correct, tally.accuracy >= 0.5]) == "[4, 3, true]"


def test_a_count_that_is_no_whole_number_is_an_error() -> None:
    with pytest.raises(TypeError, match="'float' object cannot be interpreted as an integer"):
        Tally(10, 9.5)  # type: ignore[arg-type]


def test_of_no_examples_neither_the_accuracy_nor_its_change_is_a_number() -> None:
    nothing = Tally(0, 0)
    assert math.isnan(nothing.accuracy)
    assert math.isnan(nothing.change)
    assert math.isnan(nothing.served_accuracy)
