"""The backend's own compiler makes of the YAML the workflow that Argo would run.

TFX_MNIST_KFP_COMPILER is a command that is given the YAML file, and does with it what the backend's
API server does with a run: `NewV2SpecTemplate` and `RunWorkflow` of kubeflow/pipelines,
backend/src/apiserver/template. It prints the workflow, or ends with an error. The golden file of
`test_compiling` keeps the YAML what it last accepted.
"""

import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.runners.kubeflow.container_task import COMMAND
from pipeline.runners.kubeflow.names import task_id
from tests.pipeline.runners.kubeflow.compiled import DEPLOYMENT, compiled, documents

COMPILER = shlex.split(os.environ.get("TFX_MNIST_KFP_COMPILER", ""))

pytestmark = pytest.mark.skipif(
    not COMPILER, reason="needs TFX_MNIST_KFP_COMPILER: docs/kubeflow.md"
)


def compile_by_backend(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = folder / "pipeline.yaml"
    path.write_text(text)
    return subprocess.run([*COMPILER, str(path)], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def workflow(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    done = compile_by_backend(compiled().text, tmp_path_factory.mktemp("backend"))
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)


@pytest.fixture(scope="module")
def templates(workflow) -> dict[str, dict[str, Any]]:
    return {template["name"]: template for template in workflow["spec"]["templates"]}


def _arguments(task: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one.get("value", "") for one in task["arguments"]["parameters"]}


@pytest.fixture(scope="module")
def told(workflow, templates) -> dict[str, dict[str, Any]]:
    """What each task's driver is told, by the task's id: of the container, of Kubernetes."""
    values = {
        f"{{{{workflow.parameters.{k}}}}}": v for k, v in _arguments(workflow["spec"]).items()
    }
    drivers = {
        task["name"].removesuffix("-driver"): _arguments(task)
        for task in templates["root"]["dag"]["tasks"]
        if task["name"].endswith("-driver")
    }
    return {
        name: {key: json.loads(values.get(given[key], "null")) for key in given if key in TOLD}
        for name, given in drivers.items()
    }


TOLD = ("container", "kubernetes-config")


def test_every_task_is_a_driver_and_a_container_of_the_image(told) -> None:
    containers = [one["container"] for one in told.values()]
    assert set(told) == {task_id(name) for name in compiled().tasks}
    assert {one["image"] for one in containers} == {DEPLOYMENT.image}
    assert all(one["command"] == COMMAND for one in containers)
    assert all(one["args"][-2:] == ["--executor-input", "{{$}}"] for one in containers)


def test_a_task_starts_when_those_before_it_have_ended_well(templates) -> None:
    starts = {task["name"]: task.get("depends", "") for task in templates["root"]["dag"]["tasks"]}
    for name, task in documents()[0]["root"]["dag"]["tasks"].items():
        before = {f"{one}.Succeeded" for one in task.get("dependentTasks", ())}
        assert set(filter(None, starts[f"{name}-driver"].split(" && "))) == before
        assert starts[name] == f"{name}-driver.Succeeded"


def test_the_run_starts_with_the_parameters_defaults(templates) -> None:
    driver, _ = templates["entrypoint"]["dag"]["tasks"]
    assert json.loads(_arguments(driver)["runtime-config"])["parameterValues"] == {
        "dataset": "mnist_sample",
        "preset": "quick",
        "seed": 3,
        "epochs": "",
        "floor": "",
    }


def test_the_trainer_alone_asks_for_resources(told) -> None:
    asked = {name: one["container"].get("resources") for name, one in told.items()}
    gpu = asked["trainer"]["accelerator"]
    assert (gpu["type"], gpu["count"]) == ("nvidia.com/gpu", "1")
    assert (asked["trainer"]["cpuLimit"], asked["trainer"]["memoryLimit"]) == (4, 8)
    assert {name for name, resources in asked.items() if resources} == {"trainer"}


def test_claims_secrets_and_the_runs_id_reach_the_drivers_and_each_pod_has_its_label(
    workflow, told
) -> None:
    kubernetes = {name: one["kubernetes-config"] for name, one in told.items()}
    mounts = {
        name: {(mount["constant"], mount["mountPath"]) for mount in one.get("pvcMount", ())}
        for name, one in kubernetes.items()
    }
    models, data = ("models", "/mnt/models"), ("data", "/mnt/data")
    assert mounts["plan"] == {models, data}
    assert {name for name, one in mounts.items() if models in one} == {
        *("plan", "baseline", "baseline-model", "release-gate", "pusher")
    }
    secret = {"secretName": "proxy", "keyToEnv": [{"secretKey": "url", "envVar": "HTTPS_PROXY"}]}
    run_id = {"name": "KFP_RUN_ID", "fieldPath": "metadata.labels['pipeline/runid']"}
    assert all(one["secretAsEnv"] == [secret] for one in kubernetes.values())
    assert all(one["fieldPathAsEnv"] == [run_id] for one in kubernetes.values())
    assert workflow["spec"]["podMetadata"]["labels"]["pipeline/runid"]


def test_each_task_is_tried_twice_more_after_30_seconds_and_longer(templates) -> None:
    for task in templates["root"]["dag"]["tasks"]:
        if not task["name"].endswith("-driver"):
            given = {k: v for k, v in _arguments(task).items() if k.startswith("retry-")}
            assert given == {
                "retry-max-count": "2",
                "retry-backoff-duration": "30",
                "retry-backoff-factor": "2",
                "retry-backoff-max-duration": "2592000",
            }
    assert templates["retry-system-container-impl"]["retryStrategy"]["backoff"] == {
        name: f"{{{{inputs.parameters.retry-backoff-{given}}}}}"
        for name, given in (
            ("duration", "duration"),
            ("factor", "factor"),
            ("maxDuration", "max-duration"),
        )
    }


def test_the_program_refuses_what_the_backend_cannot_run(tmp_path: Path) -> None:
    """So that the tests above would see it."""
    text = compiled().text.replace("taskOutputParameter", "noSuchField", 1)
    done = compile_by_backend(text, tmp_path)
    assert done.returncode != 0
    assert "pipeline spec is invalid" in done.stderr
