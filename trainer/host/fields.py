"""Fields of settings with default, description and bounds in one place.

Synopsis::

    degrees: float = setting(180.0, "temperature, Celsius", gt=0, le=300)  # in a dataclass Oven
    check(self, "oven")  # in its __post_init__
    Oven(degrees=0.0)  # ValueError: oven.degrees is 0.0, expected a number above 0, up to 300
"""

from __future__ import annotations

import dataclasses
import math
import operator
import re
import types
import typing
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from trainer.host.text import quoted

T = TypeVar("T")

_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "a string"}


def setting(
    default: T,
    description: str,
    *,
    choices: Collection[str] = (),
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    pattern: str = "",
    hint: str = "",
    is_path: bool = False,
    is_command: bool = False,
) -> T:
    """Makes a field of a dataclass.

    Args:
      default: need not keep the bounds.
      description: for the help, without a full stop.
      choices: the allowed texts; not read before a value is checked.
      ge, gt, le, lt: bounds; a number with bounds must also be finite.
      pattern: a regular expression; texts that match all of it are allowed beside the choices.
      hint: what an error adds to the bounds, or to the choices for the pattern.
      is_path: whether it is a path on this machine.
      is_command: whether it is a command, as words or as one text with a shell's quotes.
    """
    bounds = (("ge", ge), ("gt", gt), ("le", le), ("lt", lt))
    metadata = {
        "description": description,
        "choices": choices,
        "bounds": {name: bound for name, bound in bounds if bound is not None},
        "pattern": pattern,
        "hint": hint,
        "is_path": is_path,
        "is_command": is_command,
    }
    field: T = dataclasses.field(default=default, metadata=metadata)
    return field


def fraction(default: T, description: str, *, hint: str = "") -> T:
    """Makes a field of a number from 0 to 1, see `setting`."""
    return setting(default, description, ge=0, le=1, hint=hint)


def check(values: Any, section: str, of: type | None = None) -> None:
    """Raises a ValueError of one line for the first value that its field does not allow.

    The section is the users' name of the dataclass, such as "gate", or "" for the outermost one;
    `of` is the class whose fields state what is allowed, by default that of the values.
    """
    for field in dataclasses.fields(of or type(values)):
        value = getattr(values, field.name)
        if value != field.default and not _is_allowed(value, field.metadata):
            key = f"{section}.{field.name}" if section else field.name
            kind = typing.get_type_hints(of or type(values))[field.name]
            raise ValueError(f"{key} is {quoted(value)}, expected {expected(kind, field.metadata)}")


def _is_allowed(value: Any, metadata: Mapping[str, Any]) -> bool:
    if value is not None and (bounds := metadata.get("bounds")):
        is_finite = isinstance(value, int | float) and math.isfinite(value)
        return is_finite and all(
            getattr(operator, name)(value, bound) for name, bound in bounds.items()
        )
    choices, pattern = metadata.get("choices"), metadata.get("pattern")
    return not choices or value in choices or bool(pattern and re.fullmatch(pattern, value))


def inner_kind(kind: Any) -> Any:
    """Returns the type of a field without None: int for `int | None`."""
    if typing.get_origin(kind) not in (types.UnionType, typing.Union):
        return kind
    (inner,) = (one for one in typing.get_args(kind) if one is not type(None))
    return inner


def expected(kind: Any, metadata: Mapping[str, Any]) -> str:
    """Says which values a field takes: "a whole number, 1 or more", "one of adam, adadelta"."""
    inner = inner_kind(kind)
    if metadata.get("is_command"):
        return "a command, as a list of words or one string with a shell's quotes"
    if choices := metadata.get("choices"):
        other = f", or {metadata['hint']}" if metadata.get("pattern") else ""
        return f"one of {', '.join(choices)}{other}"
    name = _NAMES.get(inner) or ("a list of strings" if inner == tuple[str, ...] else "a string")
    hint = f": {metadata['hint']}" if metadata.get("hint") else ""
    return f"{name}{_range(metadata.get('bounds', {}))}{hint}"


def _range(bounds: Mapping[str, float]) -> str:
    ge, gt, le, lt = map(bounds.get, ("ge", "gt", "le", "lt"))
    low = f" from {ge:g}" if ge is not None else f" above {gt:g}" if gt is not None else ""
    if le is not None:
        return f" from {ge:.10g} to {le:.10g}" if ge is not None else f"{low}, up to {le:.10g}"
    if lt is not None:
        return f"{low} to below {lt:g}" if ge is not None else f"{low} and below {lt:g}"
    return f", {ge:g} or more" if ge is not None else low
