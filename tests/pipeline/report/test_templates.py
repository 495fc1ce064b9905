import math

import pytest

from pipeline.report import templates


@pytest.mark.parametrize(
    ("given", "shown"),
    [(None, "–"), ("a", "a"), (12_345, "12,345"), (0.00095194, "0.0009519"), (math.nan, "nan")],
)
def test_a_value_is_short_whatever_it_is(given: float | str | None, shown: str) -> None:
    assert templates.value(given) == shown


@pytest.mark.parametrize(
    ("probability", "shown"),
    [
        (0.0, "0 %"),
        (1e-9, "< 1 %"),
        (0.056, "6 %"),
        (0.8, "80 %"),
        (0.9999, "> 99 %"),
        (1, "100 %"),
    ],
)
def test_a_chance_is_certain_only_where_it_is(probability: float, shown: str) -> None:
    assert templates.chance(probability) == shown


def test_fractions_are_shown_as_percent_and_points() -> None:
    assert templates.percent(0.9917) == "99.17 %"
    assert templates.points(0.0062) == "0.62"
    assert templates.points(-0.004, "+") == "-0.40"
    assert (
        templates.percent(math.nan)
        == templates.points(None)
        == templates.points(math.nan, "+")
        == "–"
    )
