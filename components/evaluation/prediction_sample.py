"""A sample of the Evaluator's predictions, as a TFMA metric; TFMA itself keeps statistics only.

The sample is a bottom-k sketch (Cohen and Kaplan 2007, "Summarizing data using bottom-k sketches"):
the images whose SHA-256 is smallest. It does not depend on the order, batches or workers in which
they come, and can be drawn again from the images.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.metrics import metric_types, metric_util
from tensorflow_model_analysis.proto import config_pb2

from trainer import features

NAME = "prediction_sample"
SIZE = 200  # images

# As `eval_config` names the candidate; TFMA leaves the name out where there is one model.
_CANDIDATE = ("candidate", "")

_Sketch = dict[bytes, bytes]  # SHA-256 -> [K] little-endian float32


class PredictionSample(metric_types.Metric):  # type: ignore[misc]
    """Keeps the predicted probabilities of `size` images.

    Only the sample of the overall slice is read; each other slice adds up to 14 KB to the
    evaluation's file (200 images, ten classes).
    """

    def __init__(self, size: int = SIZE, name: str = NAME) -> None:
        super().__init__(_computations, size=size, name=name)

    @property
    def compute_confidence_interval(self) -> bool:
        return False


metric_types.register_metric(PredictionSample)


def _computations(
    size: int,
    name: str,
    eval_config: config_pb2.EvalConfig,
    model_names: list[str] | None = None,
) -> list[metric_types.MetricComputation]:
    keys = [metric_types.MetricKey(name, model_name=model) for model in model_names or [""]]
    return [
        metric_types.MetricComputation(
            keys=[key],
            preprocessors=[_Prefilter(size, key.model_name, eval_config)],
            combiner=_BottomK(size, key),
        )
        for key in keys
    ]


class _Prefilter(metric_types.Preprocessor):  # type: ignore[misc]
    """Example -> (digest, probabilities), or nothing if `size` smaller digests were seen before.

    TFMA calls it once per example, for all slices: most examples then cost the slices nothing.
    """

    def __init__(self, size: int, model_name: str, eval_config: config_pb2.EvalConfig) -> None:
        # TFMA tells preprocessors apart by their names.
        super().__init__(name=f"{NAME} {size} {model_name}")
        self._size = size
        self._model_name = model_name
        self._eval_config = eval_config

    def setup(self) -> None:
        self._seen: set[bytes] = set()
        self._largest = b"\xff" * hashlib.sha256().digest_size

    def process(self, extracts: Mapping[str, Any]) -> Iterator[tuple[bytes, bytes]]:
        (image,) = np.ravel(extracts[constants.FEATURES_KEY][features.IMAGE])
        digest = hashlib.sha256(image).digest()
        if digest > self._largest:
            return
        self._seen.add(digest)
        if len(self._seen) >= 2 * self._size:
            self._seen = set(sorted(self._seen)[: self._size])
            self._largest = max(self._seen)
        ((_, probabilities, _),) = metric_util.to_label_prediction_example_weight(
            metric_util.to_standard_metric_inputs(extracts),
            eval_config=self._eval_config,
            model_name=self._model_name,
            flatten=False,
        )
        yield digest, probabilities.astype("<f4").tobytes()


class _BottomK(beam.CombineFn):  # type: ignore[misc]
    """Keeps the `size` smallest digests, and at most twice as many on the way."""

    def __init__(self, size: int, key: metric_types.MetricKey) -> None:
        self._size = size
        self._key = key

    def create_accumulator(self) -> _Sketch:
        return {}

    def add_input(self, sketch: _Sketch, element: tuple[bytes, bytes]) -> _Sketch:
        digest, probabilities = element
        # The same image in batches of different sizes may differ by rounding: the smaller bytes
        # are as good, and do not depend on the order.
        sketch[digest] = min(probabilities, sketch.get(digest, probabilities))
        return self._smallest(sketch) if len(sketch) > 2 * self._size else sketch

    def merge_accumulators(self, sketches: Iterable[_Sketch]) -> _Sketch:
        merged = self.create_accumulator()
        for sketch in sketches:
            for element in sketch.items():
                merged = self.add_input(merged, element)
        return merged

    def extract_output(self, sketch: _Sketch) -> dict[metric_types.MetricKey, bytes]:
        """In NumPy's file format, which holds dtype and shape."""
        rows = [
            (np.frombuffer(digest, np.uint8), np.frombuffer(probabilities, "<f4"))
            for digest, probabilities in self._smallest(sketch).items()
        ]
        digest_size, classes = hashlib.sha256().digest_size, len(rows[0][1]) if rows else 0
        dtype = [("digest", np.uint8, digest_size), ("probabilities", "<f4", classes)]
        file = io.BytesIO()
        np.save(file, np.array(rows, dtype), allow_pickle=False)
        return {self._key: file.getvalue()}

    def _smallest(self, sketch: _Sketch) -> _Sketch:
        return {digest: sketch[digest] for digest in sorted(sketch)[: self._size]}


def read_predictions(evaluation_uri: str) -> dict[str, npt.NDArray[np.float32]]:
    """The candidate's probabilities [K] by the hexadecimal SHA-256 of the image's PNG bytes.

    A KeyError says that the evaluation has no such metric: another configuration made it.
    """
    for record in tfma.load_metrics(evaluation_uri):
        if not record.slice_key.single_slice_keys:
            for item in record.metric_keys_and_values:
                if item.key.name == NAME and item.key.model_name in _CANDIDATE:
                    rows = np.load(io.BytesIO(item.value.bytes_value), allow_pickle=False)
                    return {row["digest"].tobytes().hex(): row["probabilities"] for row in rows}
    raise KeyError(f"the evaluation in {evaluation_uri} has no metric {NAME!r} of a candidate")
