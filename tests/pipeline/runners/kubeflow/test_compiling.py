"""The compiled YAML: against a golden file, against the published messages, and by what it asks."""

import json

import pytest
import yaml
from google.protobuf import json_format
from kfp.kubernetes import kubernetes_executor_config_pb2
from kfp.pipeline_spec import pipeline_spec_pb2

from pipeline.runners.kubeflow.compiling import compile_pipeline
from pipeline.runners.kubeflow.names import task_name
from tests.pipeline.runners.kubeflow.compiled import (
    DEPLOYMENT,
    GOLDEN,
    comparable,
    compiled,
    documents,
)

NODES = {
    *("ExampleGen", "CuratedSchema", "StatisticsGen", "ExampleValidator", "BaselineModel"),
    *("DataGate", "Transform", "Trainer", "Evaluator", "ReleaseGate", "ServingCheck", "Pusher"),
}


@pytest.fixture(scope="module")
def pipeline():
    return documents()[0]


@pytest.fixture(scope="module")
def platform():
    return documents()[1]


@pytest.fixture(scope="module")
def tasks(pipeline):
    return _tasks(pipeline)


def _tasks(pipeline):
    """By name, which the backend shows; kfp makes ids of them, such as "example-gen"."""
    return {task["taskInfo"]["name"]: task for task in pipeline["root"]["dag"]["tasks"].values()}


def test_it_is_the_golden_file() -> None:
    assert comparable() == list(yaml.safe_load_all(GOLDEN.read_text()))


def test_it_is_a_pipeline_spec_of_schema_2_1_0(pipeline) -> None:
    message = json_format.ParseDict(pipeline, pipeline_spec_pb2.PipelineSpec())
    assert message.schema_version == "2.1.0"
    assert message.default_pipeline_root == "minio://mlpipeline/v2/artifacts"


def test_what_kubernetes_adds_is_what_its_message_knows(platform) -> None:
    known = kubernetes_executor_config_pb2.KubernetesExecutorConfig.DESCRIPTOR.fields_by_name
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for config in executors.values():
        # kfp-kubernetes 1.0, of the older generation, is older than this field.
        given = {
            key: value
            for key, value in config.items()
            if key != "fieldPathAsEnv" or "field_path_as_env" in known
        }
        json_format.ParseDict(given, kubernetes_executor_config_pb2.KubernetesExecutorConfig())


def test_backend_runs_no_resolver_so_every_executor_is_a_container(pipeline) -> None:
    executors = pipeline["deploymentSpec"]["executors"]
    assert len(executors) == len(NODES) + 2
    assert {tuple(executor) for executor in executors.values()} == {("container",)}
    assert {e["container"]["image"] for e in executors.values()} == {DEPLOYMENT.image}


def test_the_graph_is_the_local_runs_and_two_tasks_that_plan(tasks) -> None:
    assert set(tasks) == {*NODES, "Plan", "Baseline"}
    assert compiled().tasks[0] == "Plan"
    assert compiled().tasks[-1] == "Pusher"
    assert compiled().tasks.index("Baseline") > compiled().tasks.index("Trainer")


def test_server_refuses_a_run_without_values_so_every_parameter_has_a_default(pipeline) -> None:
    parameters = pipeline["root"]["inputDefinitions"]["parameters"]
    assert {name: given["defaultValue"] for name, given in parameters.items()} == {
        "dataset": "mnist_sample",
        "preset": "quick",
        "seed": 3,
        "epochs": "",
        "floor": "",
    }


def test_every_input_of_a_task_is_filled_in_and_no_other(pipeline, tasks) -> None:
    for name, task in tasks.items():
        component = pipeline["components"][task["componentRef"]["name"]]
        for kind in ("parameters", "artifacts"):
            declared = component["inputDefinitions"].get(kind, {})
            assert set(task["inputs"].get(kind, {})) == set(declared), (name, kind)


def test_a_change_of_the_data_is_seen_since_each_nodes_values_come_from_a_task_never_cached(
    tasks,
) -> None:
    planners = {
        name: tasks[name]["inputs"]["parameters"]["exec_properties"]["taskOutputParameter"]
        for name in NODES
    }
    behind = {"BaselineModel", "Evaluator", "ReleaseGate", "ServingCheck", "Pusher"}
    for name, planner in planners.items():
        expected = "baseline" if name in behind else "plan"
        assert planner == {"producerTask": expected, "outputParameterKey": name}
    cached = {name for name, task in tasks.items() if task["cachingOptions"]}
    assert cached == NODES


def test_the_yaml_holds_no_value_of_a_run(pipeline) -> None:
    """Settings alone are compiled in: the same upload serves every data set and every state."""
    tasks = _tasks(pipeline)
    for name in ("Plan", "Baseline"):
        given = tasks[name]["inputs"]["parameters"]["settings"]
        assert json.loads(given["runtimeValue"]["constant"]) == {
            "gate.max_drop": "0.01",
            "pipeline_root": "/tmp/tfx-mnist",
            "serving_dir": "/mnt/models/mnist",
            "data_dir": "/mnt/data",
        }
    assert "runtimeValue" not in json.dumps([tasks[name] for name in NODES])


def test_tasks_behind_a_gate_get_its_refusal(tasks) -> None:
    behind = {
        name: {key for key in task["inputs"]["parameters"] if key.startswith("refusal_")}
        for name, task in tasks.items()
    }
    assert behind["Transform"] == behind["Trainer"] == {"refusal_DataGate"}
    assert behind["ServingCheck"] == {"refusal_ReleaseGate"}
    assert behind["Pusher"] == {"refusal_DataGate", "refusal_ReleaseGate", "refusal_ServingCheck"}


def test_each_task_that_fails_is_tried_again_gates_too_since_their_no_is_no_failure(tasks) -> None:
    assert {task["retryPolicy"]["maxRetryCount"] for task in tasks.values()} == {2}


def test_a_task_that_trained_for_days_is_tried_again_too(tasks) -> None:
    """Argo counts the longest time for retries from the start of the first attempt."""
    days = {
        float(task["retryPolicy"]["backoffMaxDuration"].removesuffix("s")) / 86400
        for task in tasks.values()
    }
    assert days == {30}


def test_a_search_stands_behind_the_data_gate_and_tells_training_and_release() -> None:
    text = compile_pipeline("quick", {"tuning.enabled": True}, DEPLOYMENT).text
    tasks = _tasks(documents(text)[0])
    assert set(tasks) == {*NODES, "Plan", "Baseline", "Tuner"}
    assert tasks["Tuner"]["inputs"]["parameters"] == {
        name: {"taskOutputParameter": {"producerTask": producer, "outputParameterKey": output}}
        for name, producer, output in (
            ("exec_properties", "plan", "Tuner"),
            ("refusal_DataGate", "data-gate", "refusal"),
        )
    }
    found = {"producerTask": "tuner", "outputArtifactKey": "best_hyperparameters"}
    assert {
        name
        for name, task in tasks.items()
        if {"taskOutputArtifact": found} in task["inputs"].get("artifacts", {}).values()
    } == {"Trainer", "Pusher"}


def test_resources_and_gpus_are_asked_for_the_trainer_alone() -> None:
    pipeline, _ = comparable()
    asked = {
        name: executor["container"]["resources"]
        for name, executor in pipeline["deploymentSpec"]["executors"].items()
        if "resources" in executor["container"]
    }
    assert asked == {
        "exec-trainer": {
            "cpuLimit": 4.0,
            "memoryLimit": 8.0,
            "accelerator": {"type": "nvidia.com/gpu", "count": "1"},
        }
    }


@pytest.mark.parametrize("trains", [["Trainer"], ["Tuner", "Trainer"]], ids=len)
def test_where_the_pixels_lie_is_said_to_what_trains_and_stands_in_none_of_its_parameters(
    trains: list[str],
) -> None:
    overrides = {"seed": 3, "gate.max_drop": "0.01", "tuning.enabled": "Tuner" in trains}
    plain, _ = documents(compile_pipeline("quick", overrides, DEPLOYMENT).text)
    text = compile_pipeline("quick", {**overrides, "training.input": "stream"}, DEPLOYMENT).text
    other, _ = documents(text)
    executors = other["deploymentSpec"]["executors"]
    tasks, as_before = _tasks(other), _tasks(plain)
    for name in trains:
        variable = {"name": "TFX_MNIST_INPUT", "value": "stream"}
        assert executors[f"exec-{name.lower()}"]["container"].pop("env") == [variable]
        assert tasks[name] == as_before[name]
    assert executors == plain["deploymentSpec"]["executors"]


def test_the_serving_claim_is_mounted_where_it_is_read_or_written(platform) -> None:
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    mounted = {
        task_name(name.removeprefix("exec-")): [
            mount["constant"] for mount in config.get("pvcMount", ())
        ]
        for name, config in executors.items()
    }
    assert {name for name, claims in mounted.items() if "models" in claims} == {
        *("Plan", "Baseline", "BaselineModel", "ReleaseGate", "Pusher")
    }
    assert {name for name, claims in mounted.items() if "data" in claims} == {"Plan", "ExampleGen"}


def test_secrets_come_from_kubernetes_and_stand_in_no_argument(pipeline, platform) -> None:
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    secret = {
        "secretName": "proxy",
        "keyToEnv": [{"secretKey": "url", "envVar": "HTTPS_PROXY"}],
    }
    assert all(config["secretAsEnv"] == [secret] for config in executors.values())
    assert "HTTPS_PROXY" not in json.dumps(pipeline)


def test_people_find_the_parameters_at_the_top() -> None:
    lines = compiled().text.splitlines()
    assert lines[:2] == ["# PIPELINE DEFINITION", "# Name: tfx-mnist"]
    assert any(line.startswith("#    seed: int [Default: 3") for line in lines)


def test_the_ui_says_what_each_parameter_is(pipeline) -> None:
    seed = pipeline["root"]["inputDefinitions"]["parameters"]["seed"]
    assert seed["description"] == "of weights, order and augmentation"
