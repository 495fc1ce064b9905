"""The gate's counts and bounds as TFMA metrics: paired over both models, thresholds apply.

    MetricConfig(class_name="PairedCounts", module="components.evaluation.gate_metrics")
    MetricConfig(class_name="AccuracyLowerBound", module=..., config='{"confidence": 0.9976}')

TFMA's own metrics look at one model, and its validator at point values. `PairedCounts` counts over
the examples of a slice what `gate.evidence.Tally` holds; the other metrics are bounds and
p-values derived from it by `components.gate.statistics`, so that a plain threshold on them is the
policy's check. All belong to the candidate. An example's answer is its most probable class.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2

from components.gate import statistics
from trainer import features

# Names of `PairedCounts`' metrics, in the order of its accumulator.
ROWS, CORRECT, LOST, GAINED, NOT_FINITE = COUNTS = (
    "rows",
    "correct",
    "lost",  # the baseline alone is right; 0 without one
    "gained",  # the candidate alone is right; 0 without a baseline
    "not_finite",  # a probability of the candidate is NaN or infinite
)
# One more metric of `PairedCounts`, [up to K] int64: how often each class was the candidate's
# answer, and so, over the examples of one label, a row of the confusion matrix. It ends at the last
# class that was an answer: the counts of the classes after that one are 0.
ANSWERS = "answers"

_Counts = tuple[Counter[str], Counter[int]]  # of `COUNTS`, and of the answers
_Bound = Callable[[Mapping[str, int]], float]


class _PairedCounter(beam.CombineFn):  # type: ignore[misc]
    """Adds up `COUNTS` and the answers over a slice."""

    def __init__(self, candidate: str, baseline: str | None) -> None:
        self._candidate = candidate
        self._baseline = baseline

    def create_accumulator(self) -> _Counts:
        return Counter(), Counter()

    def add_input(self, sums: _Counts, element: metric_types.StandardMetricInputs) -> _Counts:
        counts, answers = sums
        answer, right = self._answer(element, self._candidate)
        counts[ROWS] += 1
        counts[CORRECT] += right
        if answer is None:
            counts[NOT_FINITE] += 1
        else:
            answers[answer] += 1
        if self._baseline is not None:
            _, before = self._answer(element, self._baseline)
            counts[LOST] += before and not right
            counts[GAINED] += right and not before
        return sums

    def merge_accumulators(self, accumulators: Iterable[_Counts]) -> _Counts:
        counts, answers = self.create_accumulator()
        for more_counts, more_answers in accumulators:
            counts.update(more_counts)
            answers.update(more_answers)
        return counts, answers

    def extract_output(self, sums: _Counts) -> dict[metric_types.MetricKey, Any]:
        counts, answers = sums
        (answers_key,) = _keys(self._candidate, [ANSWERS])
        classes = range(max(answers, default=-1) + 1)
        return {
            **{key: counts[key.name] for key in _keys(self._candidate, COUNTS)},
            answers_key: np.array([answers[index] for index in classes], np.int64),
        }

    def _answer(
        self, element: metric_types.StandardMetricInputs, model_name: str
    ) -> tuple[int | None, bool]:
        """(the model's answer, whether it is right); none where a probability is no number."""
        probabilities = element.get_predictions(model_name)[features.PROBABILITIES]  # [K]
        if not np.isfinite(probabilities).all():
            return None, False
        answer = int(np.argmax(probabilities))
        return answer, answer == int(np.argmax(element.get_labels(model_name)))  # [K], one-hot


def _keys(model_name: str, names: Iterable[str]) -> list[metric_types.MetricKey]:
    return [metric_types.MetricKey(name, model_name=model_name) for name in names]


def _baseline(eval_config: config_pb2.EvalConfig) -> str | None:
    return next((spec.name for spec in eval_config.model_specs if spec.is_baseline), None)


def _paired_counts(
    eval_config: config_pb2.EvalConfig, model_names: list[str] | None = None, **_: Any
) -> list[Any]:
    (candidate,) = model_names or [""]
    return [
        metric_types.MetricComputation(
            keys=_keys(candidate, [*COUNTS, ANSWERS]),
            preprocessors=None,
            combiner=_PairedCounter(candidate, _baseline(eval_config)),
        )
    ]


def _derived(name: str, bound: _Bound, *, paired: bool) -> Callable[..., list[Any]]:
    """Computations of a number that follows from the counts; `paired` ones need a baseline."""

    def computations(
        eval_config: config_pb2.EvalConfig, model_names: list[str] | None = None, **_: Any
    ) -> list[Any]:
        if paired and _baseline(eval_config) is None:
            raise ValueError(
                f"the metric {name} compares with a baseline, and the Evaluator was given none"
            )
        (candidate,) = model_names or [""]
        (key,) = _keys(candidate, [name])
        counted = dict(zip(COUNTS, _keys(candidate, COUNTS), strict=True))

        def result(
            metrics: Mapping[metric_types.MetricKey, int],
        ) -> dict[metric_types.MetricKey, float]:
            return {key: bound({count: metrics[of] for count, of in counted.items()})}

        derived = metric_types.DerivedMetricComputation(keys=[key], result=result)
        return [*_paired_counts(eval_config, model_names), derived]

    return computations


class _GateMetric(metric_types.Metric):  # type: ignore[misc]
    """What the gate's metrics share: exact counts need no confidence interval of TFMA's."""

    @property
    def compute_confidence_interval(self) -> bool:
        return False


class PairedCounts(_GateMetric):
    """`COUNTS` and `ANSWERS` over the examples of each slice.

    Args:
      code: a digest of this code, which so becomes a part of the Evaluator's configuration.
    """

    def __init__(self, code: str = "", name: str = "paired_counts") -> None:
        super().__init__(_paired_counts, name=name, code=code)


class AccuracyLowerBound(_GateMetric):
    """Exact one-sided lower bound of the candidate's accuracy, 0..1.

    Args:
      confidence: such as 0.95.
    """

    def __init__(self, confidence: float, name: str = "accuracy_lower_bound") -> None:
        def bound(counts: Mapping[str, int]) -> float:
            return statistics.clopper_pearson_lower(counts[CORRECT], counts[ROWS], confidence)

        super().__init__(_derived(name, bound, paired=False), name=name, confidence=confidence)


class WorseByChance(_GateMetric):
    """p-value of the exact one-sided McNemar test for "the candidate is worse", 0..1."""

    def __init__(self, name: str = "worse_by_chance") -> None:
        def bound(counts: Mapping[str, int]) -> float:
            return statistics.mcnemar(counts[LOST], counts[GAINED])

        super().__init__(_derived(name, bound, paired=True), name=name)


class BetterByChance(_GateMetric):
    """p-value of the exact one-sided McNemar test for "the candidate is better", 0..1."""

    def __init__(self, name: str = "better_by_chance") -> None:
        def bound(counts: Mapping[str, int]) -> float:
            return statistics.mcnemar(counts[GAINED], counts[LOST])

        super().__init__(_derived(name, bound, paired=True), name=name)


class LossUpperBound(_GateMetric):
    """One-sided upper bound of the loss in accuracy against the baseline, paired, -1..1.

    Args:
      confidence: such as 0.95.
      max_drop: the loss that the bound is held against, 0..1.
    """

    def __init__(self, confidence: float, max_drop: float, name: str = "drop_upper_bound") -> None:
        def bound(counts: Mapping[str, int]) -> float:
            return statistics.drop_upper(
                counts[LOST], counts[GAINED], counts[ROWS], confidence, max_drop=max_drop
            )

        super().__init__(
            _derived(name, bound, paired=True),
            name=name,
            confidence=confidence,
            max_drop=max_drop,
        )


for _metric in (PairedCounts, AccuracyLowerBound, WorseByChance, BetterByChance, LossUpperBound):
    metric_types.register_metric(_metric)
