"""Finds the serving directory that a command concerns, without TensorFlow, to answer at once."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from components.example_gen.data_error import DataError
from components.example_gen.sources import find_name, parse_dataset
from components.serving_dir import live, pending, require_no_version
from components.signing import require_keys, truster
from pipeline.cli.command import Command, Reply, UsageError, option, path_option
from pipeline.cli.command import command as cli_command
from pipeline.cli.configuration import DatasetOption, Given
from pipeline.config import SERVING, RunConfig
from pipeline.hooks import require_programs
from trainer.host.paths import missing, slug


def command(done: str, failed: str, **settings: Any) -> Callable[[Callable[..., Reply]], Command]:
    """Makes a function a `Command` that takes a serving directory by `options`."""
    usage = "usage, or there is no such serving directory"
    return cli_command(done=done, failed=failed, usage=usage, **settings)


def options(function: Callable[..., Reply]) -> Callable[..., Reply]:
    """Adds the options that name a serving directory; the function takes it as `directory`."""

    @path_option("--serving-dir", "DIR", "The directory that the server watches.")
    @option(
        "--dataset",
        "D",
        "The directory that `run` releases this data set to, below --pipeline-root.",
        cls=DatasetOption,
    )
    @path_option(
        "--pipeline-root",
        "DIR",
        "Directory in which `run` writes; without --serving-dir and --dataset, its only serving "
        "directory is taken.",
        default=RunConfig.pipeline_root,
    )
    @functools.wraps(function)
    def with_directory(
        *, serving_dir: Path | None, dataset: str | None, pipeline_root: Path, **values: Any
    ) -> Reply:
        return function(directory=_chosen(serving_dir, dataset, pipeline_root), **values)

    return with_directory


_DIRECTORIES = ("serving_dir", "dataset", "pipeline_root")


def _configured(ctx: click.Context, param: click.Parameter, file: Path | None) -> RunConfig | None:
    if file is None:
        return None
    given = Given(config=file)
    _, values = given.chosen()
    config = given.configuration()
    ctx.default_map = {name: getattr(config, name) for name in _DIRECTORIES if values.get(name)}
    return config


_CONFIG: dict[str, Any] = {"is_eager": True, "callback": _configured}

# --config: the directory that `run` would release to by that file is taken, unless flags name
# another one. The function takes the file's configuration as `config`, which may be None.
config_option = path_option(
    "--config",
    "FILE",
    "Take the serving directory, the keys and the hooks from the configuration file of a run.",
    **_CONFIG,
)
# --config, of which only the serving directory is taken.
directory_of_config_option = path_option(
    "--config",
    "FILE",
    "Take the serving directory from the configuration file of a run.",
    expose_value=False,
    **_CONFIG,
)


def signing_options(function: Callable[..., Reply]) -> Callable[..., Reply]:
    """Adds --signing-key and --config; the function takes the `keys` and `hooks` that they give.

    They were checked: the keys go together, and the programs of the hooks are there.
    """

    @path_option("--signing-key", "KEY", "Sign the new version with a private key, PEM.")
    @config_option
    @functools.wraps(function)
    def with_keys(*, signing_key: Path | None, config: RunConfig | None, **values: Any) -> Reply:
        config = config or RunConfig()
        keys = config.serving
        if signing_key is not None:
            keys = dataclasses.replace(keys, signing_key=str(signing_key))
        require_keys(**keys.keys)
        require_programs(config.hooks)
        return function(keys=keys, hooks=config.hooks, **values)

    return with_keys


def trust_options(function: Callable[..., Reply]) -> Callable[..., Reply]:
    """Adds --config and --public-key; the function takes `trust`, None without a public key."""

    @path_option("--public-key", "KEY", "The public key, PEM, that must have signed every version.")
    @config_option
    @functools.wraps(function)
    def with_trust(*, public_key: Path | None, config: RunConfig | None, **values: Any) -> Reply:
        key = public_key or (config and config.serving.public_key)
        return function(trust=truster(Path(key)) if key else None, **values)

    return with_trust


def dataset_of(release: Mapping[str, Any]) -> dict[str, Any]:
    """Returns name and digest as `run --json` has them; unknown ones are None."""
    dataset = release.get("dataset") or {}
    return {"name": dataset.get("name"), "digest": dataset.get("fingerprint")}


def _chosen(serving_dir: Path | None, dataset: str | None, pipeline_root: Path) -> Path:
    if serving_dir is not None:
        if not os.path.isdir(serving_dir):  # `Path`'s own raises for a name that is too long
            actual = missing(serving_dir) or "is no directory"
            raise UsageError(
                f"the serving directory {serving_dir} {actual}: give another --serving-dir"
            )
        require_no_version(serving_dir)
        return serving_dir
    home = pipeline_root / SERVING
    present = _directories_in(home)
    if dataset is not None:
        return _of_dataset(dataset, home, present)
    if not present:
        raise UsageError(
            f"there is no serving directory in {home}: release a model with `tfx-mnist run`, or "
            "give --pipeline-root or --serving-dir"
        )
    # A refused first run leaves the log of its decisions alone.
    present = [one for one in present if live(one) or pending(one)] or present
    if len(present) > 1:
        raise UsageError(
            f"there are {len(present)} serving directories, expected one: choose with --dataset or "
            f"--serving-dir; {_listed(present)}"
        )
    return present[0]


def _of_dataset(text: str, home: Path, present: Sequence[Path]) -> Path:
    spec = parse_dataset(text)
    name = spec.name
    # A set that has configurations is never released under its bare name, so there is none to ask.
    if name is None or home / slug(name) not in present:
        try:
            name = find_name(spec, data_dir=None)
        except DataError as error:
            raise UsageError(
                f"{error}; or choose with --serving-dir: {_listed(present)}"
            ) from error
    expected = home / slug(name)
    if expected not in present:
        raise UsageError(
            f"the data set {text} has no serving directory {expected}: choose another --dataset, "
            f"or give --serving-dir; {_listed(present)}"
        )
    return expected


def _directories_in(home: Path) -> list[Path]:
    try:
        names = sorted(os.listdir(home))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UsageError(
            f"cannot read {home}: {error.strerror}; give another --pipeline-root"
        ) from error
    return [home / name for name in names if not name.startswith(".") and (home / name).is_dir()]


def _listed(present: Sequence[Path]) -> str:
    if not present:
        return "there is none yet"
    return f"there {'is' if len(present) == 1 else 'are'} {', '.join(map(str, present))}"
