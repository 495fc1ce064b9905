"""Runs a TFX executor in a container: the artifacts typed and in place, its answer written.

Synopsis::

    run(component, given, run_id="5f2c")

Where a comment names a file, it is of kubeflow/pipelines, read at 2.14 to 2.17.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfx.dsl.components.base import base_beam_executor, base_executor
from tfx.orchestration.portable import outputs_utils
from tfx.types.artifact import Artifact
from tfx.utils import import_utils, path_utils

from components import blessing, serving_dir
from components.gate.check import Check, Refused
from pipeline.runners.kubeflow.artifacts import to_metadata, to_tfx
from pipeline.runners.kubeflow.names import EXEC_PROPERTIES, MODEL_DIGEST, REFUSAL
from pipeline.runners.kubeflow.wire import ABSENT, ExecutorInput, WireArtifact

_MODEL = "model"  # the Trainer's output

_Artifacts = dict[str, list[Artifact]]


@dataclass(frozen=True)
class Component:
    """A node of the graph, as the compiled arguments describe it.

    Attributes:
      executor: import path of its class.
      input_types: import path of the artifact's class by input key.
      output_types: the same by output key.
      gate: the output that says yes or no; None where the node is no gate.
      beam_args: of its Beam pipeline.
    """

    executor: str
    input_types: Mapping[str, str]
    output_types: Mapping[str, str]
    gate: str | None = None
    beam_args: tuple[str, ...] = ()


def run(component: Component, given: ExecutorInput, *, run_id: str) -> None:
    """Executes it and writes the answer; a gate's no is an answer like any other.

    Raises:
      Whatever the executor raises; nothing is written then.
    """
    inputs, outputs = (
        _typed(given.inputs, component.input_types),
        _typed(given.outputs, component.output_types),
    )
    for (artifact,) in outputs.values():
        # The launcher makes no more than the directory above it
        # (backend/src/v2/component/launcher_v2.go, prepareOutputFolders).
        os.makedirs(artifact.uri, exist_ok=True)
    exec_properties = json.loads(given.parameters[EXEC_PROPERTIES])
    with tempfile.TemporaryDirectory() as scratch:
        executor = _executor(component, scratch, run_id)
        try:
            executor.Do(inputs, outputs, exec_properties)
        except Refused as refused:
            if component.gate is None:
                raise
            blessing.write(outputs[component.gate][0], refused.checks)
    outputs_utils.tag_output_artifacts_with_version(outputs)
    given.write_answer(
        parameters=_parameters(component, given, outputs),
        metadata={
            key: to_metadata(artifacts[0]) if artifacts else {ABSENT: 1}
            for key, artifacts in outputs.items()
        },
    )


def reason(checks: Sequence[Check]) -> str:
    """The sentences of the checks that failed, as one line; empty where none did."""
    return "; ".join(check.sentence for check in checks if not check.passed)


def _typed(given: Mapping[str, WireArtifact], types: Mapping[str, str]) -> _Artifacts:
    """TFX's artifacts, by the graph's keys alone.

    With log publishing on, the driver adds an output `executor-logs` of a type that is not TFX's
    (backend/src/v2/driver, provisionOutputs): the launcher's business.
    """
    return {
        key: [] if given[key].absent else [to_tfx(given[key], path)]
        for key, path in types.items()
        if key in given
    }


def _executor(component: Component, scratch: str, run_id: str) -> base_executor.BaseExecutor:
    """The executor, in a context such as TFX's local launcher gives."""
    executor_class = import_utils.import_class_by_path(component.executor)
    context: dict[str, Any] = {
        "tmp_dir": scratch,
        "unique_id": "0",
        "pipeline_run_id": run_id,
    }
    if issubclass(executor_class, base_beam_executor.BaseBeamExecutor):
        return executor_class(
            base_beam_executor.BaseBeamExecutor.Context(
                beam_pipeline_args=list(component.beam_args), **context
            )
        )
    return executor_class(base_executor.BaseExecutor.Context(**context))


def _parameters(component: Component, given: ExecutorInput, outputs: _Artifacts) -> dict[str, str]:
    """Values of the output parameters that the task declares, see docs/decisions/0020 and 0021."""
    values: dict[str, str] = {}
    if component.gate is not None:
        verdict = outputs[component.gate][0]
        blessed = blessing.is_blessed(verdict)
        values[REFUSAL] = (
            "" if blessed else reason(blessing.checks_of(verdict)) or "no reason given"
        )
    if MODEL_DIGEST in given.output_parameters:
        exported = Path(path_utils.serving_model_path(outputs[_MODEL][0].uri))
        values[MODEL_DIGEST] = serving_dir.digest_of(exported)
    return values
