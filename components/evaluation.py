"""The Evaluator's configuration, and what it wrote, as values.

    config = eval_config(policy, num_classes=10)      # for TFX's Evaluator
    measured = read_evaluations(evaluation_uri, class_names)  # after it ran
    measured.candidate.accuracy

The thresholds of `pipeline.gate.Policy` go into TFMA's EvalConfig, so that the blessing is the
Evaluator's own; `read_decision` tells what TFMA decided with them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import tensorflow_model_analysis as tfma
from google.protobuf import wrappers_pb2

# The messages themselves: tfma 0.52 has only some of them under its own name, and those only once
# TFX has put them there.
from tensorflow_model_analysis.proto import config_pb2

from pipeline.gate import TOLERANCE, Evaluation, Policy
from trainer import features

CANDIDATE = "candidate"
BASELINE = "baseline"
TEST_SPLIT = "test"

ACCURACY = "categorical_accuracy"
_TOP_2 = "top_2_accuracy"
_CROSS_ENTROPY = "categorical_crossentropy"
_ROWS = "example_count"
_SliceKey = tuple[tuple[str, int | bytes], ...]  # ((feature, value), ...)
_OVERALL: _SliceKey = ()


@dataclasses.dataclass(frozen=True)
class Measured:
    """Both models on the same examples; `baseline` is None when nothing is served yet."""

    candidate: Evaluation
    baseline: Evaluation | None


def eval_config(policy: Policy, num_classes: int) -> config_pb2.EvalConfig:
    """TFMA's configuration: metrics, slices and the policy's thresholds.

    Accuracy over the examples of one class is that class's slice by the raw feature `label`. TFX's
    Evaluator takes the baseline out again when it is given none.
    """
    return config_pb2.EvalConfig(
        model_specs=[
            config_pb2.ModelSpec(
                name=name,
                is_baseline=name == BASELINE,
                signature_name=features.SERVING_EXAMPLES,
                preprocessing_function_names=[features.TRANSFORM_FEATURES],
                label_key=features.ONE_HOT_LABEL,
                prediction_key=features.PROBABILITIES,
            )
            for name in (CANDIDATE, BASELINE)
        ],
        slicing_specs=[
            config_pb2.SlicingSpec(),
            config_pb2.SlicingSpec(feature_keys=[features.LABEL]),
        ],
        metrics_specs=[
            config_pb2.MetricsSpec(
                metrics=[
                    config_pb2.MetricConfig(class_name="ExampleCount"),
                    _accuracy(policy, num_classes),
                    config_pb2.MetricConfig(
                        class_name="TopKCategoricalAccuracy",
                        config=f'{{"k": 2, "name": "{_TOP_2}"}}',
                    ),
                    _cross_entropy(policy),
                    config_pb2.MetricConfig(class_name="MultiClassConfusionMatrixPlot"),
                ]
            )
        ],
    )


def _accuracy(policy: Policy, num_classes: int) -> config_pb2.MetricConfig:
    change = config_pb2.GenericChangeThreshold(
        direction=config_pb2.MetricDirection.HIGHER_IS_BETTER,
        absolute=wrappers_pb2.DoubleValue(value=-policy.max_drop - TOLERANCE),
    )
    return config_pb2.MetricConfig(
        class_name="CategoricalAccuracy",
        # Not `threshold`: that one would hold for every slice.
        per_slice_thresholds=[
            config_pb2.PerSliceMetricThreshold(
                slicing_specs=[config_pb2.SlicingSpec()],
                threshold=config_pb2.MetricThreshold(
                    value_threshold=_at_least(policy.floor), change_threshold=change
                ),
            ),
            *(
                config_pb2.PerSliceMetricThreshold(
                    slicing_specs=[
                        config_pb2.SlicingSpec(feature_values={features.LABEL: str(label)})
                    ],
                    threshold=config_pb2.MetricThreshold(
                        value_threshold=_at_least(policy.class_floor)
                    ),
                )
                for label in range(num_classes)
            ),
        ],
    )


def _cross_entropy(policy: Policy) -> config_pb2.MetricConfig:
    at_most = config_pb2.GenericValueThreshold(
        upper_bound=wrappers_pb2.DoubleValue(value=policy.max_cross_entropy + TOLERANCE)
    )
    return config_pb2.MetricConfig(
        class_name="CategoricalCrossentropy",
        per_slice_thresholds=[
            config_pb2.PerSliceMetricThreshold(
                slicing_specs=[config_pb2.SlicingSpec()],
                threshold=config_pb2.MetricThreshold(value_threshold=at_most),
            )
        ],
    )


def _at_least(bound: float) -> config_pb2.GenericValueThreshold:
    return config_pb2.GenericValueThreshold(
        lower_bound=wrappers_pb2.DoubleValue(value=bound - TOLERANCE)
    )


def read_evaluations(evaluation_uri: str, class_names: Sequence[str]) -> Measured:
    """What the Evaluator measured.

    Args:
      evaluation_uri: directory of a ModelEvaluation artifact.
      class_names: in the order of the labels.

    Raises:
      KeyError: the evaluation lacks a metric or a class.
    """
    models = _metrics(evaluation_uri)
    if BASELINE not in models:
        (alone,) = models.values()  # TFMA leaves the name out where there is one model only
        return Measured(_evaluation(alone, class_names), None)
    candidate, baseline = (_evaluation(models[name], class_names) for name in (CANDIDATE, BASELINE))
    return Measured(candidate, baseline)


def read_metrics(evaluation_uri: str) -> dict[str, float]:
    """The candidate's metrics over the whole test split, for the release record."""
    models = _metrics(evaluation_uri)
    overall = models.get(CANDIDATE, next(iter(models.values())))[_OVERALL]
    return {
        "accuracy": _exact_accuracy(overall),
        _TOP_2: overall[_TOP_2],
        "cross_entropy": overall[_CROSS_ENTROPY],
    }


def read_decision(evaluation_uri: str) -> bool:
    """Whether TFMA found every threshold held."""
    return bool(tfma.load_validation_result(evaluation_uri).validation_ok)


def _exact_accuracy(metrics: Mapping[str, float]) -> float:
    """TFMA's accuracy is a float32; correct answers over rows is the number it stands for."""
    rows = metrics[_ROWS]
    accuracy = metrics[ACCURACY]
    return accuracy if math.isnan(accuracy) else round(accuracy * rows) / rows


def _evaluation(
    slices: Mapping[_SliceKey, Mapping[str, float]], class_names: Sequence[str]
) -> Evaluation:
    overall = slices[_OVERALL]
    by_class = {name: slices[((features.LABEL, label),)] for label, name in enumerate(class_names)}
    return Evaluation(
        rows=int(overall[_ROWS]),
        accuracy=_exact_accuracy(overall),
        top_2_accuracy=overall[_TOP_2],
        cross_entropy=overall[_CROSS_ENTROPY],
        by_class={name: _exact_accuracy(metrics) for name, metrics in by_class.items()},
        class_rows={name: int(metrics[_ROWS]) for name, metrics in by_class.items()},
    )


def _metrics(evaluation_uri: str) -> dict[str, dict[_SliceKey, dict[str, float]]]:
    """{model name: {slice: {metric name: value}}}; a metric without a number is NaN."""
    found: dict[str, dict[_SliceKey, dict[str, float]]] = {}
    for record in tfma.load_metrics(evaluation_uri):
        key = tuple(
            (part.column, part.int64_value if part.HasField("int64_value") else part.bytes_value)
            for part in record.slice_key.single_slice_keys
        )
        for item in record.metric_keys_and_values:
            if not item.key.is_diff:
                value = item.value
                number = value.double_value.value if value.HasField("double_value") else math.nan
                slices = found.setdefault(item.key.model_name, {})
                slices.setdefault(key, {})[item.key.name] = number
    return found
