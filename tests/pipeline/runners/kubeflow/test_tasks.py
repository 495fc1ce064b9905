"""The two tasks that make the plan in the cluster, see docs/decisions/0020."""

import dataclasses
import json
from pathlib import Path

import pytest

from components.gate.check import GateRefused
from components.serving_dir import digest_of, publish
from pipeline.config import RunConfig
from pipeline.run_plan import find_dataset, plan_for
from pipeline.runners.kubeflow import tasks
from pipeline.runners.kubeflow.compiling import SCRATCH
from tests.components.serving_dir.samples import letter_model
from tests.pipeline.runners.kubeflow.compiled import compiled
from tests.pipeline.thirds import LOW_FLOOR
from trainer.hparams import HParams


@pytest.fixture
def config(thirds: str, tmp_path: Path) -> RunConfig:
    return RunConfig(
        dataset=thirds,
        pipeline_root=str(tmp_path / "root"),
        serving_dir=str(tmp_path / "serving"),
        training=HParams(per_replica_batch=32),
        gate=LOW_FLOOR,
    )


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return letter_model(tmp_path, "a")


def _release(config: RunConfig, model: Path, dataset_info: str) -> str:
    """Publishes the model as a run of this configuration would; gives its token."""
    plan = plan_for(config, find_dataset(config), run_id="run-1", takes_over=True)
    assert json.loads(dataset_info)["fingerprint"] == plan.dataset.fingerprint
    record = {"run_key": plan.run_key, "release_token": "run-1", "baseline": None}
    publish(model, Path(config.serving_dir), record)
    return "run-1"


def _token(values: dict[str, str]) -> str:
    return json.loads(json.loads(values["Pusher"])["release"])["release_token"]


def test_every_node_gets_its_parameters_and_the_data_set_is_described(config: RunConfig) -> None:
    values = tasks.plan_run(config, "run-1")
    assert len(values) == 12 + 1
    info = json.loads(values["dataset_info"])
    assert (info["image_shape"], info["test_rows"]) == ([12, 12, 1], 60)
    assert json.loads(values["ExampleGen"])["dataset"] == values["dataset_info"]


def test_nothing_changed_gives_the_same_texts_but_for_the_release(config: RunConfig) -> None:
    first, second = (tasks.plan_run(config, run_id) for run_id in ("run-1", "run-2"))
    assert {name for name in first if first[name] != second[name]} == {"Pusher"}


def test_other_data_change_what_reads_them(config: RunConfig) -> None:
    dataset = find_dataset(config)
    other = dataclasses.replace(dataset, fingerprint="1" * 64)
    texts = [
        tasks.exec_properties(plan_for(config, one, run_id="run-1", takes_over=True))
        for one in (dataset, other)
    ]
    assert {"ExampleGen"} <= {name for name in texts[0] if texts[0][name] != texts[1][name]}


def test_checkpoints_are_in_the_container_and_the_trainers_parameters_stay_the_same(
    config: RunConfig,
) -> None:
    """A volume would have to be mounted; the scratch directory is the same in every run."""
    placed = dataclasses.replace(config, pipeline_root=SCRATCH)
    plan = plan_for(placed, find_dataset(config), run_id="run-1", takes_over=True)
    trainer = json.loads(tasks.exec_properties(plan)["Trainer"])
    assert json.loads(trainer["custom_config"])["checkpoints"] == f"{SCRATCH}/checkpoints"


def test_the_same_model_again_takes_over_the_release_that_is_there(config, model) -> None:
    info = tasks.plan_run(config, "run-1")["dataset_info"]
    token = _release(config, model, info)
    again = tasks.choose_baseline(config, "run-2", dataset_info=info, model_digest=digest_of(model))
    assert _token(again) == token
    assert json.loads(again["BaselineModel"])["baseline_digest"] == ""


def test_another_model_of_the_same_run_is_compared_with_what_is_served(config, model) -> None:
    info = tasks.plan_run(config, "run-1")["dataset_info"]
    _release(config, model, info)
    other = tasks.choose_baseline(config, "run-2", dataset_info=info, model_digest="9f2c")
    assert _token(other) == "run-2"
    assert json.loads(other["BaselineModel"])["baseline_version"] == 1


def test_without_a_cache_no_release_is_taken_over(config, model) -> None:
    info = tasks.plan_run(config, "run-1")["dataset_info"]
    _release(config, model, info)
    fresh = tasks.choose_baseline(
        dataclasses.replace(config, cache=False),
        "run-2",
        dataset_info=info,
        model_digest=digest_of(model),
    )
    assert _token(fresh) == "run-2"


def test_a_served_model_that_cannot_be_read_is_refused_before_anything_runs(config) -> None:
    (Path(config.serving_dir) / "3").mkdir(parents=True)
    with pytest.raises(GateRefused, match=r"has no manifest\.json"):
        tasks.plan_run(config, "run-1")


def test_the_graph_in_the_cluster_is_the_graph_that_was_compiled(config: RunConfig) -> None:
    plan = plan_for(config, find_dataset(config), run_id="run-1", takes_over=True)
    assert tasks.exec_properties(plan).keys() == set(compiled().tasks) - {"Plan", "Baseline"}
