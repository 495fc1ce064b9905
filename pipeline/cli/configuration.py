"""The options that configure a run, from the words of a command line to a checked configuration.

Synopsis::

    @options("--preset", "--set")
    @pass_given
    def command(given: Given, /) -> Reply:
        config = given.configuration()      # preset, then the YAML file, then flags
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from components.example_gen.sources import usages
from pipeline.cli.command import LOCAL_PATH, pair
from pipeline.config import ConfigError, RunConfig
from pipeline.config_model import build, flatten, keys, unknown_key
from pipeline.presets import PRESETS
from trainer.tuning.results import searched

_Function = TypeVar("_Function", bound=Callable[..., Any])


@dataclasses.dataclass
class Given:
    """The values that a command line gives for a configuration; the last one for a key counts."""

    overrides: list[tuple[str, Any]] = dataclasses.field(default_factory=list)
    config_file: Path | None = None
    hparams_file: Path | None = None

    def configuration(self) -> RunConfig:
        """Raises ConfigError if a file cannot be read, or a preset, key or value is wrong."""
        return build(*self.chosen())

    def chosen(self) -> tuple[str, dict[str, Any]]:
        """The preset, and the values by key; those of flags are not checked yet."""
        from_file = {} if self.config_file is None else _read_config(self.config_file)
        found = {} if self.hparams_file is None else _read_hparams(self.hparams_file)
        values = {**from_file, **found, **dict(self.overrides)}
        return values.pop("preset", RunConfig.preset), values

    def require_keys(self, known: Collection[str]) -> None:
        """Raises ConfigError for a key that the command does not use."""
        for key, _ in self.overrides:
            if key in known:
                continue
            if key in keys():
                raise ConfigError(f"{key} has no effect here, expected one of {', '.join(known)}")
            raise ConfigError(unknown_key(key))


pass_given = click.make_pass_decorator(Given, ensure=True)


def _record(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    given, name = ctx.ensure_object(Given), param.name or ""
    if value is None or value == ():
        return
    if name == "set":
        given.overrides += value
    elif name in ("config_file", "hparams_file"):
        setattr(given, name, value)
    else:
        given.overrides.append((name.replace("__", "."), value))


class DatasetOption(click.Option):
    """An option whose help ends with all data sources, which are looked up when it is shown."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        record = super().get_help_record(ctx)
        return record and (record[0], f"{record[1]} Takes {usages()}.")


def _option(flag: str, text: str, *, name: str = "", **settings: Any) -> tuple[str, Any]:
    """An option of `Given`; `name` is its key, with "__" for a dot, if the flag is not the key."""
    names = filter(None, [flag, name])
    return flag, click.option(*names, help=text, expose_value=False, callback=_record, **settings)


def _of_key(flag: str, metavar: str, **settings: Any) -> tuple[str, Any]:
    field = RunConfig.__dataclass_fields__[flag.removeprefix("--").replace("-", "_")]
    text = field.metadata["description"]
    default = f" (default: {field.default})" if field.default is not None else ""
    return _option(flag, f"{text[:1].upper()}{text[1:]}{default}.", metavar=metavar, **settings)


def _switch(flag: str, name: str, text: str, *, value: bool = True) -> tuple[str, Any]:
    return _option(flag, text, name=name, is_flag=True, flag_value=value, default=None)


def _file(flag: str, name: str, text: str) -> tuple[str, Any]:
    return _option(flag, text, name=name, metavar="FILE", type=LOCAL_PATH)


def _list(flag: str, name: str, metavar: str, text: str, **settings: Any) -> tuple[str, Any]:
    text = f"{text}; may be given again."
    return _option(flag, text, name=name, metavar=metavar, multiple=True, **settings)


def _completer(names: Callable[[], Collection[str]]) -> Callable[..., list[CompletionItem]]:
    return lambda ctx, param, incomplete: [
        CompletionItem(name) for name in names() if name.startswith(incomplete)
    ]


_KEYS = _completer(lambda: [f"{key}=" for key in keys()])
_DETERMINISTIC = (
    "Train to the same weights, bit for bit, from the same seed and data on this machine."
)
_MISSING = "Release although the served version cannot be read; the release record says so."
_OPTIONS = dict(
    [
        _of_key("--preset", "P", shell_complete=_completer(lambda: PRESETS)),
        _of_key("--dataset", "D", cls=DatasetOption),
        _of_key("--data-dir", "DIR"),
        _of_key("--pipeline-root", "DIR"),
        _of_key("--serving-dir", "DIR"),
        _of_key("--seed", "N"),
        _of_key("--replicas", "N"),
        _list(
            *("--set", "", "KEY=VALUE", "Set a key, see `tfx-mnist config keys`"),
            type=pair("KEY=VALUE such as gate.floor=0.99"),
            shell_complete=_KEYS,
        ),
        _file("--config", "config_file", "Read keys from a YAML or JSON file."),
        _file("--hparams", "hparams_file", "Take hyper-parameters from a file of --save-hparams."),
        _list("--beam-arg", "beam_args", "ARG", "Argument of every Beam pipeline"),
        _switch("--deterministic", "training__deterministic", _DETERMINISTIC),
        _switch("--tune", "tuning__enabled", "Search for hyper-parameters first, see tuning.*."),
        _switch("--no-cache", "cache", "Execute every component anew.", value=False),
        _switch("--allow-missing-baseline", "gate__allow_missing_baseline", _MISSING),
    ]
)


def options(*only: str) -> Callable[[_Function], _Function]:
    """Adds the options that a `Given` holds: those named, or all."""

    def decorate(function: _Function) -> _Function:
        for flag in reversed(only or tuple(_OPTIONS)):
            function = _OPTIONS[flag](function)
        return function

    return decorate


def _read_config(path: Path) -> dict[str, Any]:
    from pipeline import settings_file  # PyYAML stands behind it

    tree = settings_file.load(path, "configuration")
    if tree is None:
        return {}
    if not isinstance(tree, Mapping):
        raise ConfigError(
            f"{path} holds a {type(tree).__name__}, expected keys with values, such as 'seed: 3'"
        )
    return _checked(path, tree)


def _read_hparams(path: Path) -> dict[str, Any]:
    """Takes some keys of `training`, or keras-tuner's and TFX's file of a HyperParameters."""
    from pipeline import settings_file

    tree = settings_file.load(path, "hyper-parameters")
    if isinstance(tree, Mapping) and isinstance(tree.get("values"), Mapping):  # keras-tuner's
        tree = searched(tree["values"])
    if not isinstance(tree, Mapping) or not tree:
        raise ConfigError(
            f"{path} holds no hyper-parameters, expected keys with values, such as "
            "'learning_rate: 0.004'"
        )
    return _checked(path, {"training": tree})


def _checked(path: Path, tree: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values of a file by dotted key; a ConfigError names the file."""
    try:
        values = flatten(tree)
        alone = dict(values)
        build(str(alone.pop("preset", RunConfig.preset)), alone)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return values
