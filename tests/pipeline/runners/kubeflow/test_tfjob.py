"""The manifest in docs/distributed.md, by the training operator's published definitions."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from kubeflow import training

from pipeline.cli.configuration import Given
from tests.pipeline.cli.parsing import parsed

DOC = Path(__file__).parents[4] / "docs" / "distributed.md"


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    texts = re.findall(r"```yaml\n(.*?)```", DOC.read_text(), flags=re.DOTALL)
    (loaded,) = (
        job for text in texts for job in yaml.safe_load_all(text) if job["kind"] == "TFJob"
    )
    assert loaded["apiVersion"] == "kubeflow.org/v1"
    return loaded


def replicas(manifest: dict[str, Any]) -> dict[str, Any]:
    return manifest["spec"]["tfReplicaSpecs"]


def test_every_field_is_one_that_the_operator_and_kubernetes_know(manifest):
    codec = training.ApiClient()
    job = codec.deserialize(SimpleNamespace(data=json.dumps(manifest)), "KubeflowOrgV1TFJob")
    assert codec.sanitize_for_serialization(job) == manifest


def test_it_keeps_the_rules_that_the_definitions_do_not_write_down(manifest):
    # kubeflow/training-operator, pkg/webhooks/tensorflow/tfjob_webhook.go and
    # pkg/apis/kubeflow.org/v1/common_types.go and tensorflow_types.go
    assert re.fullmatch("[a-z]([-a-z0-9]*[a-z0-9])?", manifest["metadata"]["name"])
    assert set(replicas(manifest)) == {"Chief", "Worker"}
    assert replicas(manifest)["Chief"]["replicas"] == 1
    assert manifest["spec"]["runPolicy"]["cleanPodPolicy"] in {"All", "Running", "None"}
    assert manifest["spec"]["runPolicy"]["backoffLimit"] > 0  # or a refused run never ends
    for replica in replicas(manifest).values():
        assert replica["restartPolicy"] in {"Always", "OnFailure", "Never", "ExitCode"}
        (container,) = replica["template"]["spec"]["containers"]
        assert container["name"] == "tensorflow"
        volumes = {volume["name"] for volume in replica["template"]["spec"]["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes


def test_its_containers_share_the_pipeline_root_and_their_commands_are_ours(manifest):
    options = {}
    for name, replica in replicas(manifest).items():
        (container,) = replica["template"]["spec"]["containers"]
        program, *words = container["command"]
        assert program == "tfx-mnist"
        options[name] = parsed(*words)
    chiefs = dict(options["Chief"].ensure_object(Given).overrides)
    assert chiefs["pipeline_root"] == str(options["Worker"].params["pipeline_root"])
