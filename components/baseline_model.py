"""The served version to compare with, as a TFX Model artifact for the Evaluator.

    baseline_model = BaselineModel(serving_dir="serving", baseline=context.baseline)
    evaluator = Evaluator(..., baseline_model=baseline_model.outputs["model"])

Version and digest of the baseline are parameters, so that TFX's cache tells baselines apart.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.channel import Channel
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter
from tfx.utils import path_constants

from components.serving_dir import Baseline, export_baseline

MODEL = "model"
VERSION_PROPERTY = "version"


def baseline_in(exec_properties: Mapping[str, Any]) -> Baseline | None:
    """Returns the baseline of `BaselineModel`'s parameters; None for no baseline."""
    digest = exec_properties["baseline_digest"]
    return Baseline(exec_properties["baseline_version"], digest) if digest else None


class BaselineModelExecutor(base_executor.BaseExecutor):
    """Puts the baseline below the output's URI, or takes the output away."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        model = artifact_utils.get_single_instance(output_dict[MODEL])
        baseline = baseline_in(exec_properties)
        if baseline is None:
            # TFX publishes the artifacts that stand here afterwards: none. Another component's
            # optional input is then an empty list, also where this execution was cached.
            output_dict[MODEL].clear()
            with contextlib.suppress(OSError):
                os.rmdir(model.uri)
            return
        destination = Path(model.uri) / path_constants.SERVING_MODEL_DIR
        export_baseline(Path(exec_properties["serving_dir"]), baseline, destination)
        model.set_int_custom_property(VERSION_PROPERTY, baseline.version)


class BaselineModelSpec(ComponentSpec):
    """Parameters and output of `BaselineModel`."""

    PARAMETERS: ClassVar[dict[str, Any]] = {
        "serving_dir": ExecutionParameter(type=str),
        "baseline_version": ExecutionParameter(type=int),
        "baseline_digest": ExecutionParameter(type=str),
    }
    INPUTS: ClassVar[dict[str, Any]] = {}
    OUTPUTS: ClassVar[dict[str, Any]] = {MODEL: ChannelParameter(type=standard_artifacts.Model)}


class BaselineModel(base_component.BaseComponent):
    """Hands on a version of the serving directory as a model, or nothing without a baseline.

    Output `model`: at most one Model artifact, with the custom property `version`.
    """

    SPEC_CLASS = BaselineModelSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(BaselineModelExecutor)

    def __init__(self, *, serving_dir: str, baseline: Baseline | None) -> None:
        spec = BaselineModelSpec(
            serving_dir=serving_dir,
            baseline_version=baseline.version if baseline else 0,
            baseline_digest=baseline.model_digest if baseline else "",
            model=Channel(type=standard_artifacts.Model),
        )
        super().__init__(spec=spec)
