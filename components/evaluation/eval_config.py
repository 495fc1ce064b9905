"""The Evaluator's configuration, and the evaluation that it writes, as values.

The Evaluator blesses a model whose accuracy is at least the floor. Every model that the gate
releases fulfils that, since there a lower bound of the accuracy has to reach the floor.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow_model_analysis as tfma
from google.protobuf import wrappers_pb2

# The messages themselves: tfma 0.52 has only some of them under its own name, and those only once
# TFX has put them there.
from tensorflow_model_analysis.proto import config_pb2, metrics_for_slice_pb2

from components.evaluation import gate_metrics
from components.evaluation.counting import Outcomes, from_outcomes, from_rows
from components.evaluation.mistakes import Mistakes
from components.gate.evidence import Evidence
from components.gate.policy import Policy
from components.gate.slices import Slices
from components.monitoring.counts import Summary
from trainer import features

CANDIDATE = "candidate"
BASELINE = "baseline"

_SliceKey = tuple[tuple[str, int | bytes], ...]  # ((feature, value), ...)
_Metrics = dict[str, metrics_for_slice_pb2.MetricValue]  # by name
_OVERALL: _SliceKey = ()


def eval_config(policy: Policy, *, compared: bool) -> config_pb2.EvalConfig:
    """TFMA's configuration: models, slices, metrics, and the floor of the accuracy.

    The models have the signatures `serving_examples` and `transform_features` of `trainer.export`.
    Slices need `components.evaluation.slice_extractor` in the Evaluator. With `compared`, the
    evaluation fails if it gets no baseline.
    """
    names = (CANDIDATE, BASELINE) if compared else (CANDIDATE,)
    keys = [features.LABEL, *map(str, policy.slices)]
    accuracy = config_pb2.MetricConfig(
        class_name=gate_metrics.GateEvidence.__name__,
        module=gate_metrics.__name__,
        config=json.dumps({"compared": compared}),
    )
    # Of all examples together; `MetricConfig.threshold` would hold for each slice.
    floor = accuracy.per_slice_thresholds.add(slicing_specs=[config_pb2.SlicingSpec()])
    floor.threshold.value_threshold.lower_bound.CopyFrom(
        wrappers_pb2.DoubleValue(value=policy.floor)
    )
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
            config_pb2.MetricsSpec(model_names=[CANDIDATE], metrics=[accuracy]),
        ],
    )


class Evaluation:
    """What the Evaluator wrote about the candidate, read once.

    A ValueError of a method says that the evaluation lacks a metric: another configuration made it.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._slices: dict[_SliceKey, _Metrics] = {}
        self._compared = False
        for record in tfma.load_metrics(uri):
            key = _slice_key(record)
            for item in record.metric_keys_and_values:
                # TFMA leaves the name out where there is one model only.
                if item.key.model_name in (CANDIDATE, "") and not item.key.is_diff:
                    self._slices.setdefault(key, {})[item.key.name] = item.value
                    self._compared = self._compared or item.key.model_name == CANDIDATE

    def evidence(self, class_names: Sequence[str], slices: Sequence[Slices]) -> Evidence:
        """Returns the counts; the slices are those of the configuration."""
        return from_outcomes(
            _outcomes(self._overall(gate_metrics.OUTCOMES)),
            {
                # A slice that holds no example is not in TFMA's output.
                name: _outcomes(
                    self._slices.get(((str(one), index),), {}).get(gate_metrics.OUTCOMES)
                )
                for one in slices
                for index, name in enumerate(one.names)
            },
            class_names=class_names,
            compared=self._compared,
            cross_entropy=_number(self._overall(gate_metrics.CROSS_ENTROPY)),
            top_2_accuracy=_number(self._overall(gate_metrics.TOP_2)),
        )

    def sampled_predictions(self) -> dict[str, np.ndarray]:
        """Returns the sample of the candidate's predictions, see `gate_metrics.sample_of`."""
        return gate_metrics.sample_of(self._bytes(gate_metrics.SAMPLE))

    def mistakes(self) -> Mistakes:
        """Returns the mistakes on all test images, which the report shows."""
        return Mistakes.from_bytes(self._bytes(gate_metrics.MISTAKES))

    def reference(self, num_classes: int) -> Summary:
        """Returns what a release records of the test split, see `components.monitoring`."""
        return gate_metrics.reference_of(self._bytes(gate_metrics.REFERENCE), num_classes)

    def model_location(self) -> str:
        """Returns which SavedModel was evaluated as the candidate: its directory."""
        written = json.loads(Path(self._uri, "eval_config.json").read_text())
        locations = written["modelLocations"]
        return str(locations[CANDIDATE] if CANDIDATE in locations else locations[""])

    def _bytes(self, metric: str) -> bytes:
        return bytes(self._overall(metric).bytes_value)

    def _overall(self, metric: str) -> metrics_for_slice_pb2.MetricValue:
        found = self._slices.get(_OVERALL, {}).get(metric)
        if found is None:
            raise ValueError(
                f"the evaluation in {self._uri} has no metric {metric!r}, expected that of an "
                f"Evaluator whose eval_config is made by {eval_config.__module__}.eval_config"
            )
        return found


def _slice_key(record: metrics_for_slice_pb2.MetricsForSlice) -> _SliceKey:
    return tuple(
        (part.column, part.int64_value if part.HasField("int64_value") else part.bytes_value)
        for part in record.slice_key.single_slice_keys
    )


def _outcomes(metric: metrics_for_slice_pb2.MetricValue | None) -> Outcomes:
    if metric is None:
        return Outcomes()
    array = metric.array_value
    width = array.shape[1]
    numbers = list(array.int64_values)
    return from_rows(numbers[at : at + width] for at in range(0, len(numbers), width))


def _number(value: metrics_for_slice_pb2.MetricValue) -> float:
    """NaN if TFMA recorded that there is no number."""
    return float(value.double_value.value) if value.HasField("double_value") else math.nan
