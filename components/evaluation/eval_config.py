"""The Evaluator's configuration, and what it wrote, as values.

    config = eval_config(policy, compared=True, code=digest)  # for TFX's Evaluator
    evidence = read_evidence(uri, class_names, policy.slices)  # after it ran

What TFMA can decide stands as thresholds in the EvalConfig: the floor, the cross-entropy and,
against a served model, both paired tests (`gate_metrics`). What it cannot (families of
tests, the budget of the test set, integrity) is `release_gate`'s.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import tensorflow_model_analysis as tfma
from google.protobuf import wrappers_pb2

# The messages themselves: tfma 0.52 has only some of them under its own name, and those only once
# TFX has put them there.
from tensorflow_model_analysis.proto import config_pb2, metrics_for_slice_pb2

from components.evaluation import gate_metrics, prediction_sample
from components.gate.decide import TOLERANCE
from components.gate.evidence import Evidence, Tally
from components.gate.policy import Policy
from components.gate.slices import Bands
from trainer import features

CANDIDATE = "candidate"
BASELINE = "baseline"
TEST_SPLIT = "test"

_TOP_2 = "top_2_accuracy"
_CROSS_ENTROPY = "categorical_crossentropy"
_SliceKey = tuple[tuple[str, int | bytes], ...]  # ((feature, value), ...)
_Metrics = dict[str, metrics_for_slice_pb2.MetricValue]  # by name
_OVERALL: _SliceKey = ()


def eval_config(policy: Policy, *, compared: bool, code: str) -> config_pb2.EvalConfig:
    """TFMA's configuration: metrics, slices, and those of the policy's checks that it can decide.

    The examples of a class are its slice by the raw feature `label`; other slices need the module
    `components.evaluation.slice_bands` in the Evaluator.

    Args:
      policy: as the first decision on a test set holds it; `release_gate` asks a later
        one for more confidence.
      compared: whether there will be a baseline. It is said here, and not left to TFX's Evaluator,
        which drops what concerns a baseline without a word when it is given none.
      code: a digest of the code that counts. TFX's Evaluator has no parameter for it, and its cache
        would not see a change.
    """
    names = (CANDIDATE, BASELINE) if compared else (CANDIDATE,)
    keys = [features.LABEL, *map(str, policy.slices)]
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
            for name in names
        ],
        slicing_specs=[
            config_pb2.SlicingSpec(),
            *(config_pb2.SlicingSpec(feature_keys=[key]) for key in keys),
        ],
        metrics_specs=[
            config_pb2.MetricsSpec(
                model_names=[CANDIDATE],
                metrics=[
                    config_pb2.MetricConfig(
                        class_name="TopKCategoricalAccuracy",
                        config=json.dumps({"k": 2, "name": _TOP_2}),
                    ),
                    config_pb2.MetricConfig(
                        class_name="CategoricalCrossentropy",
                        per_slice_thresholds=_overall(most=policy.max_cross_entropy + TOLERANCE),
                    ),
                    config_pb2.MetricConfig(
                        class_name="PredictionSample", module=prediction_sample.__name__
                    ),
                    _gate_metric("PairedCounts", code=code),
                    _gate_metric(
                        "AccuracyLowerBound",
                        confidence=1.0 - policy.release_alpha(1),
                        least=policy.floor,
                    ),
                    *(_paired_metrics(policy) if compared else ()),
                ],
            ),
        ],
    )


def _paired_metrics(policy: Policy) -> list[config_pb2.MetricConfig]:
    return [
        _gate_metric("BetterByChance", most=policy.release_alpha(1))
        if policy.must_improve
        # The policy asks for more than alpha, TFMA's bounds are inclusive.
        else _gate_metric("WorseByChance", least=math.nextafter(policy.alpha, 1.0)),
        _gate_metric(
            "LossUpperBound",
            confidence=1.0 - policy.release_alpha(1),
            max_drop=policy.max_drop,
            most=policy.max_drop,
        ),
    ]


def _gate_metric(
    class_name: str,
    *,
    least: float | None = None,
    most: float | None = None,
    **arguments: float | str,
) -> config_pb2.MetricConfig:
    return config_pb2.MetricConfig(
        class_name=class_name,
        module=gate_metrics.__name__,
        config=json.dumps(arguments),
        per_slice_thresholds=_overall(least, most),
    )


def _overall(
    least: float | None = None, most: float | None = None
) -> list[config_pb2.PerSliceMetricThreshold]:
    """Inclusive bounds that hold for all examples together, and not, as `threshold`, per slice."""
    if least is None and most is None:
        return []
    bounds = config_pb2.GenericValueThreshold(
        lower_bound=None if least is None else wrappers_pb2.DoubleValue(value=least),
        upper_bound=None if most is None else wrappers_pb2.DoubleValue(value=most),
    )
    return [
        config_pb2.PerSliceMetricThreshold(
            slicing_specs=[config_pb2.SlicingSpec()],
            threshold=config_pb2.MetricThreshold(value_threshold=bounds),
        )
    ]


def read_evidence(
    evaluation_uri: str, class_names: Sequence[str], slices: Sequence[Bands] = ()
) -> Evidence:
    """What the Evaluator counted, for `components.gate.decide.decide`.

    Args:
      evaluation_uri: directory of a ModelEvaluation artifact.
      class_names: in the order of the labels.
      slices: those of the configuration.

    Raises:
      KeyError: the evaluation lacks a metric: another configuration made it.
    """
    models = _metrics(evaluation_uri)
    # TFMA leaves the name out where there is one model only.
    compared = CANDIDATE in models
    candidate = models[CANDIDATE if compared else ""]
    overall = candidate[_OVERALL]
    by_label = [candidate.get(((features.LABEL, label),)) for label in range(len(class_names))]
    return Evidence(
        overall=_tally(overall),
        classes=dict(zip(class_names, map(_tally, by_label), strict=True)),
        slices={
            name: _tally(candidate.get(((str(bands), index),)))
            for bands in slices
            for index, name in enumerate(bands.names)
        },
        cross_entropy=_number(overall[_CROSS_ENTROPY]),
        top_2_accuracy=_number(overall[_TOP_2]),
        not_finite=_count(overall, gate_metrics.NOT_FINITE),
        compared=compared,
        confusion=tuple(_answers(metrics, len(class_names)) for metrics in by_label),
    )


def model_location(evaluation_uri: str) -> str:
    """Directory of the SavedModel that was evaluated as the candidate, as TFMA wrote it down."""
    written = json.loads(Path(evaluation_uri, "eval_config.json").read_text())
    locations = written["modelLocations"]
    return str(locations[CANDIDATE] if CANDIDATE in locations else locations[""])


def _tally(metrics: _Metrics | None) -> Tally:
    """A slice that no example falls into is not in TFMA's output at all."""
    if metrics is None:
        return Tally(rows=0, correct=0)
    return Tally(
        rows=_count(metrics, gate_metrics.ROWS),
        correct=_count(metrics, gate_metrics.CORRECT),
        lost=_count(metrics, gate_metrics.LOST),
        gained=_count(metrics, gate_metrics.GAINED),
    )


def _answers(metrics: _Metrics | None, num_classes: int) -> tuple[int, ...]:
    """How often each class was the answer."""
    given = () if metrics is None else metrics[gate_metrics.ANSWERS].array_value.int64_values
    return (*given, *[0] * (num_classes - len(given)))


def _count(metrics: _Metrics, name: str) -> int:
    return int(_number(metrics[name]))


def _number(value: metrics_for_slice_pb2.MetricValue) -> float:
    """NaN where TFMA wrote down that there is none."""
    return float(value.double_value.value) if value.HasField("double_value") else math.nan


def _metrics(evaluation_uri: str) -> dict[str, dict[_SliceKey, _Metrics]]:
    """{model name: {slice: its metrics}}."""
    found: dict[str, dict[_SliceKey, _Metrics]] = {}
    for record in tfma.load_metrics(evaluation_uri):
        key = tuple(
            (part.column, part.int64_value if part.HasField("int64_value") else part.bytes_value)
            for part in record.slice_key.single_slice_keys
        )
        for item in record.metric_keys_and_values:
            if not item.key.is_diff:
                slices = found.setdefault(item.key.model_name, {})
                slices.setdefault(key, {})[item.key.name] = item.value
    return found
