"""The graph as TFX compiles it: its order, and who sees what."""

import dataclasses
import json
from typing import Any

import pytest
from tfx.dsl.compiler import compiler
from tfx.orchestration import metadata
from tfx.utils import proto_utils

from components.evaluation import eval_config
from components.gate.policy import Policy
from pipeline.code_keys import COMPONENTS
from pipeline.config import RunConfig
from pipeline.graph import create_pipeline
from pipeline.run_plan import RunPlan, make_plan
from tests.pipeline.thirds import LOW_FLOOR
from trainer.features import ImageSpec
from trainer.hparams import HParams
from trainer.tuning.settings import TuningConfig


@pytest.fixture(scope="module")
def plan(thirds: str, tmp_path_factory: pytest.TempPathFactory) -> RunPlan:
    config = RunConfig(
        dataset=thirds,
        pipeline_root=str(tmp_path_factory.mktemp("graph")),
        seed=3,
        replicas=2,
        training=HParams(epochs=7, per_replica_batch=32),
        gate=LOW_FLOOR,
    )
    return make_plan(config, run_id="run-1")


@pytest.fixture(scope="module")
def nodes(plan: RunPlan) -> dict[str, Any]:
    return compiled(plan)


def compiled(plan: RunPlan) -> dict[str, Any]:
    """The intermediate representation's nodes by id, in its order."""
    pipeline = create_pipeline(plan)
    pipeline.metadata_connection_config = metadata.sqlite_metadata_connection_config(
        str(plan.config.metadata_path)
    )
    ir = compiler.Compiler().compile(pipeline)
    return {node.pipeline_node.node_info.id: node.pipeline_node for node in ir.nodes}


def parameter(node: Any, name: str) -> Any:
    return json.loads(node.parameters.parameters[name].field_value.string_value)


def readers(nodes: dict[str, Any], producer: str, output: str) -> set[str]:
    """Ids of the nodes that take this output as an input."""
    return {
        name
        for name, node in nodes.items()
        for given in node.inputs.inputs.values()
        for channel in given.channels
        if (channel.producer_node_query.id, channel.output_key) == (producer, output)
    }


def test_components_run_from_the_data_to_the_release(nodes: dict[str, Any]) -> None:
    order = list(nodes)
    assert set(order) == {
        *("ExampleGen", "CuratedSchema", "StatisticsGen", "ExampleValidator", "BaselineModel"),
        *("DataGate", "Transform", "Trainer", "Evaluator", "ReleaseGate", "ServingCheck", "Pusher"),
    }
    chain = ("ExampleGen", "StatisticsGen", "ExampleValidator", "DataGate", "Transform", "Trainer")
    release = ("Evaluator", "ReleaseGate", "ServingCheck", "Pusher")
    positions = [order.index(name) for name in (*chain, *release)]
    assert positions == sorted(positions)


def test_no_node_stands_before_one_that_it_needs(nodes: dict[str, Any]) -> None:
    seen: set[str] = set()
    for name, node in nodes.items():
        assert set(node.upstream_nodes) <= seen, name
        seen.add(name)


@pytest.mark.parametrize("name", ["Transform", "Trainer"])
def test_nothing_is_learned_before_the_data_gate_has_passed(
    nodes: dict[str, Any], name: str
) -> None:
    assert "DataGate" in nodes[name].upstream_nodes


def test_the_schema_has_the_bounds_of_the_data_gate(plan: RunPlan, nodes: dict[str, Any]) -> None:
    given = nodes["CuratedSchema"].parameters.parameters
    for name in ("min_mean_intensity", "max_mean_intensity"):
        assert given[name].field_value.double_value == getattr(plan.bounds, name)


def test_the_evaluators_blessing_goes_through_the_release_gate(nodes: dict[str, Any]) -> None:
    assert readers(nodes, "Evaluator", "blessing") == {"ReleaseGate"}
    assert readers(nodes, "ReleaseGate", "blessing") == {"ServingCheck", "Pusher"}


def test_the_pusher_has_the_blessing_of_every_gate(nodes: dict[str, Any]) -> None:
    given = {name for name in nodes["Pusher"].inputs.inputs if name.endswith("_blessing")}
    assert given == {"data_blessing", "model_blessing", "infra_blessing"}
    assert readers(nodes, "DataGate", "blessing") == {"Pusher"}
    assert readers(nodes, "ServingCheck", "infra_blessing") == {"Pusher"}


def test_the_baseline_is_what_the_gates_compare_with(nodes: dict[str, Any]) -> None:
    assert readers(nodes, "BaselineModel", "model") == {"Evaluator", "ReleaseGate"}
    assert "baseline_model" in nodes["Evaluator"].inputs.inputs


def test_the_release_gate_has_the_policy_that_the_evaluator_has(
    plan: RunPlan, nodes: dict[str, Any]
) -> None:
    assert Policy.from_config(parameter(nodes["ReleaseGate"], "policy")) == plan.policy
    config = parameter(nodes["Evaluator"], "eval_config")
    expected = eval_config.eval_config(plan.policy, compared=False)
    assert config == json.loads(proto_utils.proto_to_json(expected))


def test_only_checks_transform_trainer_and_the_release_read_the_examples(
    nodes: dict[str, Any],
) -> None:
    # DataGate and Pusher read what ExampleGen recorded on the artifact; both gates test as well.
    assert readers(nodes, "ExampleGen", "examples") == {
        *("StatisticsGen", "DataGate", "Transform", "Trainer", "Evaluator", "ReleaseGate"),
        *("ServingCheck", "Pusher"),
    }


def test_transform_learns_from_train_alone_and_writes_no_split(nodes: dict[str, Any]) -> None:
    splits = parameter(nodes["Transform"], "splits_config")
    assert splits == {"analyze": ["train"]}
    assert set(nodes["Transform"].outputs.outputs).isdisjoint({"transformed_examples"})
    flag = nodes["Transform"].parameters.parameters["disable_statistics"]
    assert flag.field_value.int_value == 1


def test_the_trainer_is_given_train_and_eval(nodes: dict[str, Any]) -> None:
    assert parameter(nodes["Trainer"], "train_args") == {"splits": ["train"]}
    assert parameter(nodes["Trainer"], "eval_args") == {"splits": ["eval"]}


def test_the_trainer_is_given_what_the_configuration_says(
    plan: RunPlan, nodes: dict[str, Any]
) -> None:
    given = parameter(nodes["Trainer"], "custom_config")
    assert (given["seed"], given["replicas"], given["code"]) == (3, 2, plan.code["Trainer"])
    assert given["hparams"] == HParams(epochs=7, per_replica_batch=32).to_config()
    assert given["spec"] == ImageSpec(plan.dataset.image_shape, ("0", "1", "2")).to_config()


def test_without_a_search_the_trainer_is_given_no_hyper_parameters(nodes: dict[str, Any]) -> None:
    assert "Tuner" not in nodes
    assert "hyperparameters" not in nodes["Trainer"].inputs.inputs


@pytest.fixture(scope="module")
def searching(plan: RunPlan) -> dict[str, Any]:
    """The nodes with a search."""
    tuning = TuningConfig(enabled=True, max_trials=4, parallel_trials=2)
    config = dataclasses.replace(plan.config, tuning=tuning)
    return compiled(make_plan(config, run_id="run-1"))


def test_the_search_stands_between_transform_and_trainer(searching: dict[str, Any]) -> None:
    assert {"DataGate", "Transform"} <= set(searching["Tuner"].upstream_nodes)
    assert readers(searching, "Tuner", "best_hyperparameters") == {"Trainer", "Pusher"}
    assert not readers(searching, "Evaluator", "evaluation") & {"Tuner"}


def test_the_search_is_given_train_and_eval_and_never_test(searching: dict[str, Any]) -> None:
    assert parameter(searching["Tuner"], "train_args") == {"splits": ["train"]}
    assert parameter(searching["Tuner"], "eval_args") == {"splits": ["eval"]}
    assert parameter(searching["Tuner"], "tune_args") == {"num_parallel_trials": 2}


def test_the_search_starts_from_what_the_trainer_is_given(searching: dict[str, Any]) -> None:
    tuner, trainer = (parameter(searching[name], "custom_config") for name in ("Tuner", "Trainer"))
    shared = {"spec", "hparams", "seed", "replicas"}
    assert set(tuner) == shared | {"code", "tuning", "searches"}
    assert {key: tuner[key] for key in shared} == {key: trainer[key] for key in shared}
    assert tuner["tuning"]["max_trials"] == 4


def test_the_evaluator_looks_at_test_alone(nodes: dict[str, Any]) -> None:
    assert parameter(nodes["Evaluator"], "example_splits") == ["test"]


def test_statistics_and_anomalies_leave_no_split_out(nodes: dict[str, Any]) -> None:
    for name in ("StatisticsGen", "ExampleValidator"):
        assert parameter(nodes[name], "exclude_splits") == []


def test_user_functions_are_named_by_their_path_and_not_packed_from_a_file(
    nodes: dict[str, Any],
) -> None:
    for name, key, path in (
        ("Transform", "preprocessing_fn", "trainer.preprocessing.preprocessing_fn"),
        ("Trainer", "run_fn", "trainer.run_fn.run_fn"),
    ):
        parameters = nodes[name].parameters.parameters
        assert parameters[key].field_value.string_value == path
        assert not parameters["module_file"].field_value.string_value


@pytest.mark.parametrize("name", COMPONENTS)
def test_every_node_that_runs_code_of_ours_has_its_key(
    plan: RunPlan, searching: dict[str, Any], name: str
) -> None:
    parameters = searching[name].parameters.parameters
    assert parameters["code"].field_value.string_value == plan.code[name]


def test_a_node_without_a_key_runs_no_code_of_ours(searching: dict[str, Any]) -> None:
    assert set(searching) - set(COMPONENTS) == {"StatisticsGen", "ExampleValidator"}


def test_the_pusher_holds_for_this_run_alone(plan: RunPlan) -> None:
    config = dataclasses.replace(plan.config, hold=True, reason="none needed")
    holding = dataclasses.replace(plan, config=config).compared("run-2")
    (pusher,) = (one for one in create_pipeline(holding).components if one.id == "Pusher")
    assert pusher.exec_properties["hold"] == "run-2"
    assert "overrides" not in json.loads(pusher.exec_properties["release"])
    assert holding.run_key == plan.run_key


def test_the_release_record_of_a_run_that_does_not_hold_is_that_of_before(plan: RunPlan) -> None:
    (pusher,) = (one for one in create_pipeline(plan).components if one.id == "Pusher")
    assert not pusher.exec_properties["hold"]
    assert "overrides" not in json.loads(pusher.exec_properties["release"])
