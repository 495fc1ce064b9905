"""What the gate decides by, counted over test examples: in TFMA's pipelines and from arrays alike.

Outcomes add up over batches, workers and slices, and every count of the evidence follows from them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from components.gate.evidence import Evidence, Tally

# Keras keeps probabilities at this distance from 0 and 1 before it takes their logarithm.
_EPSILON = 1e-7
# Stands for the prediction where a probability of the candidate is NaN or infinite.
NOT_FINITE = -1

# Examples by (label, the candidate's prediction, whether the baseline is right). Without a
# baseline it counts as right where the candidate is, so that nothing is lost or gained.
Outcomes = Counter[tuple[int, int, bool]]


def count(labels: np.ndarray, candidate: np.ndarray, baseline: np.ndarray | None) -> Outcomes:
    """Counts the outcomes; labels are [N] int64, and the probabilities of each model [N, K]."""
    predicted = _predictions(candidate)
    right = (predicted if baseline is None else _predictions(baseline)) == labels
    return Counter(zip(labels.tolist(), predicted.tolist(), right.tolist(), strict=True))


def _predictions(probabilities: np.ndarray) -> npt.NDArray[np.int64]:
    finite = np.isfinite(probabilities).all(axis=1)
    return np.where(finite, probabilities.argmax(axis=1), NOT_FINITE)


def tally(outcomes: Outcomes) -> Tally:
    """Adds up outcomes."""
    counts = Counter[str]()
    for (label, predicted, before), rows in outcomes.items():
        right = predicted == label
        counts["rows"] += rows
        counts["correct"] += rows * right
        counts["lost"] += rows * (before and not right)
        counts["gained"] += rows * (right and not before)
    return Tally(counts["rows"], counts["correct"], counts["lost"], counts["gained"])


def from_arrays(
    labels: np.ndarray,
    candidate: np.ndarray,
    baseline: np.ndarray | None,
    slices: Mapping[str, np.ndarray],
    *,
    class_names: Sequence[str],
    probabilities: bool = True,
) -> Evidence:
    """Counts all evidence of a decision.

    Args:
      labels: [N] int64, places in the class names.
      candidate: [N, K], as is the baseline, if there is one.
      slices: [N] bool each, whether an example is in the slice.
      probabilities: whether the candidate's are such, and not 1 for its predicted class.
    """

    def outcomes(rows: Any = slice(None)) -> Outcomes:
        return count(labels[rows], candidate[rows], None if baseline is None else baseline[rows])

    return from_outcomes(
        outcomes(),
        {name: outcomes(rows) for name, rows in slices.items()},
        class_names=class_names,
        compared=baseline is not None,
        cross_entropy=cross_entropy(candidate, labels) if probabilities else None,
        top_2_accuracy=top_2_accuracy(candidate, labels) if probabilities else None,
    )


def from_outcomes(
    outcomes: Outcomes,
    slices: Mapping[str, Outcomes],
    *,
    class_names: Sequence[str],
    compared: bool,
    cross_entropy: float | None,
    top_2_accuracy: float | None,
) -> Evidence:
    """Adds up the evidence of a decision; the class names are in the order of the labels."""
    confusion = [[0] * len(class_names) for _ in class_names]
    by_label = [Outcomes() for _ in class_names]
    not_finite = 0
    for (label, predicted, before), rows in outcomes.items():
        by_label[label][label, predicted, before] = rows
        if predicted == NOT_FINITE:
            not_finite += rows
        else:
            confusion[label][predicted] += rows
    return Evidence(
        overall=tally(outcomes),
        classes=dict(zip(class_names, map(tally, by_label), strict=True)),
        slices={name: tally(of_slice) for name, of_slice in slices.items()},
        cross_entropy=cross_entropy,
        top_2_accuracy=top_2_accuracy,
        not_finite=not_finite,
        compared=compared,
        confusion=tuple(map(tuple, confusion)),
    )


def to_rows(outcomes: Outcomes) -> npt.NDArray[np.int64]:
    """Writes [outcomes, 4]: label, prediction, whether the baseline is right, examples; sorted."""
    rows = [(*outcome, number) for outcome, number in sorted(outcomes.items())]
    return np.array(rows, np.int64).reshape(-1, 4)


def from_rows(rows: Iterable[Sequence[int]]) -> Outcomes:
    """Reads what `to_rows` wrote."""
    return Counter({(label, predicted, bool(right)): n for label, predicted, right, n in rows})


def cross_entropy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The mean of -ln(probability of the label), nats, as Keras has it.

    The probabilities are [N, K], the labels [N] int64; NaN if a probability is not finite.
    """
    with np.errstate(invalid="ignore"):
        shares = probabilities / probabilities.sum(axis=1, keepdims=True)
        of_label = np.clip(_of_label(shares, labels), _EPSILON, 1.0 - _EPSILON)
        return float(-np.log(of_label).mean())


def top_2_accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The fraction of examples for which at most one class is more probable than the label.

    An example with NaN or infinity does not count as right. Shapes: those of `cross_entropy`.
    """
    more = probabilities > _of_label(probabilities, labels)[:, np.newaxis]
    finite = np.isfinite(probabilities).all(axis=1)
    return float((finite & (more.sum(axis=1) < 2)).mean())


def _of_label(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return probabilities[np.arange(len(labels)), labels]
