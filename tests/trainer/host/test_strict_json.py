import dataclasses
import json

import pytest

from trainer.host.strict_json import MAX_DEPTH, loads, record_of, require_object


def test_numbers_texts_and_nesting_up_to_the_bounds_are_read() -> None:
    deepest = "[" * MAX_DEPTH + "1" + "]" * MAX_DEPTH
    assert loads(f'{{"a": [1.5, -3, "x", null, true, {2**63 - 1}, {1 - 2**63}]}}') == {
        "a": [1.5, -3, "x", None, True, 2**63 - 1, 1 - 2**63]
    }
    assert loads("5") == 5
    assert json.dumps(loads(deepest)) == deepest


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": {"b": 1, "b": 2}}', "it holds the key 'b' twice in one object, expected once"),
        ("NaN", "it holds NaN, expected finite numbers"),
        ("-1e999", "it holds '-1e999', expected finite numbers"),
        (str(2**63), "it holds the integer '9223372036854775808', expected 64 bits"),
        ("[" * 33 + "]" * 33, "it is nested too deeply, expected at most 32 levels"),
        ('{"a": ' * 33 + "1" + "}" * 33, "it is nested too deeply, expected at most 32 levels"),
        ("[" * 100_000, "it is nested too deeply, expected at most 32 levels"),
    ],
)
def test_what_has_no_single_or_no_bounded_meaning_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        loads(text)


def test_5000_digits_are_refused_in_a_short_line() -> None:
    with pytest.raises(ValueError, match="expected 64 bits") as refused:
        loads("9" * 5_000)
    assert len(str(refused.value)) < 150


def test_a_parameter_is_a_json_object_or_refused() -> None:
    assert require_object("policy", '{"floor": 0.9}') == {"floor": 0.9}
    for text in ("[1]", "{", "null"):
        with pytest.raises(ValueError, match=r"^policy is .*, expected a JSON object: use json"):
            require_object("policy", text)


@dataclasses.dataclass
class Named:
    """A record with fields of some types."""

    name: str
    of: str | None
    rows: int


def test_a_record_is_made_of_an_object_with_its_fields() -> None:
    assert record_of(Named, {"name": "a", "of": None, "rows": 0, "more": 1}) == Named("a", None, 0)
    assert record_of(Named, {"name": "a", "of": "b", "rows": 3}) == Named("a", "b", 3)


@pytest.mark.parametrize(
    "value",
    [
        *({"name": "a", "rows": 3}, {"name": 1, "of": None, "rows": 3}),
        *({"name": "a", "of": None, "rows": rows} for rows in (-1, True, 1.0, "1", None)),
        *([], None, "name"),
    ],
)
def test_no_record_is_made_of_anything_else(value: object) -> None:
    assert record_of(Named, value) is None
