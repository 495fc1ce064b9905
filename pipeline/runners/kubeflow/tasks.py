"""The tasks in the containers: `Plan`, `Baseline`, and each component of the graph.

    plan_run(config, run_id)          # {"dataset_info": ..., "ExampleGen": ..., "Trainer": ...}
    choose_baseline(config, run_id, dataset_info=text, model_digest=digest)
    run_component(given, run_id, executor=path, types=types, gate="blessing")

docs/decisions/0020 says why two tasks make the plan. Files in comments are those of
kubeflow/pipelines, 2.14 to 2.17.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfx.dsl.components.base import base_beam_executor, base_executor
from tfx.types.artifact import Artifact
from tfx.utils import import_utils, path_utils

from components import blessing, serving_dir
from components.example_gen.image_set import DatasetInfo
from components.gate.check import GateRefused
from pipeline.config import RunConfig
from pipeline.graph import create_pipeline
from pipeline.quick_beam import remember_answers
from pipeline.run_plan import RunPlan, find_dataset, plan_for
from pipeline.runners.kubeflow.names import DATASET_INFO, EXEC_PROPERTIES, MODEL_DIGEST, REFUSAL
from pipeline.runners.kubeflow.task_io import (
    ABSENT,
    ExecutorInput,
    TaskArtifact,
    leave_long_texts,
)
from pipeline.runners.kubeflow.task_lines import reason

_MODEL = "model"  # the Trainer's output, and the input of all that judge or publish it

UNTYPED = "tfx.types.standard_artifacts.Model"  # a class that declares no properties
_FIELDS = {str: "string_value", int: "int_value", float: "double_value"}  # of ML Metadata's Value

_Artifacts = dict[str, list[Artifact]]


class ModelAltered(RuntimeError):
    """The files of a model changed behind the Trainer; the message is one line."""


def plan_run(config: RunConfig, run_id: str) -> dict[str, str]:
    """Looks at the data set, and fills in the parameters of all components.

    Raises:
      Refusal, ServingDirError: as `pipeline.run_plan.make_plan`.
      GateRefused: the served version cannot be read, so the gate would refuse any model.
    """
    dataset = find_dataset(config)
    plan = plan_for(config, dataset, run_id=run_id, takes_over=config.cache)
    plan.require_baseline()
    return {DATASET_INFO: dataset.to_json(), **exec_properties(plan)}


def choose_baseline(
    config: RunConfig, run_id: str, *, dataset_info: str, model_digest: str
) -> dict[str, str]:
    """Fills in the parameters again, by what is served after training; raises ServingDirError."""
    dataset = DatasetInfo.from_json(dataset_info)
    plan = plan_for(config, dataset, run_id=run_id, takes_over=config.cache)
    if not plan.context.holds_for(model_digest):
        # The cache held another model than the released one, or none, so that one was trained.
        plan = plan.compared(run_id)
    return exec_properties(plan)


def exec_properties(plan: RunPlan) -> dict[str, str]:
    """Returns the parameters of each component as one line of JSON, the same for equal ones."""
    return {
        node.id: json.dumps(
            {key: value for key, value in node.exec_properties.items() if value is not None},
            sort_keys=True,
        )
        for node in create_pipeline(plan).components
    }


def run_component(
    given: ExecutorInput,
    run_id: str,
    *,
    executor: str,
    types: Mapping[str, Mapping[str, str]],
    gate: str | None = None,
    beam_args: Sequence[str] = (),
) -> None:
    """Runs TFX's executor and writes its answer, also a gate's refusal, but not after other errors.

    Raises ModelAltered if the task was given another model than the Trainer wrote.

    Args:
      executor: import path of the executor's class.
      types: import paths of the artifacts' classes by key, for "inputs" and "outputs".
      gate: key of the output with a gate's decision; None for other components.
    """
    inputs = _typed(given.inputs, types["inputs"])
    _require_unaltered(inputs.get(_MODEL, []))
    outputs = _typed(given.outputs, types["outputs"])
    for (artifact,) in outputs.values():
        # The launcher makes no more than the directory above it
        # (backend/src/v2/component/launcher_v2.go, prepareOutputFolders).
        os.makedirs(artifact.uri, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        context = {"tmp_dir": scratch, "unique_id": "0", "pipeline_run_id": run_id}
        try:
            _executor(executor, context, beam_args).Do(
                inputs, outputs, json.loads(given.parameters[EXEC_PROPERTIES])
            )
        except GateRefused as refused:
            if gate is None:
                raise
            blessing.write(outputs[gate][0], refused.checks)
    answers: dict[str, str] = {}  # see docs/decisions/0020 and 0021
    if gate is not None:
        decision = outputs[gate][0]
        refusal = reason(blessing.checks_of(decision)) or "no reason given"
        answers[REFUSAL] = "" if blessing.is_blessed(decision) else refusal
    if MODEL_DIGEST in given.output_parameters:
        answers[MODEL_DIGEST] = _digest_of(outputs[_MODEL][0])
        outputs[_MODEL][0].set_string_custom_property(MODEL_DIGEST, answers[MODEL_DIGEST])
    given.write_answer(
        parameters=answers,
        metadata={
            key: to_metadata(artifacts[0]) if artifacts else {ABSENT: 1}
            for key, artifacts in outputs.items()
        },
    )


def _require_unaltered(models: Sequence[Artifact]) -> None:
    """Each task gets a copy of its own, so those that evaluate, judge and publish may differ."""
    for model in models:
        if model.get_string_custom_property(MODEL_DIGEST) != _digest_of(model):
            raise ModelAltered(
                f"the model in {model.uri} is not the one that was trained: restore it in the "
                "artifact store, or submit the run compiled with --no-cache to train again"
            )


def _digest_of(model: Artifact) -> str:
    return serving_dir.digest_of(Path(path_utils.serving_model_path(model.uri)))


def _executor(
    path: str, context: Mapping[str, Any], beam_args: Sequence[str]
) -> base_executor.BaseExecutor:
    executor_class = import_utils.import_class_by_path(path)
    uses_beam = issubclass(executor_class, base_beam_executor.BaseBeamExecutor)
    beam = {}
    if uses_beam:
        remember_answers()
        beam["beam_pipeline_args"] = list(beam_args)
    return executor_class(executor_class.Context(**context, **beam))


def _typed(given: Mapping[str, TaskArtifact], types: Mapping[str, str]) -> _Artifacts:
    """Returns TFX's artifacts for the keys of the graph only.

    With log publishing on, the driver adds an output `executor-logs`, whose type is not TFX's
    (backend/src/v2/driver, provisionOutputs).
    """
    return {
        key: [] if given[key].absent else [to_tfx(given[key], path)]
        for key, path in types.items()
        if key in given
    }


def to_tfx(given: TaskArtifact, type_path: str = UNTYPED) -> Artifact:
    """Returns TFX's artifact of that class, with the properties, at the local path.

    The properties that the class does not declare become custom ones.
    """
    artifact: Artifact = import_utils.import_class_by_path(type_path)()
    artifact.uri = str(given.path)
    # The backend names artifacts by their ids (backend/src/v2/metadata/converter.go,
    # toRuntimeArtifact); the Evaluator notes those of the models.
    if given.name.isdecimal():
        artifact.id = int(given.name)
    message = artifact.mlmd_artifact
    for name, value in given.properties.items():
        declared = name in artifact.artifact_type.properties
        properties = message.properties if declared else message.custom_properties
        setattr(properties[name], _FIELDS[type(value)], value)
    return artifact


def to_metadata(artifact: Artifact) -> dict[str, Any]:
    """Returns the properties for the backend; long ones go to a file in the artifact's folder."""
    message = artifact.mlmd_artifact
    properties = {
        name: getattr(value, value.WhichOneof("value"))
        for properties in (message.properties, message.custom_properties)
        for name, value in properties.items()
        # The backend fails on a null (backend/src/v2/metadata/converter.go,
        # StructValueToMLMDValue).
        if value.WhichOneof("value") in ("int_value", "double_value", "string_value")
    }
    return leave_long_texts(Path(artifact.uri), properties)
