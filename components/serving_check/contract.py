"""The answers that a served model promises (docs/serving.md), and the errors of asking for them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer import features

# Named tensors. Strings are arrays of bytes objects.
Tensors = Mapping[str, npt.NDArray[Any]]
# (signature, inputs) -> outputs; raises ServingError.
Ask = Callable[[str, Tensors], Tensors]

_PREDICTION = (features.PROBABILITIES, features.CLASS_NAME, features.CLASS_INDEX)
# Outputs by signature.
OUTPUTS: Mapping[str, tuple[str, ...]] = {
    features.SERVING_DEFAULT: _PREDICTION,
    features.PREDICT_PIXELS: _PREDICTION,
    features.SERVING_EXAMPLES: _PREDICTION,
    features.TRANSFORM_FEATURES: (features.ONE_HOT_LABEL,),
}
PREDICTING = tuple(signature for signature, names in OUTPUTS.items() if names == _PREDICTION)

_SUM_TOLERANCE = 1e-4  # of a row of probabilities: float32, up to some thousand classes
_LONGEST_REASON = 300  # characters


class ServingError(Exception):
    """A request was not answered as promised; the message is one line."""

    def __init__(self, reason: object) -> None:
        lines = str(reason).strip().splitlines() or ["no reason given"]
        super().__init__(lines[0][:_LONGEST_REASON])


class RequestFailed(ServingError):
    """The server answered with an error."""


class BadAnswer(ServingError):
    """The server answered something else than it promises."""


class ServerLost(ServingError):
    """The server gave no answer, and will not give another one.

    Attributes:
      by_itself: whether it ended by itself or cannot load the model, so the model may be the cause.
    """

    def __init__(self, reason: object, *, by_itself: bool = False) -> None:
        super().__init__(reason)
        self.by_itself = by_itself


@dataclasses.dataclass(frozen=True)
class Timeouts:
    """How long a server may take to load the model, and to answer one request."""

    start_s: float = 120.0
    request_s: float = 60.0


@dataclasses.dataclass(frozen=True)
class Server:
    """A running server that has loaded the model.

    Attributes:
      api: how it is asked, for messages.
      start_s: seconds until the model could be asked, without those of a process that waited.
      peak_memory_mib: returns the largest resident memory so far; raises ServerLost.
    """

    name: str
    api: str
    ask: Ask
    start_s: float
    peak_memory_mib: Callable[[], float]


def probabilities(
    answer: Tensors, class_names: Sequence[str], *, rows: int
) -> npt.NDArray[np.float32]:
    """Returns the probabilities [rows, K] of an answer; raises BadAnswer for broken promises."""
    _expect(answer, _PREDICTION)
    found = _numbers(answer, features.PROBABILITIES, (rows, len(class_names)))
    index = _numbers(answer, features.CLASS_INDEX, (rows,)).astype(np.int64)
    sums = found.sum(axis=1)
    if not np.all(np.abs(sums - 1.0) <= _SUM_TOLERANCE):
        raise BadAnswer(f"{features.PROBABILITIES} sum to {sums.min():g}, expected 1")
    row = np.arange(rows)
    if not np.all((index >= 0) & (index < len(class_names))) or np.any(
        found[row, index] != found.max(axis=1)
    ):
        raise BadAnswer(f"{features.CLASS_INDEX} is not the most probable class")
    expected = [class_names[i].encode() for i in index]
    if answer[features.CLASS_NAME].tolist() != expected:
        raise BadAnswer(f"{features.CLASS_NAME} is not the name of {features.CLASS_INDEX}")
    return found.astype(np.float32)


def one_hot_labels(
    answer: Tensors, labels: npt.NDArray[np.int64], *, num_classes: int
) -> npt.NDArray[np.float32]:
    """Returns the one-hot labels [N, K] of an answer; raises BadAnswer if they are not `labels`."""
    _expect(answer, OUTPUTS[features.TRANSFORM_FEATURES])
    found = _numbers(answer, features.ONE_HOT_LABEL, (len(labels), num_classes))
    if not np.array_equal(found, np.eye(num_classes)[labels]):
        raise BadAnswer(f"{features.ONE_HOT_LABEL} is not that of the labels")
    return found.astype(np.float32)


def _expect(answer: Tensors, names: Sequence[str]) -> None:
    if set(answer) != set(names):
        raise BadAnswer(f"the outputs are {', '.join(sorted(answer)) or 'none'}")


def _numbers(answer: Tensors, name: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    value = answer[name]
    if value.shape != shape or value.dtype.kind not in "iuf":
        found, required = ("x".join(map(str, sizes)) or "scalar" for sizes in (value.shape, shape))
        raise BadAnswer(f"{name} is {found} {value.dtype}, expected {required} numbers")
    return value
