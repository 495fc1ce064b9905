"""The configuration on Kubeflow: compiled in, changed by a run's parameters, read in the cluster.

Synopsis::

    configured = check("fast", {"dataset": "mnist", "gate.max_drop": "0.01"})
    values, settings = split(configured, {"dataset": "mnist", "gate.max_drop": "0.01"})
    values         # {"dataset": "mnist", "preset": "fast", "seed": 0, "epochs": "", "floor": ""}
    settings       # {"gate.max_drop": "0.01"}: compiled in, the same for every run
    read_back({**values, "seed": 3}, settings)           # the RunConfig of a run
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from components.example_gen.sources import parse_dataset
from components.signing import require_keys
from pipeline.config import ConfigError, RunConfig, ServingConfig
from pipeline.config_model import build
from pipeline.runners.kubeflow.names import PARAMETERS, PLAN, SETTINGS, task_id
from pipeline.settings_file import BoundedLoader
from trainer import own_network
from trainer.host.files import read_regular
from trainer.host.text import quoted
from trainer.hparams import HParams

Value = str | int

_MAX_BYTES = 1 << 20  # a compiled pipeline has 40 KB, and its settings


def check(preset: str, overrides: Mapping[str, Any]) -> RunConfig:
    """Builds the configuration; raises a Refusal, also where no container finds what it names."""
    built = build(preset, overrides)
    for key, value in overrides.items():
        if "{{" in str(value):
            raise ConfigError(
                f"{key} is {quoted(value)}, expected no '{{{{': Argo, which runs the tasks, "
                "replaces what stands in double braces"
            )
    require_no_store(built)
    _require_in_image(built.training)
    _require_keys_there(built.serving)
    source = parse_dataset(built.dataset)
    path = built.dataset.partition(":")[2].strip()
    if source.folders and not path.startswith("/"):
        raise ConfigError(
            f"dataset is {quoted(built.dataset)}, expected an absolute path, as the containers "
            f"see it, such as {source.source}:/mnt/CLAIM/NAME"
        )
    return built


def require_no_store(config: RunConfig) -> None:
    """Raises ConfigError if it says where artifacts are kept: the backend does that."""
    if config.artifacts is not None:
        raise ConfigError(
            f"artifacts is {quoted(config.artifacts)}, expected none: on Kubeflow the backend "
            "keeps them below the --pipeline-root"
        )


def _require_in_image(training: HParams) -> None:
    if own_network.is_file(training.architecture):
        raise ConfigError(
            f"training.architecture is {quoted(training.architecture)}, expected a module that is "
            "in the image, such as package.module:function: containers have no files of this "
            "machine"
        )
    if training.weights:
        raise ConfigError(
            f"training.weights is {quoted(training.weights)}, expected none: containers have no "
            "files of this machine; let training.architecture name a function of a package in the "
            "image that loads them"
        )


def _require_keys_there(serving: ServingConfig) -> None:
    """What can be said of the keys without their files, which are those of the containers."""
    for name, path in serving.keys.items():
        if path and not path.startswith("/"):
            raise ConfigError(
                f"serving.{name} is {quoted(path)}, expected an absolute path, as the containers "
                "see it, such as /mnt/CLAIM/private.pem"
            )
    if not serving.signing_key:
        require_keys("", serving.public_key)


def split(
    configured: RunConfig, overrides: Mapping[str, Any]
) -> tuple[dict[str, Value], dict[str, Any]]:
    """Returns the values of the runtime parameters, and the overrides that are compiled in."""
    values: dict[str, Value] = {}
    for name, parameter in PARAMETERS.items():
        if parameter.optional:
            given = overrides.get(parameter.key)
            values[name] = "" if given is None else str(given)
        else:
            values[name] = getattr(configured, parameter.key)
    keys = {parameter.key for parameter in PARAMETERS.values()}
    return values, {key: value for key, value in overrides.items() if key not in keys}


def read_back(values: Mapping[str, Any], settings: Mapping[str, Any]) -> RunConfig:
    """Builds a run's configuration; numbers may be floats or texts. Raises a Refusal."""
    missing = [name for name in PARAMETERS if name not in values]
    if missing:
        raise ConfigError(
            f"the runtime parameter {missing[0]!r} is missing, expected {', '.join(PARAMETERS)}; "
            "compile the pipeline again"
        )
    given = {
        parameter.key: _typed(name, values[name])
        for name, parameter in PARAMETERS.items()
        if not (parameter.optional and values[name] == "")
    }
    return check(str(given.pop("preset")), {**settings, **given})


def _typed(name: str, value: Any) -> Any:
    """Parses a float of JSON or a text of a command line."""
    if PARAMETERS[name].kind is not int:
        return value
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):  # also 5,000 digits, NaN and infinity
        raise ConfigError(
            f"{name} is {quoted(value)}, expected a whole number, 0 or more"
        ) from None


@dataclass(frozen=True)
class CompiledFile:
    """A file that `kubeflow compile` wrote.

    Attributes:
      version: digest of the content, hexadecimal.
      root: URI below which the backend keeps artifacts.
      settings: the compiled-in rest of the configuration.
    """

    path: Path
    version: str
    root: str
    defaults: Mapping[str, Value]
    settings: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> CompiledFile:
        """Raises ConfigError if the file cannot be read or holds no pipeline of this version."""
        try:
            content = read_regular(path, max_bytes=_MAX_BYTES)
        except OSError as error:
            raise ConfigError(
                f"cannot read {path}: {error.strerror}; make it with `tfx-mnist kubeflow compile`"
            ) from error
        try:
            spec, _ = yaml.load_all(content, Loader=BoundedLoader)
            declared = spec["root"]["inputDefinitions"]["parameters"]
            given = spec["root"]["dag"]["tasks"][task_id(PLAN)]["inputs"]["parameters"][SETTINGS]
            return cls(
                path=path,
                version=hashlib.sha256(content).hexdigest()[:12],
                root=spec["defaultPipelineRoot"],
                defaults={name: _typed(name, declared[name]["defaultValue"]) for name in declared},
                settings=dict(json.loads(given["runtimeValue"]["constant"])),
            )
        except (
            *(ValueError, LookupError, TypeError, AttributeError, RecursionError),
            yaml.YAMLError,
        ) as error:
            raise ConfigError(
                f"{path} is no pipeline of this version, expected one that `tfx-mnist kubeflow "
                "compile` wrote"
            ) from error

    def values(self, given: Mapping[str, Value]) -> dict[str, Value]:
        """Returns all values, because the server fills in no defaults; raises a Refusal."""
        values = {**self.defaults, **{name: _typed(name, value) for name, value in given.items()}}
        read_back(values, self.settings)
        return values


@dataclass(frozen=True)
class Run:
    """A run to start, now or by a schedule.

    Attributes:
      values: those of all runtime parameters, from `CompiledFile.values`.
      service_account: the Kubernetes service account; "" for the backend's default.
    """

    compiled: CompiledFile
    values: Mapping[str, Value]
    experiment: str
    service_account: str = ""
