"""What the gate decides by, counted over test examples: in TFMA's pipelines and from arrays alike.

Outcomes add up over batches, workers and slices, and every count of the evidence follows from them.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from components.gate.evidence import Evidence, Tally
from components.gate.slices import Slices

# Keras keeps probabilities at this distance from 0 and 1 before it takes their logarithm.
_EPSILON = 1e-7
_UNITS = 1 << 32  # of the loss, in one nat
# Stands for the prediction where a probability of the candidate is NaN or infinite.
NOT_FINITE = -1
_MOST_CONFUSED = 1_000  # classes, since the matrix has a cell for each pair of them

# Examples by (label, the candidate's prediction, whether the baseline is right). Without a
# baseline it counts as right where the candidate is, so that nothing is lost or gained.
Outcomes = Counter[tuple[int, int, bool]]


@dataclasses.dataclass(frozen=True)
class Scores:
    """How good the candidate's probabilities are, in whole numbers, so that any order adds up.

    Attributes:
      rows: examples.
      not_finite: those with NaN or infinity, which are in neither of the others.
      loss: the sum of -ln(probability of the label), as Keras has it, in units of 2**-32 nats.
      top_2: examples for which at most one class is more probable than the label.
    """

    rows: int = 0
    not_finite: int = 0
    loss: int = 0
    top_2: int = 0

    def __add__(self, other: Scores) -> Scores:
        return Scores(
            self.rows + other.rows,
            self.not_finite + other.not_finite,
            self.loss + other.loss,
            self.top_2 + other.top_2,
        )

    @property
    def cross_entropy(self) -> float:
        """The mean loss, nats to six decimals; NaN if an example is not finite, or there is none.

        A network's float32 answers differ in their last bits with the size of the batch, which
        Beam chooses by the time that batches take.
        """
        if self.not_finite or not self.rows:
            return math.nan
        return round(self.loss / self.rows / _UNITS, 6)

    @property
    def top_2_accuracy(self) -> float:
        return self.top_2 / self.rows if self.rows else math.nan


def count(labels: np.ndarray, candidate: np.ndarray, baseline: np.ndarray | None) -> Outcomes:
    """Counts the outcomes; labels are [N] int64.

    Of each model there are probabilities, [N, K], or the predicted classes alone, [N] int64.
    """
    predicted = _predictions(candidate)
    right = (predicted if baseline is None else _predictions(baseline)) == labels
    return Counter(zip(labels.tolist(), predicted.tolist(), right.tolist(), strict=True))


def _predictions(probabilities: np.ndarray) -> npt.NDArray[np.int64]:
    if probabilities.ndim == 1:  # the predicted classes
        return probabilities
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


def members(cut: Slices, values: np.ndarray) -> dict[str, npt.NDArray[np.bool_]]:
    """Tells for each slice, by name, which of the [N] values of its feature are in it."""
    places = cut.places(values)
    return {name: places == place for place, name in enumerate(cut.names)}


def from_arrays(
    labels: np.ndarray,
    candidate: np.ndarray,
    baseline: np.ndarray | None,
    slices: Mapping[str, np.ndarray],
    *,
    class_names: Sequence[str],
) -> Evidence:
    """Counts all evidence of a decision.

    Args:
      labels: [N] int64, places in the class names.
      candidate: probabilities, [N, K], or the predicted classes alone, [N] int64; so is the
        baseline, if there is one.
      slices: [N] bool each, whether an example is in the slice.
    """

    def outcomes(rows: Any = slice(None)) -> Outcomes:
        return count(labels[rows], candidate[rows], None if baseline is None else baseline[rows])

    scores = scores_of(candidate, labels) if candidate.ndim == 2 else None
    return from_outcomes(
        outcomes(),
        {name: outcomes(rows) for name, rows in slices.items()},
        class_names=class_names,
        compared=baseline is not None,
        cross_entropy=None if scores is None else scores.cross_entropy,
        top_2_accuracy=None if scores is None else scores.top_2_accuracy,
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
    few = len(class_names) <= _MOST_CONFUSED
    confusion = [[0] * len(class_names) for _ in class_names] if few else []
    by_label = [Outcomes() for _ in class_names]
    not_finite = 0
    for (label, predicted, before), rows in outcomes.items():
        by_label[label][label, predicted, before] = rows
        if predicted == NOT_FINITE:
            not_finite += rows
        elif few:
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


def scores_of(probabilities: np.ndarray, labels: np.ndarray) -> Scores:
    """Scores [N, K] probabilities by the [N] int64 labels."""
    finite = np.isfinite(probabilities).all(axis=1)
    known, of_known = probabilities[finite].astype(np.float64, copy=False), labels[finite]
    of_label = known[np.arange(len(known)), of_known]
    shares = np.clip(of_label / known.sum(axis=1), _EPSILON, 1.0 - _EPSILON)
    likely = (known > of_label[:, np.newaxis]).sum(axis=1) < 2
    return Scores(
        rows=len(labels),
        not_finite=len(labels) - len(known),
        loss=int(np.rint(-np.log(shares) * _UNITS).astype(np.int64).sum()),
        top_2=int(likely.sum()),
    )
