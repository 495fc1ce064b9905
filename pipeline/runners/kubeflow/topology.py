"""The graph as TFX compiles it for Kubeflow: its nodes, without their values and with them.

Synopsis::

    for node in nodes(create_pipeline(plan)):
        node.name, node.executor, node.inputs, node.exec_properties
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from tfx.orchestration.kubeflow.v2 import compiler_utils, kubeflow_v2_dag_runner
from tfx.orchestration.pipeline import Pipeline

from pipeline.runners.kubeflow.names import PIPELINE_NAME


@dataclass(frozen=True)
class Node:
    """A node of the graph.

    Attributes:
      name: TFX's id of it.
      executor: import path of the executor's class.
      inputs: (producer, its output key) by input key.
      input_types: title of the artifact's type, such as "tfx.Model", by input key.
      output_types: the same by output key.
      upstream: names of the nodes that must have ended, the producers among them.
      beam_args: of its Beam pipeline.
      exec_properties: its parameters, as a container gets them: JSON values.
    """

    name: str
    executor: str
    inputs: Mapping[str, tuple[str, str]]
    input_types: Mapping[str, str]
    output_types: Mapping[str, str]
    upstream: tuple[str, ...]
    beam_args: tuple[str, ...]
    exec_properties: Mapping[str, Any]


def nodes(pipeline: Pipeline) -> list[Node]:
    """Every node, each behind those that it needs."""
    spec = _compiled(pipeline)
    return list(_in_order([_node(spec, name) for name in spec["root"]["dag"]["tasks"]]))


def _compiled(pipeline: Pipeline) -> Mapping[str, Any]:
    """The PipelineSpec that TFX makes, as JSON has it."""
    # TFX allows fewer characters in a name than the local runner, and ours names the data set.
    renamed = Pipeline(
        pipeline_name=PIPELINE_NAME,
        pipeline_root=pipeline.pipeline_info.pipeline_root,
        components=pipeline.components,
        beam_pipeline_args=pipeline.beam_pipeline_args,
        dsl_context_registry=pipeline.dsl_context_registry,
    )
    runner = kubeflow_v2_dag_runner.KubeflowV2DagRunner(
        config=kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(
            default_image="replaced", use_pipeline_spec_2_1=True
        )
    )
    return dict(runner.run(renamed, write_out=False)["pipelineSpec"])


def _node(spec: Mapping[str, Any], name: str) -> Node:
    task = spec["root"]["dag"]["tasks"][name]
    component = spec["components"][name]
    executor = spec["deploymentSpec"]["executors"][component["executorLabel"]]
    if "container" not in executor:
        raise ValueError(
            f"{name} is a {next(iter(executor))}, expected a component that runs in a container: "
            "the open-source backend runs no Resolver"
        )
    inputs = component.get("inputDefinitions", {})
    outputs = component.get("outputDefinitions", {}).get("artifacts", {})
    # TFX: --executor_class_path PATH --json_serialized_invocation_args {{$}}
    # --json_serialized_inputs_spec_args JSON, then Beam's (kubeflow/v2/step_builder.py).
    args = executor["container"]["args"]
    return Node(
        name=name,
        executor=args[1],
        inputs={
            key: (
                given["taskOutputArtifact"]["producerTask"],
                given["taskOutputArtifact"]["outputArtifactKey"],
            )
            for key, given in task.get("inputs", {}).get("artifacts", {}).items()
        },
        input_types=_titles(inputs.get("artifacts", {})),
        output_types=_titles(outputs),
        upstream=tuple(task.get("dependentTasks", ())),
        beam_args=tuple(args[6:]),
        exec_properties={
            key: _typed(
                given["runtimeValue"]["constant"], inputs["parameters"][key]["parameterType"]
            )
            for key, given in task.get("inputs", {}).get("parameters", {}).items()
        },
    )


def _titles(artifacts: Mapping[str, Any]) -> dict[str, str]:
    """By key, out of the schema that TFX writes: nothing else of it survives on this backend.

    (backend/src/v2/metadata/client.go, SchemaToArtifactType)
    """
    return {
        key: yaml.safe_load(given["artifactType"]["instanceSchema"])["title"]
        for key, given in artifacts.items()
    }


def class_paths(titles: Mapping[str, str]) -> dict[str, str]:
    """Import paths of the artifacts' classes."""
    return {key: compiler_utils.TITLE_TO_CLASS_PATH[title] for key, title in titles.items()}


def _typed(value: Any, kind: str) -> Any:
    """Whole numbers again: JSON has floats only."""
    return int(value) if kind == "NUMBER_INTEGER" else value


def _in_order(unsorted: Sequence[Node]) -> Iterator[Node]:
    """Each behind those that it needs; a mapping of protobuf has no order of its own."""
    left = {node.name: node for node in sorted(unsorted, key=lambda node: node.name)}
    while left:
        for node in [node for node in left.values() if not left.keys() & set(node.upstream)]:
            yield left.pop(node.name)


def ancestors(graph: Sequence[Node], name: str) -> set[str]:
    """Names of the node and of all that it needs, directly or not."""
    by_name = {node.name: node for node in graph}
    return {name}.union(*(ancestors(graph, up) for up in by_name[name].upstream))
