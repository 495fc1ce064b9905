"""TensorFlow Serving's log of requests: what the model was asked, and what it answered."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from components.example_gen.columns import FORMS
from components.example_gen.data_error import DataError
from components.served_graph import array_of
from trainer import features
from trainer.host.files import require_whole_records

_OPERATIONS = re.compile(r"\{\{.*?\}\}|\[Op:.*", re.DOTALL)  # of TensorFlow, in its errors


def read_log(file: Path) -> Iterator[tuple[Iterable[Any], np.ndarray | None] | None]:
    """Yields the images of each request, PNG bytes or pixels [H, W, C], and the probabilities that
    were answered, [n, K], if they were logged; None for an entry of another kind.

    Raises DataError for a file that is no TFRecord of PredictionLog.
    """
    import tensorflow as tf
    from google.protobuf.message import DecodeError
    from tensorflow_serving.apis import prediction_log_pb2

    try:
        require_whole_records(file)
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
            yield _request_of(prediction_log_pb2.PredictionLog.FromString(record).predict_log)
    except (tf.errors.OpError, DecodeError, OSError) as error:
        raise DataError(
            f"{file} is no TFRecord of PredictionLog, or is cut off: {_said(error)}; expected "
            f"TensorFlow Serving's request log, a folder of images, or a file {' or '.join(FORMS)}"
        ) from None


def _request_of(log: Any) -> tuple[Iterable[Any], np.ndarray | None] | None:
    import tensorflow as tf

    answered = log.response.outputs.get(features.PROBABILITIES)
    try:
        images = _images_in({name: array_of(value) for name, value in log.request.inputs.items()})
        if images is not None:
            return images, answered and array_of(answered).astype(np.float64)
    # Of tensors that are not what they say, or that no model of ours takes.
    except (TypeError, ValueError, KeyError, tf.errors.OpError):
        pass
    return None


def _said(error: Exception) -> str:
    """Returns an error's text without the names of TensorFlow's own operations."""
    return " ".join(_OPERATIONS.sub("", getattr(error, "strerror", "") or str(error)).split())


def _images_in(inputs: dict[str, np.ndarray]) -> Iterable[Any] | None:
    import tensorflow as tf

    if features.PIXELS_INPUT in inputs:
        return list(inputs[features.PIXELS_INPUT])
    if features.IMAGE_BYTES_INPUT in inputs:
        return inputs[features.IMAGE_BYTES_INPUT].ravel().tolist()
    if features.EXAMPLES_INPUT in inputs:
        examples = inputs[features.EXAMPLES_INPUT].ravel().tolist()
        parsed = tf.io.parse_example(
            examples, {features.IMAGE: tf.io.FixedLenFeature([], tf.string)}
        )
        return list(parsed[features.IMAGE].numpy().tolist())
    return None
