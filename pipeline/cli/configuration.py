"""The options that configure a run: from the words of a command line to a checked configuration.

add_options(parser)
options = parser.options(["--preset", "fast", "--set", "gate.floor=0.995"])
config = configuration(options)      # preset, then the YAML file, then flags
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Collection, Mapping
from typing import Any

from pipeline import config
from pipeline.cli import hparams_file
from pipeline.cli.command import Parser, local_path, one_of
from pipeline.config import ConfigError, RunConfig
from pipeline.presets import PRESETS
from trainer.host.text import quoted


def add_options(parser: Parser, only: Collection[str] | None = None) -> None:
    """Adds the options that `configuration` reads.

    They set `config_file` and `hparams_file` (str or None), `overrides` (pairs of key and value, in
    the order in which they were given) and `beam_args`.

    Args:
      parser: of the command.
      only: those that the command takes; None for all, as a run does.
    """
    parser.set_defaults(overrides=[], config_file=None, hparams_file=None, beam_args=[])
    parser.takes_dashes.add("--beam-arg")

    def add(flag: str, **settings: Any) -> None:
        if only is None or flag in only:
            parser.add_argument(flag, **settings)

    def override(flag: str, metavar: str, text: str) -> None:
        add(flag, action=_Override, metavar=metavar, default=argparse.SUPPRESS, help=text)

    override("--preset", "P", f"where the values start: {one_of(PRESETS)} (default: quick)")
    override(
        "--dataset",
        "D",
        "mnist_sample (default, no network needed), a tensorflow-datasets name such as mnist or "
        "emnist/balanced, or idx:DIR for a folder with the four IDX files",
    )
    override("--data-dir", "DIR", "tensorflow-datasets' own directory")
    override("--pipeline-root", "DIR", "where the run writes (default: pipeline_root)")
    override("--serving-dir", "DIR", "the directory that the server watches")
    override("--seed", "N", "seed of weights, order and augmentation (default: 0)")
    override("--replicas", "N", "devices that train (default: all GPUs, else one CPU)")
    add(
        "--set",
        action=_SetKey,
        metavar="KEY=VALUE",
        default=argparse.SUPPRESS,
        help="set a key, see below; may be given again",
    )
    add(
        "--config",
        dest="config_file",
        metavar="FILE",
        type=local_path,
        help="read keys from a YAML or JSON file",
    )
    add(
        "--hparams",
        dest="hparams_file",
        metavar="FILE",
        type=local_path,
        help="take hyper-parameters from a file, as --save-hparams writes it",
    )
    add(
        "--beam-arg",
        dest="beam_args",
        action="append",
        metavar="ARG",
        default=[],
        help="argument of every Beam pipeline, such as --direct_num_workers=2; may be given again",
    )
    for flag, key, value, text in (
        (
            "--deterministic",
            "training.deterministic",
            True,
            "train to the same weights, bit for bit, from the same seed and data on this machine",
        ),
        ("--tune", "tuning.enabled", True, "search for hyper-parameters first, see tuning.* below"),
        ("--no-cache", "cache", False, "execute every component anew"),
        (
            "--allow-missing-baseline",
            "gate.allow_missing_baseline",
            True,
            "release although what is served cannot be read; the release record says so",
        ),
    ):
        add(
            flag,
            dest=key,
            action=_Override,
            nargs=0,
            const=value,
            default=argparse.SUPPRESS,
            help=text,
        )


def keys(section: str = "") -> str:
    """Every key of `--set` and of the YAML file, or those of one section, in lines."""
    names = config.keys_of(section) if section else ["preset", *config.keys()]
    return textwrap.fill(
        ", ".join(names),
        width=78,
        initial_indent="  ",
        subsequent_indent="  ",
        break_on_hyphens=False,
    )


def configuration(options: argparse.Namespace) -> RunConfig:
    """What the options ask for.

    Raises:
      ConfigError: an unreadable file, an unknown preset or key, a bad value.
    """
    return config.build(*chosen(options))


def chosen(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """The preset, and the values of the YAML file, the hyper-parameters and the flags, by key.

    Raises:
      ConfigError: as `configuration`, but for the flags' values.
    """
    from_file = {} if options.config_file is None else read_file(options.config_file)
    flags = dict(options.overrides)
    if options.beam_args:
        flags["beam_args"] = tuple(options.beam_args)
    files_preset = str(from_file.pop("preset", RunConfig().preset))
    if from_file or files_preset != RunConfig().preset:
        _check_file(options.config_file, files_preset, from_file)
    found = {} if options.hparams_file is None else hparams_file.read(options.hparams_file)
    return flags.pop("preset", files_preset), {**from_file, **found, **flags}


def require_keys(options: argparse.Namespace, known: Collection[str]) -> None:
    """Refuses what the command line sets for nothing.

    Args:
      options: of a command that takes some options only.
      known: the keys that it looks at.

    Raises:
      ConfigError: another key is set.
    """
    for key, _ in options.overrides:
        if key not in known:
            raise ConfigError(config.unknown("key", key, known))


def read_file(path: str) -> dict[str, Any]:
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
        return config.flatten(tree)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _check_file(path: str, preset: str, values: Mapping[str, Any]) -> None:
    """Tries the file's part alone, so that its mistakes are reported with its name."""
    try:
        config.build(preset, values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


class _Override(argparse.Action):
    """Appends (key, value) to `overrides`: the order of the command line decides which one wins."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        pair = (self.dest, self.const if self.nargs == 0 else values)
        namespace.overrides = [*namespace.overrides, pair]


class _SetKey(argparse.Action):
    """The same for `--set key=value`."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        key, equals, value = str(values).partition("=")
        if not equals:
            parser.error(
                f"--set {quoted(values)} has no '=', expected key=value such as gate.floor=0.99"
            )
        namespace.overrides = [*namespace.overrides, (key, value)]
