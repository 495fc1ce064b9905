"""What the gates decide by, as one metric of TFMA: the counts, and a sample of the predictions.

Beside it stand the mistakes that the report shows, and what a release records of its test split for
`tfx-mnist monitor`; nothing is decided by them.

TFMA's own metrics look at one model at a time; this one pairs the candidate's predictions with the
baseline's. Its accuracy is a float64, so that a threshold on it is exact.

The sample is a bottom-k sketch (Cohen and Kaplan 2007, "Summarizing data using bottom-k sketches"):
the images whose SHA-256 is smallest. It does not depend on the order, batches or workers in which
they come, and can be drawn again from the images.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.metrics import metric_types, metric_util
from tensorflow_model_analysis.proto import config_pb2

from components.evaluation.counting import Outcomes, Scores, count, scores_of, tally, to_rows
from components.evaluation.mistakes import Mistakes, observe
from components.monitoring.counts import Key, Summary, counts_of, size_of
from trainer import features

ACCURACY = "accuracy"
CROSS_ENTROPY = "cross_entropy"
TOP_2 = "top_2_accuracy"
OUTCOMES = "outcomes"  # `counting.to_rows`, from which every count of the evidence follows
SAMPLE = "prediction_sample"  # JSON: the bytes of a `_Sketch`, hexadecimal
MISTAKES = "mistakes"  # `Mistakes.to_bytes`
REFERENCE = "reference"  # JSON: what `summary.counts_of` gave
SIZE = 200  # images of the sample

_Sketch = dict[bytes, bytes]  # SHA-256 -> [K] little-endian float32
_Sum = tuple[Outcomes, _Sketch, Mistakes, Scores, Counter[Key]]  # over any number of examples


class GateEvidence(metric_types.Metric):  # type: ignore[misc]
    """The metrics above, over the examples of each slice.

    TFX's Evaluator drops the comparison without a word when it is given no baseline; with
    `compared`, this metric fails instead. Sample, mistakes and reference are read of the overall
    slice only; each other slice adds its own to the evaluation, a sample of up to 30 KB (200
    images, ten classes).
    """

    def __init__(self, compared: bool = False, name: str = ACCURACY) -> None:
        super().__init__(_computations, name=name, compared=compared)


metric_types.register_metric(GateEvidence)


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
    combiner = _Sums(candidate)
    return [
        metric_types.MetricComputation(
            keys=combiner.keys,
            preprocessors=[_Observation(candidate, baseline)],
            combiner=combiner,
        )
    ]


class _Observation(metric_types.Preprocessor):  # type: ignore[misc]
    """Example -> the sums over this one example.

    TFMA calls it once per example, for all slices. Its part of the sample is empty if `SIZE`
    smaller digests were seen before: most examples then cost the slices nothing.
    """

    def __init__(self, candidate: str, baseline: str | None) -> None:
        super().__init__()
        self._candidate = candidate
        self._baseline = baseline

    def setup(self) -> None:
        self._seen: set[bytes] = set()
        self._largest = b"\xff" * hashlib.sha256().digest_size

    def process(self, extracts: Mapping[str, Any]) -> Iterator[_Sum]:
        inputs = metric_util.to_standard_metric_inputs(extracts)

        def probabilities(model: str) -> np.ndarray:
            return inputs.get_predictions(model)[features.PROBABILITIES][np.newaxis]  # [1, K]

        label = inputs.get_labels(self._candidate).argmax(keepdims=True)  # [K] one-hot -> [1]
        candidate = probabilities(self._candidate)
        baseline = None if self._baseline is None else probabilities(self._baseline)
        image, intensity, height, width = (
            np.ravel(extracts[constants.FEATURES_KEY][name])[0]
            for name in (features.IMAGE, features.MEAN_INTENSITY, features.HEIGHT, features.WIDTH)
        )
        digest = hashlib.sha256(image).digest()
        sampled = self._is_among_the_smallest(digest)
        part = {digest: candidate.astype("<f4").tobytes()} if sampled else {}
        other = None if baseline is None else baseline[0]
        yield (
            count(label, candidate, baseline),
            part,
            observe(int(label[0]), digest.hex(), candidate[0], other),
            scores_of(candidate, label),
            counts_of(candidate, intensities=[intensity], sizes=[size_of(height, width)]),
        )

    def _is_among_the_smallest(self, digest: bytes) -> bool:
        if digest > self._largest:
            return False
        self._seen.add(digest)
        if len(self._seen) >= 2 * SIZE:
            self._seen = set(sorted(self._seen)[:SIZE])
            self._largest = max(self._seen)
        return True


class _Sums(beam.CombineFn):  # type: ignore[misc]
    """Adds up; the sample keeps its `SIZE` smallest digests, and up to twice as many meanwhile."""

    def __init__(self, candidate: str) -> None:
        names = (ACCURACY, CROSS_ENTROPY, TOP_2, OUTCOMES, SAMPLE, MISTAKES, REFERENCE)
        self.keys = [metric_types.MetricKey(name, model_name=candidate) for name in names]

    def create_accumulator(self) -> _Sum:
        return Outcomes(), {}, Mistakes(), Scores(), Counter()

    def add_input(self, sums: _Sum, more: _Sum) -> _Sum:
        outcomes, sketch, mistakes, scores, reference = sums
        more_outcomes, sampled, more_mistakes, more_scores, more_reference = more
        outcomes.update(more_outcomes)
        mistakes.merge(more_mistakes)
        reference.update(more_reference)
        return outcomes, _merged(sketch, sampled), mistakes, scores + more_scores, reference

    def merge_accumulators(self, parts: Iterable[_Sum]) -> _Sum:
        return functools.reduce(self.add_input, parts, self.create_accumulator())

    def extract_output(self, sums: _Sum) -> dict[metric_types.MetricKey, Any]:
        outcomes, sketch, mistakes, scores, reference = sums
        sample = {digest.hex(): row.hex() for digest, row in _smallest(sketch).items()}
        values = {
            ACCURACY: tally(outcomes).accuracy,
            CROSS_ENTROPY: scores.cross_entropy,
            TOP_2: scores.top_2_accuracy,
            OUTCOMES: to_rows(outcomes),
            SAMPLE: json.dumps(sample).encode(),
            MISTAKES: mistakes.to_bytes(),
            REFERENCE: json.dumps(sorted([*key, n] for key, n in reference.items())).encode(),
        }
        return {key: values[key.name] for key in self.keys}


def _merged(sketch: _Sketch, more: _Sketch) -> _Sketch:
    for digest, probabilities in more.items():
        # The same image in batches of different sizes may differ by rounding: the smaller bytes are
        # as good, and do not depend on the order.
        sketch[digest] = min(probabilities, sketch.get(digest, probabilities))
    return _smallest(sketch) if len(sketch) > 2 * SIZE else sketch


def _smallest(sketch: _Sketch) -> _Sketch:
    return {digest: sketch[digest] for digest in sorted(sketch)[:SIZE]}


def sample_of(content: bytes) -> dict[str, np.ndarray]:
    """Reads `SAMPLE`: the probabilities, [K] float32, by the hexadecimal SHA-256 of the image."""
    sketch = json.loads(content)
    return {digest: np.frombuffer(bytes.fromhex(row), "<f4") for digest, row in sketch.items()}


def reference_of(content: bytes, num_classes: int) -> Summary:
    """Reads `REFERENCE`."""
    counts = {(kind, value): rows for kind, value, rows in json.loads(content)}
    return Summary.of(counts, num_classes)
