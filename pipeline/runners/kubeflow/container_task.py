"""One task of the compiled pipeline, as a container component of kfp.

Files in comments are those of kubeflow/pipelines, 2.14 to 2.17, unless kfp is named.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from kfp import dsl
from kfp.dsl.pipeline_task import PipelineTask

from pipeline.runners.kubeflow.deployment import Deployment
from pipeline.runners.kubeflow.names import PARAMETERS, RUN_ID_VARIABLE, TRAINER, TUNER, task_id

COMMAND = ["python", "-m", "pipeline.runners.kubeflow.entrypoint"]


def container_task(
    deployment: Deployment,
    name: str,
    args: Sequence[str],
    given: Mapping[str, Any],
    *,
    answers: Iterable[str],
    artifacts: Mapping[str, Any] | None = None,
    written: Iterable[str] = (),
    places: Collection[str],
    cached: bool,
) -> PipelineTask:
    """Makes a task that runs our entrypoint.

    Args:
      args: arguments of the command before the ExecutorInput.
      given: input parameters, each a value or the output of another task.
      answers: names of output parameters, all of them strings.
      artifacts: the artifacts that the task reads, by input key.
      written: output keys of the artifacts that the task writes.
      places: names of parameters that hold directories; the volume of each is mounted.
    """
    artifacts = artifacts or {}

    def container(*_: Any) -> dsl.ContainerSpec:
        # The backend's launcher, and kfp's local runner, put the ExecutorInput there.
        executor_input = dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER
        return dsl.ContainerSpec(
            image=deployment.image,
            command=COMMAND,
            args=[*args, "--executor-input", executor_input],
        )

    container.__name__ = task_id(name)
    container.__signature__ = signature(  # type: ignore[attr-defined]
        {
            **{key: PARAMETERS[key].kind if key in PARAMETERS else str for key in given},
            **dict.fromkeys(artifacts, dsl.Input[dsl.Artifact]),
            **dict.fromkeys(answers, dsl.OutputPath(str)),
            **dict.fromkeys(written, dsl.Output[dsl.Artifact]),
        }
    )
    task = dsl.container_component(container)(**given, **artifacts)
    task.set_display_name(name).set_caching_options(cached)
    if deployment.retries:
        # Of gates as well: a refusal completes its task, and only a lost check fails it. The
        # backend cannot tell a task that ends with a refusal from others (docs/kubeflow.md).
        task.set_retry(deployment.retries, "30s", 2.0)
    _ask_for_resources(task, name, deployment)
    task.platform_config["kubernetes"] = _executor_config(deployment, places)
    return task


def signature(
    kinds: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
) -> inspect.Signature:
    """Returns the signature from which kfp reads inputs and outputs."""
    return inspect.Signature(
        [
            inspect.Parameter(
                name,
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                annotation=kind,
                default=(defaults or {}).get(name, inspect.Parameter.empty),
            )
            for name, kind in kinds.items()
        ]
    )


def _ask_for_resources(task: PipelineTask, name: str, deployment: Deployment) -> None:
    asked = {
        one.kind: one.amount
        for one in deployment.resources
        if one.component == name or (not one.component and name in (TUNER, TRAINER))
    }
    if asked.get("cpus"):
        task.set_cpu_limit(f"{round(asked['cpus'] * 1000)}m")
    if asked.get("memory_gb"):
        task.set_memory_limit(f"{round(asked['memory_gb'] * 1e9)}")
    if asked.get("gpus"):
        # The type becomes the name of the Kubernetes resource.
        task.set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(int(asked["gpus"]))


def _executor_config(deployment: Deployment, places: Collection[str]) -> dict[str, Any]:
    """Returns a KubernetesExecutorConfig; kfp-kubernetes 1.0 (kfp 2.5) has no `fieldPathAsEnv`."""
    settings: dict[str, Any] = {
        # The backend labels each pod with the run's id, and tells it to no container otherwise
        # (backend/src/apiserver/template/v2_template.go, RunWorkflow).
        "fieldPathAsEnv": [
            {"name": RUN_ID_VARIABLE, "fieldPath": "metadata.labels['pipeline/runid']"}
        ]
    }
    mounts = {
        mount.claim: mount.root
        for mount, place in ((deployment.serving, "serving_dir"), (deployment.data, "data_dir"))
        if mount is not None and mount.claim and place in places
    }
    if mounts:
        settings["pvcMount"] = [
            {"constant": claim, "mountPath": root} for claim, root in sorted(mounts.items())
        ]
    if deployment.secrets:
        settings["secretAsEnv"] = [
            {"secretName": one.secret, "keyToEnv": [{"secretKey": one.key, "envVar": one.variable}]}
            for one in deployment.secrets
        ]
    return settings
