"""Wires the whole pipeline, for any runner."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, NamedTuple

from tfx.components.evaluator.component import Evaluator
from tfx.components.example_validator.component import ExampleValidator
from tfx.components.statistics_gen.component import StatisticsGen
from tfx.components.trainer.component import Trainer
from tfx.components.transform.component import Transform
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import trainer_pb2, transform_pb2, tuner_pb2

from components.baseline_model import BaselineModel
from components.data_gate.data_gate import DataGate
from components.evaluation import eval_config, slice_extractor
from components.evaluation.release_gate import ReleaseGate
from components.example_gen.image_example_gen import ImageExampleGen
from components.example_gen.image_set import EVAL, TEST, TRAIN
from components.example_gen.schema import CuratedSchema
from components.pusher import AtomicPusher
from components.serving_check.serving_check import ServingCheck
from components.serving_dir.manifest import OVERRIDES
from pipeline.beam_runner import beam_arguments
from pipeline.executions import CODE
from pipeline.run_plan import RunPlan
from trainer import preprocessing, run_fn

_SPLITS_CONFIG = transform_pb2.SplitsConfig(analyze=[TRAIN], transform=[])


def create_pipeline(plan: RunPlan) -> Pipeline:
    """Creates the pipeline: data and its checks, training, the decision and the release.

    It has no `metadata_connection_config`, which TFX's own runners on one machine need:
    docs/architecture.md shows how to run it by one of them.
    """
    data = _data(plan)
    training = _training(plan, data)
    components = [*data, *filter(None, training), *_release(plan, data, training)]
    for node in components:
        if node.id in plan.code:  # no component reads it, but TFX's cache looks at every parameter
            node.exec_properties[CODE] = plan.code[node.id]
    slug = plan.dataset.slug
    return Pipeline(
        pipeline_name=f"tfx-mnist.{slug}",
        pipeline_root=str(plan.root / "artifacts" / slug),
        components=components,
        enable_cache=plan.config.cache,
        beam_pipeline_args=list(beam_arguments(plan.config.beam_args)),
    )


class _Data(NamedTuple):
    """The nodes that read the data and check them."""

    example_gen: Any
    schema_gen: Any
    statistics_gen: Any
    example_validator: Any
    baseline_model: Any
    data_gate: Any

    @property
    def examples(self) -> Any:
        return self.example_gen.outputs["examples"]

    @property
    def schema(self) -> Any:
        return self.schema_gen.outputs["schema"]


class _Training(NamedTuple):
    """The nodes that make a model; the Tuner is None where none was asked for."""

    transform: Any
    tuner: Any
    trainer: Any

    @property
    def model(self) -> Any:
        return self.trainer.outputs["model"]

    @property
    def hyperparameters(self) -> Any:
        return self.tuner and self.tuner.outputs["best_hyperparameters"]


def _data(plan: RunPlan) -> _Data:
    dataset, bounds = plan.dataset, plan.bounds
    example_gen = ImageExampleGen(
        dataset=dataset.to_json(),
        data_dir=plan.config.data_dir or "",
    ).with_id("ExampleGen")
    examples = example_gen.outputs["examples"]
    schema_gen = CuratedSchema(
        dataset=dataset.to_json(),
        min_mean_intensity=bounds.min_mean_intensity,
        max_mean_intensity=bounds.max_mean_intensity,
    )
    schema = schema_gen.outputs["schema"]
    statistics_gen = StatisticsGen(examples=examples, schema=schema)
    statistics = statistics_gen.outputs["statistics"]
    example_validator = ExampleValidator(statistics=statistics, schema=schema)
    baseline_model = BaselineModel(
        serving_dir=plan.serving_dir,
        baseline=plan.context.baseline,
    )
    data_gate = DataGate(
        examples=examples,
        statistics=statistics,
        anomalies=example_validator.outputs["anomalies"],
        schema=schema,
        released=plan.released_data,
        bounds=json.dumps(dataclasses.asdict(bounds), sort_keys=True),
    )
    return _Data(
        example_gen, schema_gen, statistics_gen, example_validator, baseline_model, data_gate
    )


def _training(plan: RunPlan, data: _Data) -> _Training:
    spec = plan.dataset.image_spec.to_config()
    transform = Transform(
        examples=data.examples,
        schema=data.schema,
        preprocessing_fn=_path(preprocessing.preprocessing_fn),
        splits_config=_SPLITS_CONFIG,
        materialize=False,
        disable_statistics=True,
        custom_config={"spec": spec},
    )
    # The Tuner and the Trainer are given the same.
    inputs = {
        "examples": data.examples,
        "transform_graph": transform.outputs["transform_graph"],
        "train_args": trainer_pb2.TrainArgs(splits=[TRAIN]),
        "eval_args": trainer_pb2.EvalArgs(splits=[EVAL]),
    }
    training = {
        "spec": spec,
        "hparams": plan.config.training.to_config(),
        "seed": plan.config.seed,
        "replicas": plan.config.replicas,
    }
    tuner = _tuner(plan, inputs, training) if plan.config.tuning.enabled else None
    trainer = Trainer(
        **inputs,
        hyperparameters=tuner and tuner.outputs["best_hyperparameters"],
        run_fn=_path(run_fn.run_fn),
        custom_config={
            **training,
            "code": plan.code["Trainer"],
            "workers": plan.workers,
            "checkpoints": str(plan.root / "checkpoints"),
        },
    )
    for node in filter(None, (transform, tuner, trainer)):
        node.add_upstream_node(data.data_gate)
    return _Training(transform, tuner, trainer)


def _release(plan: RunPlan, data: _Data, training: _Training) -> list[Any]:
    """Returns the nodes that evaluate, decide, serve and publish."""
    serving, baseline = plan.config.serving, data.baseline_model.outputs["model"]
    evaluator = Evaluator(
        examples=data.examples,
        example_splits=[TEST],
        model=training.model,
        baseline_model=baseline,
        eval_config=eval_config.eval_config(
            plan.policy,
            compared=plan.context.baseline is not None,
        ),
        module_path=slice_extractor.__name__,
    )
    release_gate = ReleaseGate(
        examples=data.examples,
        model=training.model,
        baseline_model=baseline,
        evaluation=evaluator.outputs["evaluation"],
        evaluator_blessing=evaluator.outputs["blessing"],
        policy=plan.policy,
        serving_dir=plan.serving_dir,
        damage=plan.context.damage,
    )
    serving_check = ServingCheck(
        model=training.model,
        blessing=release_gate.outputs["blessing"],
        examples=data.examples,
        evaluation=evaluator.outputs["evaluation"],
        max_p99_latency_ms=serving.max_p99_latency_ms,
        max_memory_mib=serving.max_memory_mib,
        model_server=serving.model_server,
    )
    pusher = AtomicPusher(
        model=training.model,
        examples=data.examples,
        hyperparameters=training.hyperparameters,
        data_blessing=data.data_gate.outputs["blessing"],
        model_blessing=release_gate.outputs["blessing"],
        infra_blessing=serving_check.outputs["infra_blessing"],
        serving_dir=plan.serving_dir,
        release=json.dumps(_release_record(plan), sort_keys=True, allow_nan=False),
        signing_key=serving.signing_key,
        public_key=serving.public_key,
        hold=plan.hold,
    ).with_id("Pusher")
    return [evaluator, release_gate, serving_check, pusher]


def _tuner(plan: RunPlan, inputs: dict[str, Any], training: dict[str, Any]) -> Any:
    from components.tuner.tuner import (
        Tuner,  # with keras-tuner and matplotlib, which others do without
    )
    from trainer.tuning import tuner_fn

    tuning = plan.config.tuning
    return Tuner(
        **inputs,
        tuner_fn=_path(tuner_fn.tuner_fn),
        tune_args=tuner_pb2.TuneArgs(num_parallel_trials=tuning.parallel_trials),
        custom_config={
            **training,
            "code": plan.code["Tuner"],
            "tuning": dataclasses.asdict(tuning),
            "searches": str(plan.root / "tuning"),
        },
    )


def _path(function: Any) -> str:
    return f"{function.__module__}.{function.__qualname__}"


def _release_record(plan: RunPlan) -> dict[str, Any]:
    """The part of the release record that is known before the run."""
    return {
        "run_id": plan.context.token,
        "release_token": plan.context.token,
        "run_key": plan.run_key,
        "preset": plan.config.preset,
        "seed": plan.config.seed,
        "training": plan.config.training.to_record(),
        "policy": plan.policy.to_config(),
        "card": dataclasses.asdict(plan.config.card),
        **({OVERRIDES: plan.overrides} if plan.overrides else {}),
    }
