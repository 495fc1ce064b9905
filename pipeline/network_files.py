"""Reads the files that the training section names: the source of a network, and weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from pipeline.config import ConfigError
from trainer import own_network, weights
from trainer.host.text import quoted
from trainer.hparams import HParams, HyperParameter


def own_parameters(overrides: Mapping[str, Any]) -> dict[str, HyperParameter]:
    """Returns the hyper-parameters of the user's own network, if these values name one.

    Raises ConfigError if its source cannot be used.
    """
    named = overrides.get("training.architecture")
    if not isinstance(named, str) or not own_network.is_own(named):
        return {}
    try:
        return own_network.parameters(named, own_network.read_source(named))
    except own_network.NetworkError as error:
        raise ConfigError(str(error)) from None


def require_choices(training: HParams, entries: Mapping[str, HyperParameter]) -> None:
    """Raises ConfigError if a value of `extra` is none of those that its entry allows."""
    for name, value in training.extra.items():
        choices = entries[name].choices
        if choices and value not in choices:
            raise ConfigError(
                f"training.extra.{name} is {quoted(value)}, expected one of "
                f"{', '.join(map(str, choices))}"
            )


def with_found(training: HParams) -> HParams:
    """Adds what the files hold; raises a ValueError of one line if one cannot be used."""
    found = {}
    if own_network.is_own(training.architecture):
        found[own_network.SOURCE] = own_network.read_source(training.architecture)
    if training.weights:
        found[weights.WEIGHTS] = weights.digest_of(training.weights)
    return dataclasses.replace(training, found=found)
