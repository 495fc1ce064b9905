"""The pipeline as YAML for the open-source backend of Kubeflow Pipelines.

Synopsis::

    Path("pipeline.yaml").write_text(compile_pipeline("quick", {}, options).text)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tfx
import yaml

from components.example_gen.image_set import DatasetInfo
from components.serving_dir import ReleaseContext
from pipeline import config
from pipeline.beam_runner import beam_arguments
from pipeline.code_keys import COMPONENTS
from pipeline.config_model import build
from pipeline.graph import create_pipeline
from pipeline.run_plan import RunPlan
from pipeline.runners.kubeflow import cluster, names, parameters, spec, topology
from pipeline.runners.kubeflow.cluster import Mount, SecretVariable
from pipeline.runners.kubeflow.spec import Deployment
from trainer.host.text import unknown

# Where a container writes what nobody needs afterwards, such as a prepared data set.
SCRATCH = "/tmp/tfx-mnist"


@dataclass(frozen=True)
class CompileOptions:
    """What the cluster needs to know beyond the configuration.

    Attributes:
      deployment: image, resources, retries, pipeline root.
      serving: the serving directory.
      data: tensorflow-datasets' directory, or where IDX folders lie; None for neither.
      secrets: environment of every task.
    """

    deployment: Deployment
    serving: Mount
    data: Mount | None = None
    secrets: tuple[SecretVariable, ...] = ()


@dataclass(frozen=True)
class Compiled:
    """A compiled pipeline.

    Attributes:
      text: two YAML documents: the pipeline, and what Kubernetes adds.
      tasks: names of its tasks, in an order in which they can run.
    """

    text: str
    tasks: list[str]


def compile_pipeline(
    preset: str, overrides: Mapping[str, Any], options: CompileOptions
) -> Compiled:
    """Compiles the graph for the cluster.

    Args:
      preset: the runtime parameters' defaults start from it.
      overrides: values by key, as `pipeline.config_model.build` takes them.

    Raises:
      ConfigError: an unknown key or a bad value; or no such task for a resource.
    """
    placed = {**overrides, "pipeline_root": SCRATCH, "serving_dir": options.serving.path}
    if options.data is not None:
        placed["data_dir"] = options.data.path
    defaults, settings = parameters.split(preset, placed)
    graph = topology.nodes(create_pipeline(_stand_in(build(preset, placed))))
    _require_tasks(options.deployment, [node.name for node in graph])
    documents = [
        spec.pipeline_spec(
            graph,
            defaults,
            settings,
            options.deployment,
            sdk_version=f"tfx-{tfx.__version__}",
        ),
        cluster.platform_spec(
            graph, serving=options.serving, data=options.data, secrets=options.secrets
        ),
    ]
    text = _header(defaults) + yaml.safe_dump_all(documents, sort_keys=True)
    return Compiled(text, spec.task_names(documents[0]))


def _stand_in(configured: config.RunConfig) -> RunPlan:
    """A plan that has the graph's shape; every value of it is replaced in the cluster."""
    return RunPlan(
        config=configured,
        dataset=DatasetInfo("none", "none", "0" * 64, (28, 28, 1), ("0", "1"), test_rows=1),
        serving_dir=configured.serving_dir or "",
        context=ReleaseContext(baseline=None, token=""),
        released_data="",
        run_key="",
        code=dict.fromkeys(COMPONENTS, ""),
        artifacts_dir="",
        checkpoints_dir="",
        searches_dir="",
        beam_args=beam_arguments(configured.beam_args),
    )


def _require_tasks(deployment: Deployment, nodes: list[str]) -> None:
    known = [names.PLAN, names.BASELINE, *nodes]
    for name in deployment.resources:
        if name not in known:
            raise config.ConfigError(unknown("component", name, known))


def _header(defaults: Mapping[str, parameters.Value]) -> str:
    """For people, as kfp's own compiler writes it."""
    lines = ["# PIPELINE DEFINITION", f"# Name: {names.PIPELINE_NAME}", "# Inputs:"]
    lines += [f"#    {p.name}: {defaults[p.name]!r} ({p.help})" for p in parameters.PARAMETERS]
    return "\n".join(lines) + "\n"
