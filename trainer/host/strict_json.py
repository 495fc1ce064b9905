"""Reads JSON of others without surprises."""

from __future__ import annotations

import functools
import json
import math
import typing
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from trainer.host.text import quoted

INT64_MAX = 2**63 - 1
_MOST_DIGITS = len(str(-INT64_MAX))
_HOLDERS = (dict, list)
MAX_DEPTH = 32  # a release record has 5; Python's own writer and reader end at some hundreds

_Record = TypeVar("_Record")
_types_of = functools.cache(typing.get_type_hints)


def loads(text: str) -> Any:
    """Returns the value of a JSON text with finite numbers, 64-bit integers, at most 32 levels and
    no key twice in an object.

    Raises json.JSONDecodeError if the text is not JSON, and for other values a ValueError whose
    message begins with "it".
    """
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_no_number,
            parse_float=_finite,
            parse_int=_of_64_bits,
        )
    except RecursionError:
        raise _too_deep() from None
    _require_shallow(value, MAX_DEPTH)
    return value


def require_object(what: str, text: str) -> dict[str, Any]:
    """Returns the object that a component's parameter holds as JSON; raises ValueError."""
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ValueError(f"{what} is {quoted(text)}, expected a JSON object: use json.dumps")
    return value


def is_count(value: object) -> bool:
    """Tells whether a value is an integer of zero or more, and not a bool."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def record_of(kind: Callable[..., _Record], value: object) -> _Record | None:
    """Returns the dataclass whose fields an object holds, each of its type; None if it does not.

    A whole number must be one of zero or more. Further keys are left out.
    """
    types = _types_of(kind)
    if not (isinstance(value, dict) and types.keys() <= value.keys()):
        return None
    given = {name: value[name] for name in types}
    fits = (is_count(given[n]) if t is int else isinstance(given[n], t) for n, t in types.items())
    return kind(**given) if all(fits) else None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in values:
            raise ValueError(f"it holds the key {quoted(name)} twice in one object, expected once")
        values[name] = value
    return values


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"it holds {text}, expected finite numbers")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        _no_number(quoted(text))
    return number


def _of_64_bits(text: str) -> int:
    # Looked at first: Python refuses to convert very many digits.
    if len(text) <= _MOST_DIGITS and -INT64_MAX <= (number := int(text)) <= INT64_MAX:
        return number
    raise ValueError(f"it holds the integer {quoted(text)}, expected 64 bits")


def _require_shallow(value: object, depth: int) -> None:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if not depth:
        raise _too_deep()
    for each in inner:
        if isinstance(each, _HOLDERS):
            _require_shallow(each, depth - 1)


def _too_deep() -> ValueError:
    return ValueError(f"it is nested too deeply, expected at most {MAX_DEPTH} levels")
