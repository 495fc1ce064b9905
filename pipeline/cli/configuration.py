"""The options that configure a run: from the words of a command line to a checked configuration.

Synopsis::

    @click.command(cls=Command, ...)
    @options("--preset", "--set")
    @pass_given
    def command(given: Given, as_json: bool) -> int:
        config = given.configuration()      # preset, then the YAML file, then flags
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from pipeline.cli import hparams_file
from pipeline.cli.command import LOCAL_PATH
from pipeline.config import ConfigError, RunConfig
from pipeline.config_model import build, flatten, keys
from pipeline.presets import PRESETS
from pipeline.result import RunResult
from trainer.host.text import quoted, unknown

Runner = Callable[..., RunResult]  # pipeline.runners.local.run

_Function = TypeVar("_Function", bound=Callable[..., Any])


@dataclasses.dataclass
class Given:
    """What a command line says about a configuration.

    Attributes:
      overrides: values by key, in the order in which their options were given.
      config_file: a YAML or JSON file of keys.
      hparams_file: a file of hyper-parameters.
    """

    overrides: list[tuple[str, Any]] = dataclasses.field(default_factory=list)
    config_file: Path | None = None
    hparams_file: Path | None = None

    def configuration(self) -> RunConfig:
        """What the options ask for.

        Raises:
          ConfigError: an unreadable file, an unknown preset or key, a bad value.
        """
        return build(*self.chosen())

    def chosen(self) -> tuple[str, dict[str, Any]]:
        """The preset, and the values of the file, the hyper-parameters and the flags, by key.

        Raises:
          ConfigError: as `configuration`, but for the flags' values.
        """
        from_file = {} if self.config_file is None else read_file(self.config_file)
        flags = dict(self.overrides)
        default = RunConfig().preset
        files_preset = str(from_file.pop("preset", default))
        if from_file or files_preset != default:
            try:  # alone, so that its mistakes are reported with its name
                build(files_preset, from_file)
            except ConfigError as error:
                raise ConfigError(f"{self.config_file}: {error}") from None
        found = {} if self.hparams_file is None else hparams_file.read(self.hparams_file)
        return flags.pop("preset", files_preset), {**from_file, **found, **flags}

    def require_keys(self, known: Collection[str]) -> None:
        """Refuses what the command line sets for nothing.

        Args:
          known: the keys that the command looks at.

        Raises:
          ConfigError: another key is set.
        """
        for key, _ in self.overrides:
            if key not in known:
                raise ConfigError(unknown("key", key, known))


pass_given = click.make_pass_decorator(Given, ensure=True)


def _record(ctx: click.Context, key: str, value: Any) -> None:
    ctx.ensure_object(Given).overrides.append((key, value))


def _option(flag: str, *names: str, **settings: Any) -> tuple[str, Callable[[Any], Any]]:
    return flag, click.option(flag, *names, expose_value=False, **settings)


def _flag(flag: str, key: str, metavar: str, text: str, **settings: Any) -> tuple[str, Any]:
    def callback(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
        if value is not None:
            _record(ctx, key, value)

    return _option(flag, metavar=metavar, help=text, callback=callback, **settings)


def _switch(flag: str, key: str, value: bool, text: str) -> tuple[str, Any]:
    def callback(ctx: click.Context, param: click.Parameter, given: bool) -> None:
        if given:
            _record(ctx, key, value)

    return _option(flag, is_flag=True, help=text, callback=callback)


def _set_keys(ctx: click.Context, param: click.Parameter, texts: tuple[str, ...]) -> None:
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise click.BadParameter(
                f"{quoted(text)} has no '=', expected key=value such as gate.floor=0.99"
            )
        _record(ctx, key, value)


def _beam_args(ctx: click.Context, param: click.Parameter, texts: tuple[str, ...]) -> None:
    if texts:
        _record(ctx, "beam_args", texts)


def _file(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    if param.name is not None:
        setattr(ctx.ensure_object(Given), param.name, path)


def _complete_presets(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    return [CompletionItem(name) for name in PRESETS if name.startswith(incomplete)]


def _complete_keys(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    return [CompletionItem(f"{key}=") for key in keys() if key.startswith(incomplete)]


_OPTIONS = dict(
    [
        _flag(
            "--preset",
            "preset",
            "P",
            f"Where the values start: {', '.join(PRESETS)} (default: quick).",
            shell_complete=_complete_presets,
        ),
        _flag(
            "--dataset",
            "dataset",
            "D",
            "mnist_sample (default, no network needed), a tensorflow-datasets name such as mnist "
            "or emnist/balanced, or idx:DIR for a folder with the four IDX files.",
        ),
        _flag("--data-dir", "data_dir", "DIR", "tensorflow-datasets' own directory."),
        _flag(
            "--pipeline-root",
            "pipeline_root",
            "DIR",
            "Where the run writes (default: pipeline_root).",
        ),
        _flag("--serving-dir", "serving_dir", "DIR", "The directory that the server watches."),
        _flag("--seed", "seed", "N", "Seed of weights, order and augmentation (default: 0)."),
        _flag(
            "--replicas", "replicas", "N", "Devices that train (default: all GPUs, else one CPU)."
        ),
        _option(
            "--set",
            multiple=True,
            metavar="KEY=VALUE",
            callback=_set_keys,
            shell_complete=_complete_keys,
            help="Set a key, see `tfx-mnist config keys`; may be given again.",
        ),
        _option(
            "--config",
            "config_file",
            metavar="FILE",
            type=LOCAL_PATH,
            callback=_file,
            help="Read keys from a YAML or JSON file.",
        ),
        _option(
            "--hparams",
            "hparams_file",
            metavar="FILE",
            type=LOCAL_PATH,
            callback=_file,
            help="Take hyper-parameters from a file, as --save-hparams writes it.",
        ),
        _option(
            "--beam-arg",
            multiple=True,
            metavar="ARG",
            callback=_beam_args,
            help="Argument of every Beam pipeline, such as --direct_num_workers=2; may be given "
            "again.",
        ),
        _switch(
            "--deterministic",
            "training.deterministic",
            True,
            "Train to the same weights, bit for bit, from the same seed and data on this machine.",
        ),
        _switch(
            "--tune", "tuning.enabled", True, "Search for hyper-parameters first, see tuning.*."
        ),
        _switch("--no-cache", "cache", False, "Execute every component anew."),
        _switch(
            "--allow-missing-baseline",
            "gate.allow_missing_baseline",
            True,
            "Release although what is served cannot be read; the release record says so.",
        ),
    ]
)


def options(*only: str) -> Callable[[_Function], _Function]:
    """Adds the options that a `Given` holds.

    Args:
      only: those that the command takes; none for all, as a run does.
    """

    def decorate(function: _Function) -> _Function:
        for flag in reversed(only or tuple(_OPTIONS)):
            function = _OPTIONS[flag](function)
        return function

    return decorate


def read_file(path: Path) -> dict[str, Any]:
    """The values of a YAML file by dotted key; an empty file has none.

    Raises:
      ConfigError: the file cannot be read, is not YAML, or holds no mapping.
    """
    from pipeline import settings_file  # PyYAML stands behind it

    tree = settings_file.load(path, "configuration")
    if tree is None:
        return {}
    if not isinstance(tree, Mapping):
        raise ConfigError(
            f"{path} holds a {type(tree).__name__}, expected keys with values, such as 'seed: 3'"
        )
    try:
        return flatten(tree)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
