"""TFX's Evaluator with nothing but the sample of predictions."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorflow_model_analysis.proto import config_pb2
from tfx.components.evaluator import executor as evaluator
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import proto_utils

from components.evaluation import eval_config, prediction_sample
from pipeline.beam_runner import beam_arguments
from trainer import features


def examples_of(split_uri: str, path: Path) -> Any:
    """An Examples artifact below a new path whose split `test` is that directory."""
    path.mkdir()
    (path / "Split-test").symlink_to(split_uri)
    examples = standard_artifacts.Examples()
    examples.uri = str(path)
    examples.split_names = artifact_utils.encode_split_names([eval_config.TEST_SPLIT])
    examples.set_string_custom_property("payload_format", "FORMAT_TF_EXAMPLE")
    examples.set_string_custom_property("file_format", "tfrecords_gzip")
    return examples


def evaluate(examples: Any, models: Mapping[str, Any], path: Path, *, size: int) -> Any:
    """Runs the Evaluator; returns its ModelEvaluation.

    Args:
      examples: with the split `test`.
      models: Model artifacts by `evaluation.CANDIDATE` and, if compared, `evaluation.BASELINE`.
      path: where it writes.
      size: of the sample.
    """
    sample = config_pb2.MetricConfig(
        class_name=prediction_sample.PredictionSample.__name__,
        module=prediction_sample.__name__,
        config=json.dumps({"size": size}),
    )
    config = config_pb2.EvalConfig(
        model_specs=[
            config_pb2.ModelSpec(
                name=name,
                is_baseline=name == eval_config.BASELINE,
                signature_name=features.SERVING_EXAMPLES,
                preprocessing_function_names=[features.TRANSFORM_FEATURES],
                label_key=features.ONE_HOT_LABEL,
                prediction_key=features.PROBABILITIES,
            )
            for name in models
        ],
        slicing_specs=[
            config_pb2.SlicingSpec(),
            config_pb2.SlicingSpec(feature_keys=[features.LABEL]),
        ],
        metrics_specs=[config_pb2.MetricsSpec(metrics=[sample])],
    )
    measured, blessing = standard_artifacts.ModelEvaluation(), standard_artifacts.ModelBlessing()
    measured.uri, blessing.uri = str(path / "evaluation"), str(path / "blessing")
    context = base_beam_executor.BaseBeamExecutor.Context(
        beam_pipeline_args=list(beam_arguments(())), tmp_dir=str(path / "tmp"), unique_id="1"
    )
    evaluator.Executor(context).Do(
        {
            "examples": [examples],
            "model": [models[eval_config.CANDIDATE]],
            "baseline_model": [models[name] for name in models if name == eval_config.BASELINE],
        },
        {"evaluation": [measured], "blessing": [blessing]},
        {
            "eval_config": proto_utils.proto_to_json(config),
            "example_splits": json.dumps([eval_config.TEST_SPLIT]),
        },
    )
    return measured
