"""The pipeline compiled for tests, as its two documents."""

import functools
from typing import Any

import yaml

from pipeline.runners.kubeflow.cluster import Mount, SecretVariable
from pipeline.runners.kubeflow.compiling import Compiled, CompileOptions, compile_pipeline
from pipeline.runners.kubeflow.spec import Deployment, Resources

OPTIONS = CompileOptions(
    deployment=Deployment(
        image="registry.example/tfx-mnist:1",
        pipeline_root="minio://mlpipeline/v2/artifacts",
        resources={"Trainer": Resources(gpus=1, cpus=4.0, memory_gb=8.0)},
    ),
    serving=Mount.parse("pvc://models/mnist"),
    data=Mount.parse("pvc://data"),
    secrets=(SecretVariable.parse("proxy:url=HTTPS_PROXY"),),
)


@functools.cache
def compiled() -> Compiled:
    """With all that can be asked for."""
    return compile_pipeline("quick", {"seed": 3, "gate.max_drop": "0.01"}, OPTIONS)


def documents(text: str = "") -> tuple[dict[str, Any], dict[str, Any]]:
    """(the pipeline, what Kubernetes adds)."""
    pipeline, platform = yaml.safe_load_all(text or compiled().text)
    return pipeline, platform
