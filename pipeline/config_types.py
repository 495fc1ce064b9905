"""The types by which pydantic reads the values of the configuration."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Mapping
from typing import Annotated, Any

from components.gate import slices
from pipeline.config import ConfigError
from trainer.host import paths
from trainer.host.fields import inner_kind

_WORDS = {"items": {"type": "string"}}


def annotated(kind: Any, default: Any, metadata: Mapping[str, Any]) -> Any:
    """Returns the type with validators that refuse what pydantic would silently convert.

    Args:
      kind: a type of a field of `RunConfig`, or the parser of a plugin.
      metadata: of the field, such as its bounds.
    """
    from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema

    inner = inner_kind(kind)
    text_or_number = WithJsonSchema({"type": ["string", "number"]})
    typed: Any = inner
    if inner == tuple[slices.Slices, ...]:
        typed = Annotated[Any, PlainValidator(_slices), WithJsonSchema({"type": "string"})]
    elif inner is bool:
        typed = Annotated[bool, BeforeValidator(_bool)]
    elif inner in (int, float):
        bounds = Field(**metadata.get("bounds", {}))
        # As text, since pydantic would take True for 1.
        typed = Annotated[inner, bounds, AfterValidator(_int64), BeforeValidator(str)]
    elif metadata.get("is_command"):
        texts: Any = Annotated[tuple[str, ...], BeforeValidator(_command)]
        typed = Annotated[texts, WithJsonSchema({"type": ["string", "array"], **_WORDS})]
    elif metadata.get("is_path"):
        read = functools.partial(_path, default=default)
        typed = Annotated[str, AfterValidator(read), text_or_number]
    elif inner is str:
        typed = Annotated[str, AfterValidator(_text), text_or_number]
    elif not metadata:
        typed = Annotated[Any, BeforeValidator(lambda value: inner(str(value)))]
    return typed if inner is kind else Annotated[typed | None, BeforeValidator(_none)]


def _none(value: Any) -> Any:
    return None if value in ("none", "null") else value


def _bool(value: Any) -> bool:
    word = str(value).lower()
    if word not in ("true", "false"):
        raise ValueError
    return word == "true"


def _int64(value: float) -> float:
    if isinstance(value, int) and abs(value) >= 2**63:
        raise ValueError("a whole number of 64 bits")
    return value


def _text(value: str) -> str:
    if not paths.is_utf8(value):
        raise ValueError("text in UTF-8: ML Metadata takes no other")
    return value


def _path(value: str, default: Any) -> str:
    return value if value == default == "" else paths.expanded(_text(value))


def _command(value: Any) -> Any:
    """Splits a text as a shell does, without running one."""
    try:
        return shlex.split(value) if isinstance(value, str) else value
    except ValueError as error:  # an open quote
        raise ValueError(f"a command: {str(error).lower()}") from None


def _slices(value: Any) -> tuple[slices.Slices, ...]:
    if not isinstance(value, str):
        raise ValueError("a string such as 'mean_intensity:0.1,0.15;camera=front,rear'")
    try:
        return tuple(map(slices.parse, filter(None, value.split(";"))))
    except ValueError as error:
        raise ConfigError(str(error)) from None
