"""What a release records of its test split for `tfx-mnist monitor`, as a metric of TFMA."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.metrics import metric_types, metric_util

from components.monitoring.summary import Key, Summary, keys, size_of
from trainer import features

REFERENCE = "reference"  # JSON: what `keys` gave, with the number of times: [kind, value, number]


class Reference(metric_types.Metric):  # type: ignore[misc]
    """`REFERENCE` over the examples of each slice; only that of all examples is read.

    `code`, a digest of this code, becomes a part of the Evaluator's configuration.
    """

    def __init__(self, code: str = "", name: str = REFERENCE) -> None:
        super().__init__(_computations, name=name, code=code)


metric_types.register_metric(Reference)


def _computations(
    model_names: list[str] | None = None, **_: Any
) -> list[metric_types.MetricComputation]:
    (candidate,) = model_names or [""]
    combiner = _Counts(candidate)
    return [
        metric_types.MetricComputation(
            keys=[combiner.key], preprocessors=[_Observation(candidate)], combiner=combiner
        )
    ]


class _Observation(metric_types.Preprocessor):  # type: ignore[misc]
    """Example -> what is counted of it."""

    def __init__(self, candidate: str) -> None:
        super().__init__()
        self._candidate = candidate

    def process(self, extracts: Mapping[str, Any]) -> Iterator[list[Key]]:
        inputs = metric_util.to_standard_metric_inputs(extracts)
        probabilities = inputs.get_predictions(self._candidate)[features.PROBABILITIES]  # [K]

        found = extracts[constants.FEATURES_KEY]
        image = None
        if features.MEAN_INTENSITY in found:
            intensity, height, width = (
                np.ravel(found[name])[0]
                for name in (features.MEAN_INTENSITY, features.HEIGHT, features.WIDTH)
            )
            image = (float(intensity), size_of(height, width))
        yield list(keys(probabilities, image))


class _Counts(beam.CombineFn):  # type: ignore[misc]
    def __init__(self, candidate: str) -> None:
        self.key = metric_types.MetricKey(REFERENCE, model_name=candidate)

    def create_accumulator(self) -> Counter[Key]:
        return Counter()

    def add_input(self, counts: Counter[Key], element: list[Key]) -> Counter[Key]:
        counts.update(element)
        return counts

    def merge_accumulators(self, parts: Iterable[Counter[Key]]) -> Counter[Key]:
        total: Counter[Key] = Counter()
        for part in parts:
            total.update(part)
        return total

    def extract_output(self, counts: Counter[Key]) -> dict[metric_types.MetricKey, bytes]:
        rows = [[kind, value, rows] for (kind, value), rows in counts.items()]
        return {self.key: json.dumps(sorted(rows, key=str)).encode()}


def summary_of(content: bytes, num_classes: int) -> Summary:
    """Reads `REFERENCE`."""
    counts = {(kind, value): rows for kind, value, rows in json.loads(content)}
    return Summary.of(counts, num_classes)
