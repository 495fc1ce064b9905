"""The pipeline compiled for tests, as its two documents.

Writes the golden file after a change that is meant; read the difference::

    python -m tests.pipeline.runners.kubeflow.compiled
"""

import functools
from pathlib import Path
from typing import Any

import yaml

from pipeline.runners.kubeflow.compiling import Compiled, compile_pipeline
from pipeline.runners.kubeflow.deployment import Deployment, Mount, Resource, SecretVariable

GOLDEN = Path(__file__).with_name("golden.yaml")

DEPLOYMENT = Deployment(
    image="registry.example/tfx-mnist:1",
    pipeline_root="minio://mlpipeline/v2/artifacts",
    serving=Mount.parse("pvc://models/mnist"),
    data=Mount.parse("pvc://data"),
    secrets=(SecretVariable.parse("proxy:url=HTTPS_PROXY"),),
    resources=(
        Resource("gpus", 1, "Trainer"),
        Resource("cpus", 4.0, "Trainer"),
        Resource("memory_gb", 8.0, "Trainer"),
    ),
)


@functools.cache
def compiled() -> Compiled:
    """With all that can be asked for."""
    return compile_pipeline("quick", {"seed": 3, "gate.max_drop": "0.01"}, DEPLOYMENT)


def documents(text: str = "") -> tuple[dict[str, Any], dict[str, Any]]:
    """(the pipeline, what Kubernetes adds)."""
    pipeline, platform = yaml.safe_load_all(text or compiled().text)
    return pipeline, platform


def comparable() -> list[dict[str, Any]]:
    """The documents without kfp's version, and without what kfp 2.16 says once more in new fields.

    Those are of the resources; 2.5 does not know them.
    """
    pipeline, platform = documents()
    assert pipeline.pop("sdkVersion").startswith("kfp-2.")
    return [_without_newer_fields(pipeline), platform]


def _without_newer_fields(part: Any) -> Any:
    if isinstance(part, list):
        return [_without_newer_fields(one) for one in part]
    if not isinstance(part, dict):
        return part
    newer = ("resourceCpuLimit", "resourceMemoryLimit", "resourceType", "resourceCount")
    return {key: _without_newer_fields(one) for key, one in part.items() if key not in newer}


if __name__ == "__main__":
    GOLDEN.write_text(yaml.safe_dump_all(comparable(), default_flow_style=None, width=140))
