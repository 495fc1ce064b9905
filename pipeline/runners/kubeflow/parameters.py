"""The runtime parameters: what one upload is told anew for each run.

Synopsis::

    defaults, settings = split("fast", {"dataset": "mnist", "gate.max_drop": "0.01"})
    defaults       # {"dataset": "mnist", "preset": "fast", "seed": 0, "epochs": "", "floor": ""}
    settings       # {"gate.max_drop": "0.01"}: compiled in
    config = configuration({**defaults, "seed": 3}, settings)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.example_gen.sources import DataError, parse_dataset
from pipeline.config import ConfigError, RunConfig
from pipeline.config_model import build
from trainer.host.text import quoted

Value = str | int


@dataclass(frozen=True)
class Parameter:
    """A runtime parameter.

    Attributes:
      name: as the backend and its UI show it.
      key: the configuration's key; "" for the preset, which is none.
      kind: pipeline_spec.proto's ParameterType.
      optional: whether "" stands for the preset's or the data set's own value.
      help: one line.
    """

    name: str
    key: str
    kind: str
    optional: bool
    help: str


DATASET = "dataset"
PRESET = "preset"

PARAMETERS = (
    Parameter(DATASET, "dataset", "STRING", False, "what --dataset takes"),
    Parameter(PRESET, "", "STRING", False, "where the values start"),
    Parameter("seed", "seed", "NUMBER_INTEGER", False, "of weights, order and augmentation"),
    Parameter("epochs", "training.epochs", "STRING", True, "empty: the preset's"),
    Parameter("floor", "gate.floor", "STRING", True, "of the gate; empty: the data set's"),
)
_BY_KEY = {parameter.key: parameter for parameter in PARAMETERS if parameter.key}


def split(preset: str, overrides: Mapping[str, Any]) -> tuple[dict[str, Value], dict[str, Any]]:
    """A configuration as values of the runtime parameters, and what is left.

    Args:
      preset: its name.
      overrides: values by key, as `pipeline.config_model.build` takes them.

    Raises:
      ConfigError: an unknown preset or key, or a bad value.
    """
    checked = _build(preset, overrides)
    values: dict[str, Value] = {
        DATASET: checked.dataset,
        PRESET: preset,
        "seed": checked.seed,
        "epochs": "",
        "floor": "",
    }
    values |= {
        _BY_KEY[key].name: str(value)
        for key, value in overrides.items()
        if key in _BY_KEY and _BY_KEY[key].optional and value is not None
    }
    return values, {key: value for key, value in overrides.items() if key not in _BY_KEY}


def configuration(values: Mapping[str, Any], settings: Mapping[str, Any]) -> RunConfig:
    """The configuration of a run.

    Args:
      values: of the runtime parameters; numbers may be floats, as JSON has them.
      settings: what was compiled in.

    Raises:
      ConfigError: a missing parameter or a bad value.
    """
    missing = [parameter.name for parameter in PARAMETERS if parameter.name not in values]
    if missing:
        raise ConfigError(
            f"the runtime parameter {missing[0]!r} is missing, expected "
            f"{', '.join(parameter.name for parameter in PARAMETERS)}; compile the pipeline again"
        )
    given = {
        parameter.key: _typed(parameter, values[parameter.name])
        for parameter in PARAMETERS
        if parameter.key and not (parameter.optional and values[parameter.name] == "")
    }
    return _build(str(values[PRESET]), {**settings, **given})


def _build(preset: str, overrides: Mapping[str, Any]) -> RunConfig:
    """As `pipeline.config_model.build`; the data set must be one that a container can look for."""
    built = build(preset, overrides)
    try:
        source = parse_dataset(built.dataset)
    except DataError as error:
        raise ConfigError(str(error)) from error
    directory = built.dataset.partition(":")[2].strip()
    if source.folders and not directory.startswith("/"):
        raise ConfigError(
            f"dataset is {quoted(built.dataset)}, expected an absolute directory, as the "
            "containers see it, such as idx:/mnt/CLAIM/FOLDER"
        )
    return built


def typed(text: Mapping[str, str]) -> dict[str, Value]:
    """Values from a command line, each of its parameter's type; without those not given.

    Raises:
      ConfigError: a bad value.
    """
    by_name = {parameter.name: parameter for parameter in PARAMETERS}
    return {name: _typed(by_name[name], value) for name, value in text.items()}


def _typed(parameter: Parameter, value: Any) -> Any:
    """A whole number where the parameter is one: JSON has floats only, a command line text."""
    if parameter.kind != "NUMBER_INTEGER":
        return value
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):  # also 5,000 digits, NaN and infinity
        raise ConfigError(
            f"{parameter.name} is {quoted(value)}, expected a whole number, 0 or more"
        ) from None


def to_text(settings: Mapping[str, Any]) -> str:
    """Settings as one line, the same for equal ones."""
    return json.dumps(settings, sort_keys=True)
