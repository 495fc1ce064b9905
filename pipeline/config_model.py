"""Reads texts and the values of files as a `RunConfig`, by a pydantic model of its fields.

Synopsis::

    config = build(preset="fast", overrides={"dataset": "idx:DIR", "gate.floor": "0.995"})
    keys()          # ["dataset", ..., "training.epochs", ..., "gate.floor", ...]
    json_schema()   # of a configuration file, for editors

The dataclasses are the standard library's, since the trainer and the gate import nothing else. The
model is made of their fields, and of what plugins add, when it is first needed.
"""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from components.gate.decide import GATE_CHECKS
from components.gate.slices import Bands
from pipeline.config import ConfigError, RunConfig
from pipeline.presets import PRESETS
from trainer.host import paths
from trainer.host.fields import expected, inner_kind
from trainer.host.text import quoted, unknown
from trainer.hparams import HYPER_PARAMETERS

if TYPE_CHECKING:  # takes 0.1 s to import, and `--help` does without it
    from pydantic import BaseModel, ValidationError

# What plugins add keys to, by the section below which their `extra.NAME` stand.
_EXTRA: Mapping[str, Mapping[str, Any]] = {"gate": GATE_CHECKS, "training": HYPER_PARAMETERS}


def build(preset: str, overrides: Mapping[str, Any]) -> RunConfig:
    """The preset's configuration with `overrides` on top.

    Args:
      preset: a name in `PRESETS`.
      overrides: values by key, such as {"seed": 3, "training.epochs": "5"}; a string is read as
        the field's type, so flags and YAML take the same way.

    Raises:
      ConfigError: an unknown preset or key (the line names the nearest one), or a bad value.
    """
    if preset not in PRESETS:
        raise ConfigError(unknown("preset", preset, PRESETS))
    known, tree = keys(), dict[str, Any]()
    for key, value in overrides.items():
        if key not in known:
            raise ConfigError(unknown("key", key, known))
        *sections, name = key.split(".", 2)
        node = tree
        for section in sections:
            node = node.setdefault(section, {})
        node[name] = value
    defaults = {name: entry.default for name, entry in HYPER_PARAMETERS.items()}
    training = dataclasses.replace(PRESETS[preset](), extra=defaults)
    from pydantic import ValidationError

    try:
        return _replaced(RunConfig(preset, training=training), _model().model_validate(tree))
    except ValidationError as error:
        raise ConfigError(_line(error, overrides)) from None
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _replaced(config: Any, given: BaseModel) -> Any:
    """The dataclass with the values that the model was given."""
    changes = {}
    for name in given.model_fields_set:
        value, old = getattr(given, name), getattr(config, name)
        if name == "extra":
            value = {**old, **value.model_dump(exclude_unset=True)}
        elif dataclasses.is_dataclass(old):
            value = _replaced(old, value)
        changes[name] = value
    return dataclasses.replace(config, **changes)


def _line(error: ValidationError, overrides: Mapping[str, Any]) -> str:
    """The line for the first value that its field refuses."""
    first = error.errors(include_url=False)[0]
    place = ".".join(map(str, first["loc"]))  # of an element in a list "beam_args.0"
    (key,) = (one for one in described() if place == one.key or place.startswith(f"{one.key}."))
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, ConfigError):
        return f"{key.key}: {cause}"
    wanted = str(cause or "") or key.expected
    return f"{key.key} is {quoted(overrides[key.key])}, expected {wanted}"


@functools.cache
def _model() -> type[BaseModel]:
    return _model_of(RunConfig)


def _model_of(cls: type, section: str = "") -> type[BaseModel]:
    from pydantic import Field, create_model

    fields: dict[str, Any] = {}
    for field, kind in _fields(cls):
        if dataclasses.is_dataclass(kind):
            fields[field.name] = (_model_of(typing.cast(type, kind), field.name), None)
        elif field.name == "extra":
            fields["extra"] = (_model_of_extra(section), None)
        else:
            choices = field.metadata["choices"]
            about = Field(
                default=field.default,
                description=field.metadata["description"],
                json_schema_extra={"enum": list(choices)} if choices else None,
            )
            fields[field.name] = (_annotated(kind, field.metadata, field.default), about)
    return create_model(cls.__name__, __config__=_STRICT, **fields)


_PLAIN = (bool, int, float, str)  # parsers of plugins that stand for a type
_STRICT: Any = {"extra": "forbid", "allow_inf_nan": False}


def _model_of_extra(section: str) -> type[BaseModel]:
    """The model of what plugins add to a section."""
    from pydantic import BeforeValidator, Field, create_model

    def kind(parse: Any) -> Any:
        if parse in _PLAIN:
            return _annotated(parse, {}, None)
        return Annotated[Any, BeforeValidator(lambda value: parse(str(value)))]

    fields: dict[str, Any] = {
        name: (kind(entry.parse), Field(default=None, description=entry.help))
        for name, entry in _extra(section).items()
    }
    return create_model(f"{section}_extra", __config__=_STRICT, **fields)


def _extra(section: str) -> dict[str, Any]:
    """The entries of plugins that a user can set, by name."""
    return {name: entry for name, entry in _EXTRA.get(section, {}).items() if entry.parse}


def _annotated(kind: Any, metadata: Mapping[str, Any], default: Any) -> Any:
    """The type of a field with what pydantic would take too easily."""
    from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema

    inner = inner_kind(kind)
    typed: Any = inner
    if inner == tuple[Bands, ...]:
        typed = Annotated[Any, PlainValidator(_slices), WithJsonSchema({"type": "string"})]
    elif inner is bool:
        typed = Annotated[bool, BeforeValidator(_bool)]
    elif inner in (int, float):
        bounds = Field(**metadata.get("bounds", {}))
        typed = Annotated[inner, bounds, AfterValidator(_int64), BeforeValidator(_no_bool)]
    elif metadata.get("is_path"):
        typed = Annotated[str, AfterValidator(functools.partial(_path, default=default))]
    elif choices := metadata.get("choices"):
        typed = Annotated[str, AfterValidator(functools.partial(_one_of, choices=choices))]
    elif inner is str:
        typed = Annotated[str, AfterValidator(_text)]
    if inner is kind:
        return typed
    return Annotated[typed | None, BeforeValidator(_none)]


def _none(value: Any) -> Any:
    return None if value in ("none", "null") else value


def _bool(value: Any) -> bool:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise ValueError
    return value


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError
    return value


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


def _one_of(value: str, choices: Iterable[str]) -> str:
    if value not in choices:
        raise ValueError
    return value


def _slices(value: Any) -> tuple[Bands, ...]:
    """Reads "mean_intensity:0.1,0.15;height:20"; "" stands for none."""
    if not isinstance(value, str):
        raise ValueError("a string such as 'mean_intensity:0.1,0.15;height:20'")
    try:
        return tuple(map(Bands.parse, filter(None, value.split(";"))))
    except ValueError as error:
        raise ConfigError(str(error)) from None


@dataclasses.dataclass(frozen=True)
class Key:
    """A key of the configuration: its default, what it takes and what it is, in words."""

    key: str
    default: Any
    expected: str
    description: str


def described() -> list[Key]:
    """Every key that a configuration file takes, those of plugins included."""
    return list(_described(RunConfig))


def _described(cls: type, section: str = "") -> Iterator[Key]:
    prefix = f"{section}." if section else ""
    for field, kind in _fields(cls):
        if dataclasses.is_dataclass(kind):
            yield from _described(typing.cast(type, kind), field.name)
        elif field.name == "extra":
            for name, entry in _extra(section).items():
                default = getattr(entry, "default", None)
                takes = "a value that its plugin reads"
                if entry.parse in _PLAIN:
                    takes = expected(entry.parse, {})
                yield Key(f"{prefix}extra.{name}", default, takes, entry.help)
        else:
            yield Key(
                prefix + field.name,
                field.default,
                expected(kind, field.metadata),
                field.metadata["description"],
            )


def _fields(cls: type) -> Iterator[tuple[dataclasses.Field[Any], Any]]:
    """The fields of a dataclass, each with its type."""
    kinds = typing.get_type_hints(cls)
    return ((field, kinds[field.name]) for field in dataclasses.fields(cls))


def keys(section: str = "") -> list[str]:
    """Every key that `build` takes, or those of one section, such as "gate"."""
    prefix = f"{section}." if section else ""
    return [one.key for one in described() if one.key.startswith(prefix) and one.key != "preset"]


def json_schema() -> dict[str, Any]:
    """The JSON schema of a configuration file, nested or with dotted keys."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_model().model_json_schema(),
        "title": "tfx-mnist",
        "patternProperties": {r"^\w+\.": {}},
    }


def flatten(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings, as YAML gives them, as one with dotted keys; a section of None is empty.

    Raises:
      ConfigError: a key stands there twice, such as `gate.floor` and `floor` below `gate`.
    """
    sections = {field.name for field, kind in _fields(RunConfig) if dataclasses.is_dataclass(kind)}
    flat: dict[str, Any] = {}
    for key, value in _flat(tree):
        if key in flat:
            raise ConfigError(f"{key} is given twice, expected once; remove one of them")
        if value is not None or key not in sections:
            flat[key] = value
    return flat


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
