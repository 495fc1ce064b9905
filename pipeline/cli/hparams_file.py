"""Hyper-parameters in a file, as a search found them, for later runs.

The file is a JSON or YAML object with some keys of `training`, or the file of a HyperParameters
artifact, as keras-tuner and TFX write it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.config import ConfigError, RunConfig
from pipeline.config_model import build, flatten, keys
from trainer.host import paths
from trainer.host.text import unknown
from trainer.tuning.results import searched


def read(path: Path) -> dict[str, Any]:
    """Returns the checked values by dotted key; a ConfigError names the file."""
    from pipeline import settings_file  # PyYAML stands behind it

    tree = settings_file.load(path, "hyper-parameters")
    if isinstance(tree, Mapping) and isinstance(tree.get("values"), Mapping):  # keras-tuner's
        tree = searched(tree["values"])
    if not isinstance(tree, Mapping) or not tree or not all(isinstance(key, str) for key in tree):
        raise ConfigError(
            f"{path} holds no hyper-parameters, expected keys with values, such as "
            "'learning_rate: 0.004'"
        )
    try:
        values, known = flatten({"training": tree}), keys("training")
        for key in values:
            if key not in known:
                names = [name.removeprefix("training.") for name in known]
                given = key.removeprefix("training.")
                raise ConfigError(unknown("hyper-parameter", given, names))
        build(RunConfig().preset, values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return values


def require_writable(path: Path) -> None:
    """Refuses, by a ConfigError before the run, a file that could not be written after it."""
    if os.path.isdir(path) or not os.path.isdir(path.parent):  # no name is too long for these
        raise ConfigError(
            f"cannot save the hyper-parameters to {path}: expected a file in an existing directory"
        )
    try:
        if path.exists():
            paths.require_access("--save-hparams", path)
        else:
            paths.require_writable("--save-hparams", path.parent)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def save(hparams: Mapping[str, Any], path: Path) -> None:
    """Writes hyper-parameters as JSON; raises OSError."""
    path.write_text(json.dumps(dict(hparams), indent=2) + "\n", encoding="utf-8")
