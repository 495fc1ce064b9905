"""Bounds of fields: what they refuse, and how they say what they take."""

import dataclasses
import math

import pytest

from tests.refusals import refusal_of
from trainer.host.fields import check, expected, setting


@dataclasses.dataclass(frozen=True)
class Oven:
    degrees: float | None = setting(180.0, "degrees Celsius", gt=0, le=300, hint="180 is usual")
    trays: int = setting(1, "trays", ge=1)
    share: float = setting(0.0, "share", ge=0, lt=1)
    trust: float = setting(0.9, "trust", gt=0.5, lt=1)
    level: int = setting(0, "level", ge=0, le=2**31 - 1)
    heat: str = setting("below", "where it is hot", choices=("below", "above"))
    names: tuple[str, ...] = setting((), "names")

    def __post_init__(self) -> None:
        check(self, "oven")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"degrees": 0.0}, "degrees is 0.0, expected a number above 0, up to 300: 180 is usual"),
        ({"degrees": 300.5}, "degrees is 300.5, expected a number above 0, up to 300: 180 is usu"),
        ({"degrees": math.nan}, "degrees is nan, expected a number above 0"),
        ({"trays": 0}, "trays is 0, expected a whole number, 1 or more"),
        ({"trays": "2"}, "trays is '2', expected a whole number, 1 or more"),
        ({"share": 1.0}, "share is 1.0, expected a number from 0 to below 1"),
        ({"share": math.inf}, "share is inf, expected a number from 0 to below 1"),
        ({"trust": 0.5}, "trust is 0.5, expected a number above 0.5 and below 1"),
        ({"level": 2**31}, "level is 2147483648, expected a whole number from 0 to 2147483647"),
        ({"heat": "left"}, "heat is 'left', expected one of below, above"),
    ],
)
def test_a_value_beyond_its_bounds_is_refused_in_one_line(
    change: dict[str, object], line: str
) -> None:
    assert refusal_of(ValueError, Oven, **change).startswith(f"oven.{line}")


def test_the_bounds_themselves_and_the_default_are_taken() -> None:
    assert Oven(degrees=300.0, trays=1, share=0.0, level=2**31 - 1, heat="above")
    assert Oven(degrees=None).degrees is None


def test_a_field_without_bounds_says_its_type() -> None:
    kinds = [expected(kind, {}) for kind in (bool, int, float | None, str, tuple[str, ...])]
    assert kinds == [
        *("true or false", "a whole number", "a number", "a string", "a list of strings"),
    ]
