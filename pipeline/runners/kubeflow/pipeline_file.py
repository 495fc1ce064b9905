"""What `kubeflow compile` wrote, read again.

Synopsis::

    pipeline = PipelineFile.read(Path("pipeline.yaml"))
    pipeline.values({"epochs": "3"})       # of every runtime parameter, and checked
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipeline.config import ConfigError
from pipeline.runners.kubeflow import parameters
from pipeline.runners.kubeflow.names import PLAN, SETTINGS
from pipeline.runners.kubeflow.parameters import PARAMETERS, Value
from pipeline.settings_file import BoundedLoader, NotPlain
from trainer.host.files import read_regular

_MAX_BYTES = 1 << 20  # one has 40 KB, and what was set


@dataclass(frozen=True)
class PipelineFile:
    """A compiled pipeline.

    Attributes:
      path: of the file.
      version: the same for the same content, hexadecimal.
      name: the pipeline's.
      root: URI below which the backend keeps artifacts.
      defaults: of the runtime parameters.
      settings: what else the configuration says.
    """

    path: Path
    version: str
    name: str
    root: str
    defaults: Mapping[str, Value]
    settings: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> PipelineFile:
        """Reads the first of its two documents.

        Raises:
          ConfigError: it cannot be read, or is no pipeline of this version.
        """
        try:
            content = read_regular(path, max_bytes=_MAX_BYTES)
        except OSError as error:
            raise ConfigError(
                f"cannot read {path}: {error.strerror}; make it with `tfx-mnist kubeflow compile`"
            ) from error
        try:
            spec, _ = yaml.load_all(content, Loader=BoundedLoader)
            pipeline = cls(
                path=path,
                version=hashlib.sha256(content).hexdigest()[:12],
                name=spec["pipelineInfo"]["name"],
                root=spec["defaultPipelineRoot"],
                defaults=_defaults(spec),
                settings=_settings(spec),
            )
            if set(pipeline.defaults) == {one.name for one in PARAMETERS}:
                return pipeline
        except (
            *(ValueError, KeyError, TypeError, AttributeError, RecursionError),
            *(yaml.YAMLError, NotPlain),
        ):
            pass
        raise ConfigError(
            f"{path} is no pipeline of this version, expected one that `tfx-mnist kubeflow "
            "compile` wrote"
        )

    def values(self, given: Mapping[str, Value]) -> dict[str, Value]:
        """Of every parameter: the server fills in no default of a run that a version starts.

        Args:
          given: those that are not to be the compiled ones.

        Raises:
          ConfigError: the task `Plan` would refuse them.
        """
        values = {**self.defaults, **given}
        parameters.configuration(values, self.settings)
        return values


def _defaults(spec: Mapping[str, Any]) -> dict[str, Value]:
    declared = spec["root"]["inputDefinitions"]["parameters"]
    return {name: one["defaultValue"] for name, one in declared.items()}


def _settings(spec: Mapping[str, Any]) -> dict[str, Any]:
    given = spec["root"]["dag"]["tasks"][PLAN]["inputs"]["parameters"][SETTINGS]
    return dict(json.loads(given["runtimeValue"]["constant"]))
