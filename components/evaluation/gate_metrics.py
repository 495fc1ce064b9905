"""The counts that the gate decides by, as a metric of TFMA.

TFMA's own metrics look at one model at a time; this one pairs the candidate's predictions with the
baseline's. Its accuracy is a float64, so that a threshold on it is exact.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2

from components.evaluation.counting import Outcomes, count, tally, to_rows
from trainer import features

ACCURACY = "accuracy"
OUTCOMES = "outcomes"  # `counting.to_rows`, from which every count of the evidence follows


class ExactAccuracy(metric_types.Metric):  # type: ignore[misc]
    """`ACCURACY` and `OUTCOMES` over the examples of each slice.

    TFX's Evaluator drops the comparison without a word when it is given no baseline; with
    `compared`, this metric fails instead. `code`, a digest of this code, becomes a part of the
    Evaluator's configuration.
    """

    def __init__(self, compared: bool = False, code: str = "", name: str = ACCURACY) -> None:
        super().__init__(_computations, name=name, compared=compared, code=code)

    @property
    def compute_confidence_interval(self) -> bool:
        return False  # the gate has exact ones


metric_types.register_metric(ExactAccuracy)


def _computations(
    compared: bool,
    eval_config: config_pb2.EvalConfig,
    model_names: list[str] | None = None,
    **_: Any,
) -> list[metric_types.MetricComputation]:
    baseline = next((spec.name for spec in eval_config.model_specs if spec.is_baseline), None)
    if compared and baseline is None:
        raise ValueError(
            f"the metric {ACCURACY} compares with a baseline, and the Evaluator was given none"
        )
    (candidate,) = model_names or [""]
    combiner = _OutcomeCounter(candidate, baseline)
    return [
        metric_types.MetricComputation(keys=combiner.keys, preprocessors=None, combiner=combiner)
    ]


class _OutcomeCounter(beam.CombineFn):  # type: ignore[misc]
    def __init__(self, candidate: str, baseline: str | None) -> None:
        self._candidate = candidate
        self._baseline = baseline
        names = (ACCURACY, OUTCOMES)
        self.keys = [metric_types.MetricKey(name, model_name=candidate) for name in names]

    def create_accumulator(self) -> Outcomes:
        return Outcomes()

    def add_input(self, sums: Outcomes, element: metric_types.StandardMetricInputs) -> Outcomes:
        def probabilities(model: str) -> np.ndarray:
            return element.get_predictions(model)[features.PROBABILITIES][np.newaxis]  # [1, K]

        label = element.get_labels(self._candidate).argmax(keepdims=True)  # [K] one-hot -> [1]
        baseline = None if self._baseline is None else probabilities(self._baseline)
        sums.update(count(label, probabilities(self._candidate), baseline))
        return sums

    def merge_accumulators(self, parts: Iterable[Outcomes]) -> Outcomes:
        return sum(parts, Outcomes())

    def extract_output(self, sums: Outcomes) -> dict[metric_types.MetricKey, Any]:
        return dict(zip(self.keys, (tally(sums).accuracy, to_rows(sums)), strict=True))
