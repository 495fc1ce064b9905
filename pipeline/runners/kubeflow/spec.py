"""The specification that the open-source backend accepts, from the graph that TFX compiled.

Synopsis::

    spec = pipeline_spec(nodes(create_pipeline(plan)), defaults, settings, deployment)

Schema 2.1.0, container executors only, as pipeline_spec.proto is in JSON. What each part is for
stands in docs/decisions/0020 and 0021. Where a comment names a file and no kfp, it is of
kubeflow/pipelines, read at 2.14 to 2.17.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.config import ConfigError
from pipeline.result import GATES
from pipeline.runners.kubeflow.names import (
    BASELINE,
    DATASET_INFO,
    EXEC_PROPERTIES,
    MODEL_DIGEST,
    PIPELINE_NAME,
    PLAN,
    REFUSAL,
    SETTINGS,
    TRAINER,
    refusal_of,
)
from pipeline.runners.kubeflow.parameters import PARAMETERS, Value, to_text
from pipeline.runners.kubeflow.topology import Node, ancestors, class_paths
from trainer.host.text import quoted

COMMAND = ("python", "-m", "pipeline.runners.kubeflow.entrypoint")
# The backend's launcher, and kfp's local runner, put the ExecutorInput there.
_EXECUTOR_INPUT = ("--executor-input", "{{$}}")

_STRING = {"parameterType": "STRING"}

# [registry/]path[:tag][@digest] (distribution/reference, regexp.go).
_PATH = r"[a-z0-9]+((\.|__?|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"([A-Za-z0-9.-]+(:[0-9]+)?/)?{_PATH}(/{_PATH})*"
    r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@[A-Za-z0-9+._-]+:[0-9A-Fa-f]{32,})?"
)


@dataclass(frozen=True)
class Resources:
    """What a task asks of its node; 0 asks for nothing.

    Attributes:
      gpus: whole NVIDIA GPUs.
      cpus: CPUs, may be fractions.
      memory_gb: gigabytes, 10^9 bytes.
    """

    gpus: int = 0
    cpus: float = 0.0
    memory_gb: float = 0.0


@dataclass(frozen=True)
class Deployment:
    """Where and how the tasks run.

    Attributes:
      image: of every task; a reference such as registry.example/tfx-mnist:0.1.0.
      pipeline_root: URI below which the backend keeps artifacts.
      resources: by the task's name.
      retries: further attempts at a task that failed.
      cache: whether the backend may take over earlier results.
    """

    image: str
    pipeline_root: str
    resources: Mapping[str, Resources] = field(default_factory=dict)
    retries: int = 2
    cache: bool = True

    def __post_init__(self) -> None:
        if not _IMAGE.fullmatch(self.image):
            raise ConfigError(
                f"the image is {quoted(self.image)}, expected one as a node pulls it, such as "
                "registry.example/tfx-mnist:0.1.0"
            )


def pipeline_spec(
    graph: Sequence[Node],
    defaults: Mapping[str, Value],
    settings: Mapping[str, Any],
    deployment: Deployment,
    *,
    sdk_version: str,
) -> dict[str, Any]:
    """The whole of it.

    Args:
      graph: every node, each behind those that it needs.
      defaults: of the runtime parameters.
      settings: what else the configuration says; compiled in.
      deployment: where and how.
      sdk_version: what compiled it, for people.
    """
    tasks = [
        _plan(graph, settings),
        _baseline(graph, settings),
        *(_node_task(node, graph) for node in graph),
    ]
    return {
        "pipelineInfo": {"name": PIPELINE_NAME, "description": "From images to a gated release."},
        "schemaVersion": "2.1.0",
        "sdkVersion": sdk_version,
        # TFX leaves it out; `tfx-mnist kubeflow submit` hands it to the client from here.
        "defaultPipelineRoot": deployment.pipeline_root,
        "root": {
            "inputDefinitions": {"parameters": _root_parameters(defaults)},
            "dag": {"tasks": {task.name: task.task(deployment) for task in tasks}},
        },
        "components": {task.component_name: task.component() for task in tasks},
        "deploymentSpec": {
            "executors": {task.executor_name: task.executor(deployment) for task in tasks}
        },
    }


def task_names(spec: Mapping[str, Any]) -> list[str]:
    """Names of the tasks, each behind those that it needs."""
    tasks = spec["root"]["dag"]["tasks"]
    done: list[str] = []
    while len(done) < len(tasks):
        done += sorted(
            name
            for name, task in tasks.items()
            if name not in done and set(task.get("dependentTasks", ())) <= set(done)
        )
    return done


@dataclass(frozen=True)
class _Task:
    """One task with its component and its executor; named as kfp's own compiler names them.

    Attributes:
      name: of the task.
      args: of the command, in front of the ExecutorInput.
      parameters: where each input parameter comes from, as TaskInputsSpec has it.
      output_parameters: names; all are strings.
      artifacts: (producer, its output key) by input key.
      artifact_types: title of the type by input key.
      output_artifacts: title of the type by output key.
      upstream: names of further tasks that must have ended.
      cached: whether its result may be taken over.
    """

    name: str
    args: Sequence[str]
    parameters: Mapping[str, Mapping[str, Any]]
    output_parameters: Sequence[str] = ()
    artifacts: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    artifact_types: Mapping[str, str] = field(default_factory=dict)
    output_artifacts: Mapping[str, str] = field(default_factory=dict)
    upstream: Sequence[str] = ()
    cached: bool = True

    @property
    def component_name(self) -> str:
        # kfp's local runner names folders by it, without five characters
        # (kfp 2.16, kfp/local/executor_input_utils.py, get_local_task_resource_name).
        return f"comp-{self.name}"

    @property
    def executor_name(self) -> str:
        return f"exec-{self.name}"

    def task(self, deployment: Deployment) -> dict[str, Any]:
        """PipelineTaskSpec."""
        inputs: dict[str, Any] = {"parameters": dict(self.parameters)}
        if self.artifacts:
            inputs["artifacts"] = {
                key: {"taskOutputArtifact": {"producerTask": producer, "outputArtifactKey": output}}
                for key, (producer, output) in self.artifacts.items()
            }
        task: dict[str, Any] = {
            "taskInfo": {"name": self.name},
            "componentRef": {"name": self.component_name},
            "inputs": inputs,
            "cachingOptions": {"enableCache": True} if self.cached and deployment.cache else {},
        }
        upstream = sorted({*self.upstream, *self._producers()})
        if upstream:
            task["dependentTasks"] = upstream
        if deployment.retries:
            # Of gates as well: a no completes its task, and only a lost check fails it. The backend
            # cannot tell a task that fails with a no from others (docs/kubeflow.md).
            task["retryPolicy"] = {
                "maxRetryCount": deployment.retries,
                "backoffDuration": "30s",
                "backoffFactor": 2.0,
                "backoffMaxDuration": "600s",
            }
        return task

    def _producers(self) -> set[str]:
        parameters = (given.get("taskOutputParameter") for given in self.parameters.values())
        return {
            *(given["producerTask"] for given in parameters if given),
            *(producer for producer, _ in self.artifacts.values()),
        }

    def component(self) -> dict[str, Any]:
        """ComponentSpec."""
        kinds = {parameter.name: parameter.kind for parameter in PARAMETERS}
        inputs: dict[str, Any] = {
            "parameters": {
                name: {"parameterType": kinds.get(name, "STRING")} for name in self.parameters
            }
        }
        if self.artifacts:
            inputs["artifacts"] = {
                key: _artifact_type(title) for key, title in self.artifact_types.items()
            }
        outputs: dict[str, Any] = {}
        if self.output_parameters:
            outputs["parameters"] = {name: dict(_STRING) for name in self.output_parameters}
        if self.output_artifacts:
            outputs["artifacts"] = {
                key: _artifact_type(title) for key, title in self.output_artifacts.items()
            }
        component = {"executorLabel": self.executor_name, "inputDefinitions": inputs}
        return component | ({"outputDefinitions": outputs} if outputs else {})

    def executor(self, deployment: Deployment) -> dict[str, Any]:
        """ExecutorSpec."""
        container: dict[str, Any] = {
            "image": deployment.image,
            "command": list(COMMAND),
            "args": [*self.args, *_EXECUTOR_INPUT],
        }
        resources = _resource_spec(deployment.resources.get(self.name, Resources()))
        return {"container": container | ({"resources": resources} if resources else {})}


def _plan(graph: Sequence[Node], settings: Mapping[str, Any]) -> _Task:
    """Looks at the data; fills in Trainer and all before it."""
    return _Task(
        name=PLAN,
        args=("plan",),
        parameters=_configuration(settings),
        output_parameters=(DATASET_INFO, *_filled_in_by(PLAN, graph)),
        cached=False,
    )


def _baseline(graph: Sequence[Node], settings: Mapping[str, Any]) -> _Task:
    """Looks at what is served; fills in all others."""
    return _Task(
        name=BASELINE,
        args=("baseline",),
        parameters={
            **_configuration(settings),
            DATASET_INFO: _from_task(PLAN, DATASET_INFO),
            MODEL_DIGEST: _from_task(TRAINER, MODEL_DIGEST),
        },
        output_parameters=_filled_in_by(BASELINE, graph),
        cached=False,
    )


def _node_task(node: Node, graph: Sequence[Node]) -> _Task:
    """A node of the graph: TFX's executor, within our entrypoint."""
    types = {
        "inputs": class_paths(node.input_types),
        "outputs": class_paths(node.output_types),
    }
    answers = {TRAINER: (MODEL_DIGEST,), **dict.fromkeys(GATES, (REFUSAL,))}
    planner = PLAN if node.name in ancestors(graph, TRAINER) else BASELINE
    asked = [name for name in GATES if name in node.upstream]
    return _Task(
        name=node.name,
        args=(
            "component",
            *("--name", node.name),
            *("--executor", node.executor),
            *("--types", json.dumps(types, sort_keys=True)),
            *(f"--beam-arg={arg}" for arg in node.beam_args),
        ),
        parameters={
            EXEC_PROPERTIES: _from_task(planner, node.name),
            **{refusal_of(name): _from_task(name, REFUSAL) for name in asked},
        },
        output_parameters=answers.get(node.name, ()),
        artifacts=node.inputs,
        artifact_types=node.input_types,
        output_artifacts=node.output_types,
        upstream=node.upstream,
    )


def _filled_in_by(planner: str, graph: Sequence[Node]) -> list[str]:
    before = ancestors(graph, TRAINER)
    return [node.name for node in graph if (node.name in before) == (planner == PLAN)]


def _configuration(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The input parameters from which a container makes the configuration again."""
    given = {p.name: {"componentInputParameter": p.name} for p in PARAMETERS}
    return {**given, SETTINGS: {"runtimeValue": {"constant": to_text(settings)}}}


def _artifact_type(title: str) -> dict[str, Any]:
    """As kfp's own compiler writes a type."""
    return {"artifactType": {"schemaTitle": title, "schemaVersion": "0.0.1"}}


def _from_task(producer: str, name: str) -> dict[str, Any]:
    return {"taskOutputParameter": {"producerTask": producer, "outputParameterKey": name}}


def _root_parameters(defaults: Mapping[str, Value]) -> dict[str, Any]:
    """TFX writes no default, and the server refuses a run that lacks a value.

    (backend/src/apiserver/template/v2_template.go, validatePipelineJobInputs)
    """
    return {
        parameter.name: {
            "parameterType": parameter.kind,
            "defaultValue": defaults[parameter.name],
            "description": parameter.help,
        }
        for parameter in PARAMETERS
    }


def _resource_spec(resources: Resources) -> dict[str, Any]:
    """ResourceSpec, by its older fields: every backend reads them.

    (backend/src/v2/driver, getPodResource)
    """
    spec: dict[str, Any] = {}
    if resources.cpus:
        spec["cpuLimit"] = resources.cpus
    if resources.memory_gb:
        spec["memoryLimit"] = resources.memory_gb
    if resources.gpus:
        # The type becomes the name of the Kubernetes resource; an int64 is a string in JSON.
        spec["accelerator"] = {"type": "nvidia.com/gpu", "count": str(resources.gpus)}
    return spec
