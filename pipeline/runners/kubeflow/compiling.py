"""Compiles the pipeline to YAML for the open-source backend of Kubeflow Pipelines.

    Path("pipeline.yaml").write_text(compile_pipeline("quick", {}, deployment).text)

Each component of the graph becomes a task, and two further tasks make the plan in the cluster
(docs/decisions/0020). A task behind a gate gets the gate's refusal as a parameter (0021).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kfp import compiler, dsl
from kfp.dsl.graph_component import GraphComponent
from kfp.dsl.pipeline_task import PipelineTask
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.types.channel import Channel

from components.example_gen.image_set import DatasetInfo
from pipeline.beam_runner import arguments_problem
from pipeline.code_keys import COMPONENTS
from pipeline.config import ConfigError, RunConfig
from pipeline.graph import create_pipeline
from pipeline.result import GATES
from pipeline.run_plan import RunPlan
from pipeline.runners.kubeflow import parameters
from pipeline.runners.kubeflow.container_task import container_task, signature
from pipeline.runners.kubeflow.deployment import Deployment
from pipeline.runners.kubeflow.names import (
    BASELINE,
    DATASET_INFO,
    EXEC_PROPERTIES,
    MODEL_DIGEST,
    PARAMETERS,
    PIPELINE_NAME,
    PLAN,
    REFUSAL,
    SETTINGS,
    TRAINER,
    TUNER,
    refusal_of,
    task_id,
)
from trainer import placement
from trainer.host.text import unknown

# Where a container writes what nobody needs afterwards, such as a prepared data set.
SCRATCH = "/tmp/tfx-mnist"

# Argo counts it from the start of the first attempt: behind it there is no further attempt, and one
# that runs is ended (argo-workflows, workflow/controller/operator.go, processNodeRetries).
_RETRY_WITHIN_S = 30 * 24 * 3600

_DESCRIPTION = "From images to a gated release."

# What components answer beside their artifacts.
_ANSWERS = {TRAINER: [MODEL_DIGEST], **{gate: [REFUSAL] for gate in GATES}}


@dataclass(frozen=True)
class Compiled:
    """A pipeline and its Kubernetes settings as two YAML documents; tasks in an order to run."""

    text: str
    tasks: list[str]


def compile_pipeline(preset: str, overrides: Mapping[str, Any], deployment: Deployment) -> Compiled:
    """Compiles the graph for the cluster; raises a Refusal of a bad key, value or resource."""
    placed = {**overrides, "pipeline_root": SCRATCH, "serving_dir": deployment.serving.path}
    if deployment.data is not None:
        placed["data_dir"] = deployment.data.path
    configured = parameters.check(preset, placed)
    if problem := arguments_problem(configured.beam_args):
        raise ConfigError(problem)
    defaults, settings = parameters.split(configured, placed)
    graph = create_pipeline(_stand_in(configured)).components
    known = [PLAN, BASELINE, *(node.id for node in graph)]
    for resource in deployment.resources:
        if resource.component and resource.component not in known:
            raise ConfigError(unknown("component", resource.component, known))
    made: dict[str, PipelineTask] = {}

    def pipeline(*values: Any) -> None:
        given = dict(zip(PARAMETERS, values, strict=True))
        given[SETTINGS] = json.dumps(settings, sort_keys=True)
        _add_tasks(made, graph, given, deployment, cache=configured.cache)
        if configured.training.input != placement.AUTO:
            # No parameter, as it changes no result: the backend's cache does not look at it.
            for task in (made[name] for name in (TUNER, TRAINER) if name in made):
                task.set_env_variable(placement.VARIABLE, configured.training.input)

    # The server refuses a run that lacks a value, so that each parameter has a default
    # (kubeflow/pipelines, backend/src/apiserver/template/v2_template.go,
    # validatePipelineJobInputs).
    kinds = {name: parameter.kind for name, parameter in PARAMETERS.items()}
    pipeline.__signature__ = signature(kinds, defaults)  # type: ignore[attr-defined]
    helps = (f"  {name}: {parameter.help}" for name, parameter in PARAMETERS.items())
    pipeline.__doc__ = "\n".join([_DESCRIPTION, "", "Args:", *helps])
    decorate = dsl.pipeline(
        name=PIPELINE_NAME, description=_DESCRIPTION, pipeline_root=deployment.pipeline_root
    )
    return Compiled(_text(decorate(pipeline), graph), list(made))


def _stand_in(configured: RunConfig) -> RunPlan:
    """Returns a plan with the graph's shape; the cluster replaces each of its values."""
    return RunPlan(
        config=configured,
        dataset=DatasetInfo("none", "none", "0" * 64, (28, 28, 1), ("0", "1"), test_rows=1),
        code=dict.fromkeys(COMPONENTS, ""),
    )


def _add_tasks(
    made: dict[str, PipelineTask],
    graph: Sequence[BaseComponent],
    given: dict[str, Any],
    deployment: Deployment,
    *,
    cache: bool,
) -> None:
    """Makes all tasks, within kfp's pipeline; `Plan` and `Baseline` are never cached."""
    early = _with_ancestors(next(node for node in graph if node.id == TRAINER))
    before = [node for node in graph if node.id in early]
    behind = [node for node in graph if node.id not in early]

    def add(planner: str, nodes: Sequence[BaseComponent], places: list[str], *answers: str) -> None:
        made[planner] = container_task(
            deployment,
            planner,
            [task_id(planner)],
            given,
            answers=[*answers, *(node.id for node in nodes)],
            places=places,
            cached=False,
        )
        for node in nodes:
            made[node.id] = _node_task(node, planner, made, deployment, cache=cache)

    add(PLAN, before, ["data_dir", "serving_dir"], DATASET_INFO)
    given[DATASET_INFO] = made[PLAN].outputs[DATASET_INFO]
    given[MODEL_DIGEST] = made[TRAINER].outputs[MODEL_DIGEST]
    add(BASELINE, behind, ["serving_dir"])


def _with_ancestors(node: BaseComponent) -> set[str]:
    return {node.id}.union(*map(_with_ancestors, node.upstream_nodes))


def _node_task(
    node: BaseComponent,
    planner: str,
    made: Mapping[str, PipelineTask],
    deployment: Deployment,
    *,
    cache: bool,
) -> PipelineTask:
    types = {"inputs": _class_paths(node.inputs), "outputs": _class_paths(node.outputs)}
    upstream = sorted(one.id for one in node.upstream_nodes)
    task = container_task(
        deployment,
        node.id,
        [
            "component",
            *("--name", node.id),
            *("--executor", node.executor_spec.class_path),
            *("--types", json.dumps(types, sort_keys=True)),
            *(f"--beam-arg={arg}" for arg in getattr(node.executor_spec, "beam_pipeline_args", ())),
        ],
        {
            EXEC_PROPERTIES: made[planner].outputs[node.id],
            **{refusal_of(one): made[one].outputs[REFUSAL] for one in GATES if one in upstream},
        },
        answers=_ANSWERS.get(node.id, ()),
        artifacts={
            key: made[one.producer_component_id].outputs[one.output_key]
            for key, one in node.inputs.items()
        },
        written=node.outputs,
        places=node.exec_properties,
        cached=cache,
    )
    return task.after(*(made[name] for name in upstream))


def _class_paths(channels: Mapping[str, Channel]) -> dict[str, str]:
    """Returns the import paths of the artifacts' classes; the backend keeps only a type's title.

    (kubeflow/pipelines, backend/src/v2/metadata/client.go, SchemaToArtifactType)
    """
    return {key: f"{one.type.__module__}.{one.type.__name__}" for key, one in channels.items()}


def _text(pipeline: GraphComponent, graph: Sequence[BaseComponent]) -> str:
    """Returns the YAML with TFX's artifact types, and time for retries.

    kfp's functions only accept artifact types of `system`, and those before 2.17 an hour.
    """
    for node in graph:
        component = pipeline.pipeline_spec.components[f"comp-{task_id(node.id)}"]
        for channels, declared in (
            (node.inputs, component.input_definitions),
            (node.outputs, component.output_definitions),
        ):
            for key, channel in channels.items():
                declared.artifacts[key].artifact_type.schema_title = f"tfx.{channel.type_name}"
    for task in pipeline.pipeline_spec.root.dag.tasks.values():
        if task.HasField("retry_policy"):
            task.retry_policy.backoff_max_duration.FromSeconds(_RETRY_WITHIN_S)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pipeline.yaml")
        compiler.Compiler().compile(pipeline, str(path))
        return path.read_text(encoding="utf-8")
