"""Reads texts and the values of files as a `RunConfig`, by a pydantic model of its fields.

Synopsis::

    config = build(preset="fast", overrides={"dataset": "idx:DIR", "gate.floor": "0.995"})
    keys()          # ["dataset", ..., "training.epochs", ..., "gate.floor", ...]

The dataclasses are the standard library's, since the trainer and the gate import nothing else.
"""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from components.gate.decide import GATE_CHECKS
from pipeline.config import ConfigError, RunConfig
from pipeline.config_types import annotated
from pipeline.presets import PRESETS
from trainer import own_network, weights
from trainer.host.fields import expected
from trainer.host.registry import Registry
from trainer.host.text import quoted, unknown
from trainer.hparams import HYPER_PARAMETERS, HParams, HyperParameter

if TYPE_CHECKING:  # takes 0.1 s to import, and `--help` does without it
    from pydantic import BaseModel, ValidationError

# What plugins add keys to, by the section below which their `extra.NAME` stand.
_EXTRA: Mapping[str, Mapping[str, Any]] = {"gate": GATE_CHECKS, "training": HYPER_PARAMETERS}
_PLAIN = (bool, int, float, str)  # parsers of plugins that stand for a type


@dataclasses.dataclass(frozen=True)
class Key:
    """A key of the configuration, hashable whatever the default is that a plugin gives.

    Attributes:
      name: such as "gate.floor".
      expected: its type and bounds in words, for the help.
      kind: its type, or the parser of a plugin.
    """

    name: str
    default: Any = dataclasses.field(hash=False)
    description: str
    expected: str
    kind: Any
    metadata: Mapping[str, Any] = dataclasses.field(hash=False)


_Own = Mapping[str, HyperParameter]  # those of the user's own network


def described(own: _Own = MappingProxyType({})) -> list[Key]:
    """Every key that a configuration file takes, plugins' too, with the default preset's values."""
    return list(_described(RunConfig(training=PRESETS[RunConfig.preset]()), own))


def _described(defaults: Any, own: _Own, prefix: str = "") -> Iterator[Key]:
    kinds = typing.get_type_hints(type(defaults))
    for field in dataclasses.fields(defaults):
        kind, name, about = kinds[field.name], prefix + field.name, field.metadata
        default = getattr(defaults, field.name)
        if dataclasses.is_dataclass(kind):
            yield from _described(default, own, f"{name}.")
        elif about:
            text = f"{about['description']}{_entries(about.get('choices'))}"
            yield Key(name, default, text, expected(kind, about), kind, about)
    section = prefix.rstrip(".")
    more = own if section == "training" else {}
    for name, entry in {**_EXTRA.get(section, {}), **more}.items():
        if entry.parse:
            kind, default = entry.parse, getattr(entry, "default", None)
            takes = expected(kind, {}) if kind in _PLAIN else "a value that its plugin reads"
            if choices := getattr(entry, "choices", ()):
                takes = expected(kind, {"choices": [str(choice) for choice in choices]})
            yield Key(f"{prefix}extra.{name}", default, entry.help, takes, kind, {})


def _entries(choices: Any) -> str:
    """Describes the entries of a table, plugins' too."""
    if not isinstance(choices, Registry):
        return ""
    return ": " + ", ".join(f"{name} ({entry.help})" for name, entry in choices.items())


def keys(section: str = "") -> list[str]:
    """Every key that `build` takes, or those of one section, such as "gate"."""
    prefix = f"{section}." if section else ""
    return [one.name for one in described() if one.name.startswith(prefix) and one.name != "preset"]


def build(preset: str, overrides: Mapping[str, Any]) -> RunConfig:
    """Returns the preset's configuration with `overrides` by key; a text is read as the key's type.

    Raises:
      ConfigError: an unknown preset or key (the line names the nearest one), or a bad value.
      NetworkError: the source of the user's own network cannot be used.
    """
    if preset not in PRESETS:
        raise ConfigError(unknown("preset", preset, PRESETS))
    own = _own_parameters(overrides)
    known = {one.name: one for one in described(own)}
    names = [name for name in known if name != "preset"]
    for name, value in overrides.items():
        if name not in names:
            raise _no_key(name, value, names)
    from pydantic import ValidationError

    try:
        checked = _model(tuple(known.values())).model_validate(overrides)
        entries = {**HYPER_PARAMETERS, **own}
        extra = {name: entry.default for name, entry in entries.items()}
        training = dataclasses.replace(PRESETS[preset](), extra=extra)
        values = {key: getattr(checked, key) for key in overrides}
        given = frozenset(key.partition(".")[2] for key in values if key.startswith("training."))
        config: RunConfig = _replaced(RunConfig(preset, training=training, given=given), values)
        _require_choices(config.training, entries)
        return dataclasses.replace(config, training=_with_found(config.training))
    except ValidationError as error:
        raise ConfigError(_line(error, overrides, known)) from None
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _own_parameters(overrides: Mapping[str, Any]) -> _Own:
    named = overrides.get("training.architecture")
    if not isinstance(named, str) or not own_network.is_own(named):
        return {}
    return own_network.parameters(named, own_network.read_source(named))


def _require_choices(training: HParams, entries: _Own) -> None:
    for name, value in training.extra.items():
        choices = entries[name].choices
        if choices and value not in choices:
            raise ConfigError(
                f"training.extra.{name} is {quoted(value)}, expected one of "
                f"{', '.join(map(str, choices))}"
            )


def _with_found(training: HParams) -> HParams:
    """Adds what the files hold that the training names: the source of a network, and weights."""
    found = {}
    if own_network.is_own(training.architecture):
        found[own_network.SOURCE] = own_network.read_source(training.architecture)
    if training.weights:
        found[weights.WEIGHTS] = weights.digest_of(training.weights)
    return dataclasses.replace(training, found=found)


def _no_key(name: str, value: Any, known: list[str]) -> ConfigError:
    if below := [one for one in known if one.startswith(f"{name}.")]:
        return ConfigError(f"{name} is {quoted(value)}, expected keys below it, such as {below[0]}")
    if longer := [repr(one) for one in known if one.endswith(f".{name}")]:
        return ConfigError(f"unknown key {quoted(name)}: did you mean {' or '.join(longer)}?")
    see = "see tfx-mnist config keys"
    section, extra, _ = f"{name}.".partition(".extra.")
    if extra:
        known = [one for one in known if one.startswith(section + extra)]
        see = "see which keys the plugin or your own network declares"
    return ConfigError(unknown("key", name, known, see=see))


def _replaced(old: Any, values: Mapping[str, Any]) -> Any:
    """Returns the dataclass, or the mapping of plugins' values, with others by dotted key."""
    if isinstance(old, Mapping):
        return {**old, **values}
    fields: dict[str, Any] = {}
    sections: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        name, dot, rest = key.partition(".")
        if dot:
            sections.setdefault(name, {})[rest] = value
        else:
            fields[name] = value
    inner = {name: _replaced(getattr(old, name), of_it) for name, of_it in sections.items()}
    return dataclasses.replace(old, **fields, **inner)


def _line(error: ValidationError, overrides: Mapping[str, Any], known: Mapping[str, Key]) -> str:
    first = error.errors(include_url=False)[0]
    key = known[str(first["loc"][0])]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, ConfigError):
        return f"{key.name}: {cause}"
    wanted = str(cause or "") or key.expected
    return f"{key.name} is {quoted(overrides[key.name])}, expected {wanted}"


@functools.lru_cache(maxsize=2)
def _model(known: tuple[Key, ...]) -> type[BaseModel]:
    """The model of these keys, each of which is the name of a field, dots included."""
    from pydantic import Field, create_model

    fields: dict[str, Any] = {}
    for key in known:
        about = Field(
            default=key.default,
            description=key.description,
            json_schema_extra=_allowed(key.metadata),
        )
        fields[key.name] = (annotated(key.kind, key.default, key.metadata), about)
    # data.image_size=64 is a text to YAML and a number to JSON.
    strict: Any = {"extra": "forbid", "allow_inf_nan": False, "coerce_numbers_to_str": True}
    return create_model("Configuration", __config__=strict, **fields)


def _allowed(metadata: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns the part of a key's JSON schema that says which texts are allowed."""
    if not metadata.get("choices"):
        return None
    choices = {"enum": list(metadata["choices"])}
    pattern = metadata.get("pattern")
    return {"anyOf": [choices, {"pattern": f"^{pattern}$"}]} if pattern else choices


def json_schema() -> dict[str, Any]:
    """Returns the JSON schema of a configuration file, nested or with dotted keys."""
    flat: dict[str, Any] = _model(tuple(described())).model_json_schema()["properties"]
    properties = dict(flat)
    for key, schema in flat.items():
        *sections, name = key.split(".", 2)
        node = properties
        for section in sections:
            empty = {"type": ["object", "null"], "additionalProperties": False, "properties": {}}
            node = node.setdefault(section, empty)["properties"]
        node[name] = schema
    # A network of one's own has hyper-parameters that only its file tells.
    extra = properties["training"]["properties"].setdefault("extra", {"type": ["object", "null"]})
    extra["additionalProperties"] = True
    properties["training.extra"] = extra
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The configuration of a run of tfx-mnist",
        "type": "object",
        "additionalProperties": False,
        "patternProperties": {r"^training\.extra\.": True},
        "properties": properties,
    }


def flatten(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Turns nested mappings into one with dotted keys; raises ConfigError if one occurs twice."""
    sections = {name.partition(".")[0] for name in keys() if "." in name}
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
