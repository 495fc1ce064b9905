"""The options that configure a run, from the words of a command line to a checked configuration.

Synopsis::

    @options("--preset", "--set")
    @pass_given
    def command(given: Given, /) -> Reply:
        config = given.configuration()      # preset, then the YAML file, then flags
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from components.example_gen.sources import usages
from pipeline.cli.option_types import LOCAL_PATH, keep_apart, pair
from pipeline.config import ConfigError, RunConfig
from pipeline.config_model import build, flatten, keys
from pipeline.presets import PRESETS
from trainer.host.errors import Refusal
from trainer.tuning.results import searched

_Function = TypeVar("_Function", bound=Callable[..., Any])

# Keys of files that a run reads.
_OF_FILES = ("dataset", "serving.signing_key", "serving.public_key", "training.weights")


@dataclasses.dataclass
class Given:
    """The values and files that a command line gives; the last value for a key counts."""

    overrides: list[tuple[str, Any]] = dataclasses.field(default_factory=list)
    config: Path | None = None
    hparams: Path | None = None

    def configuration(self) -> RunConfig:
        """Raises a Refusal if a file cannot be read, or a preset, key or value is wrong."""
        return build(*self.chosen())

    def chosen(self) -> tuple[str, dict[str, Any]]:
        """The preset, and the values by key; those of flags are not checked yet."""
        values: dict[str, Any] = {}
        for file, read in ((self.config, _read_config), (self.hparams, _read_hparams)):
            values |= {} if file is None else _checked(file, read(file))
        values |= dict(self.overrides)
        return values.pop("preset", RunConfig.preset), values

    def require_keys(self, known: Collection[str]) -> None:
        """Raises ConfigError for a key that the command does not use."""
        for key, _ in self.overrides:
            if key not in known and key in ("preset", *keys()):
                raise ConfigError(f"{key} has no effect here, expected one of {', '.join(known)}")


pass_given = click.make_pass_decorator(Given, ensure=True)


def _record(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    given, name = ctx.ensure_object(Given), param.name or ""
    if value is None or value == ():
        return
    if name == "set":
        given.overrides += value
        _keep_apart(value, param, ctx, named=True)
    elif name in ("config", "hparams"):
        setattr(given, name, value)
        with contextlib.suppress(ConfigError):  # whoever uses the file says so
            read = _read_config if name == "config" else _read_hparams
            _keep_apart(flatten(read(value)).items(), param, ctx, named=True)
    else:
        given.overrides.append((name.replace("__", "."), value))
        _keep_apart(given.overrides[-1:], param, ctx)


def _keep_apart(
    values: Iterable[tuple[str, Any]],
    param: click.Parameter,
    ctx: click.Context,
    *,
    named: bool = False,
) -> None:
    """Refuses values that name a file which something is written to."""
    for key, value in values:
        path = str(value).partition(":")[2].strip() if key == "dataset" else str(value)
        if key in _OF_FILES and path and "\0" not in path:
            keep_apart(os.path.expanduser(path), param, ctx, key=key if named else "")


class DatasetOption(click.Option):
    """An option whose help ends with all data sources, which are looked up when it is shown."""

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        if isinstance(value, str):  # a table is a file, which nothing may be written to
            _keep_apart([("dataset", value)], self, ctx)
        return super().type_cast_value(ctx, value)

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        record = super().get_help_record(ctx)
        return record and (record[0], f"{record[1]} Takes {usages()}.")


def _option(flag: str, text: str, name: str | None = None, **settings: Any) -> tuple[str, Any]:
    """An option of `Given`; `name` is its key, with "__" for a dot, if the flag is not the key."""
    names = filter(None, [flag, name])
    return flag, click.option(*names, help=text, expose_value=False, callback=_record, **settings)


class SetOption(click.Option):
    """`--set`; `sections` are those whose keys the command takes, "" for all."""

    def __init__(self, *args: Any, sections: Collection[str], **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.sections = sections

    def takes(self) -> list[str]:
        return [key for section in self.sections for key in keys(section)]

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        return _starting(incomplete, [f"{key}=" for key in self.takes()])


def set_option(*sections: str) -> Callable[[_Function], _Function]:
    """Adds `--set` for the keys of some sections."""
    _, decorate = _option(
        "--set",
        "Set a key, see `tfx-mnist config keys`; may be given again.",
        metavar="KEY=VALUE",
        type=pair("KEY=VALUE such as gate.floor=0.99"),
        multiple=True,
        cls=SetOption,
        sections=sections,
    )
    return decorate


def _of_key(flag: str, metavar: str, **settings: Any) -> tuple[str, Any]:
    field = RunConfig.__dataclass_fields__[flag.removeprefix("--").replace("-", "_")]
    text = field.metadata["description"]
    default = f" (default: {field.default})" if field.default is not None else ""
    return _option(flag, f"{text[:1].upper()}{text[1:]}{default}.", metavar=metavar, **settings)


def _switch(flag: str, name: str, text: str, *, value: bool = True) -> tuple[str, Any]:
    return _option(flag, text, name, is_flag=True, flag_value=value, default=None)


def _starting(incomplete: str, names: Iterable[str]) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


_DETERMINISTIC = (
    "Train to the same weights, bit for bit, from the same seed and data on this machine."
)
_MISSING = "Release although the served version cannot be read; the release record says so."
_FILE: dict[str, Any] = {"metavar": "FILE", "type": LOCAL_PATH}
_PATH: dict[str, Any] = {"shell_complete": LOCAL_PATH.shell_complete}  # which its key checks
_OPTIONS = dict(
    [
        _of_key(
            "--preset", "P", shell_complete=lambda ctx, param, begun: _starting(begun, PRESETS)
        ),
        _of_key("--dataset", "D", cls=DatasetOption),
        _of_key("--data-dir", "DIR", **_PATH),
        _of_key("--pipeline-root", "DIR", **_PATH),
        _of_key("--serving-dir", "DIR", **_PATH),
        _of_key("--artifacts", "URI"),
        _of_key("--seed", "N"),
        _of_key("--replicas", "N"),
        ("--set", set_option("")),
        _option("--config", "Read keys from a YAML or JSON file.", **_FILE),
        _option("--hparams", "Take hyper-parameters from a file of --save-hparams.", **_FILE),
        _option(
            "--beam-arg",
            "Argument of every Beam pipeline; may be given again.",
            "beam_args",
            metavar="ARG",
            multiple=True,
        ),
        _option(
            "--signing-key",
            "Sign the release with a private key, PEM on an elliptic curve.",
            "serving__signing_key",
            metavar="KEY",
            **_PATH,
        ),
        _switch("--deterministic", "training__deterministic", _DETERMINISTIC),
        _switch("--tune", "tuning__enabled", "Search for hyper-parameters first, see tuning.*."),
        _switch("--no-cache", "cache", "Execute every component anew.", value=False),
        _switch("--hold", "hold", "Let a model that passes wait for `tfx-mnist approve`."),
        _of_key("--reason", "TEXT"),
        _switch("--allow-missing-baseline", "gate__allow_missing_baseline", _MISSING),
    ]
)


def options(*only: str, without: Collection[str] = ()) -> Callable[[_Function], _Function]:
    """Adds the options that a `Given` holds: those named, or all, `without` some."""

    def decorate(function: _Function) -> _Function:
        for flag in reversed(only or tuple(_OPTIONS)):
            if flag not in without:
                function = _OPTIONS[flag](function)
        return function

    return decorate


def _read_config(path: Path) -> Mapping[str, Any]:
    from pipeline import settings_file  # PyYAML stands behind it

    tree = settings_file.load(path, "configuration")
    if tree is None:
        return {}
    if not isinstance(tree, Mapping):
        raise ConfigError(
            f"{path} holds a {type(tree).__name__}, expected keys with values, such as 'seed: 3'"
        )
    return tree


def _read_hparams(path: Path) -> Mapping[str, Any]:
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
    return {"training": tree}


def _checked(path: Path, tree: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values of a file by dotted key; a ConfigError names the file."""
    try:
        values = flatten(tree)
        alone = dict(values)
        build(str(alone.pop("preset", RunConfig.preset)), alone)
    except Refusal as error:
        raise ConfigError(f"{path}: {error}") from None
    return values
